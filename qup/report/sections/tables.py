"""Tables 2 and 3: the paper's numbers, ours, and those of strong attacks."""

from collections.abc import Iterator

from qup import paper
from qup.evidence_figures import accuracies
from qup.evidence_figures.accuracies import Line
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.material import Material
from qup.report.selection import Look, accuracy
from qup.scales import Network
from qup.scales import Table as Asked

_HEAD = ("network", "epochs", "paper: TA", "ours: TA", "paper: RA")
_ROBUST = (Look.CLIP, Look.FREE, Look.CLIMB, Look.WORST)
_STYLES = {
    Look.CLIP: ("-", "o"), Look.FREE: ("--", "s"), Look.CLIMB: ("-.", "^"),
    Look.WORST: (":", "D"),
}  # fmt: skip


@sections.register(order=20)
def table2(material: Material) -> Section:
    """Returns Table 2."""
    return _section(material, "table2", "Table 2: MNIST")


@sections.register(order=30)
def table3(material: Material) -> Section:
    """Returns Table 3."""
    return _section(material, "table3", "Table 3: CIFAR-10")


def _section(material: Material, name: str, title: str) -> Section:
    asked = material.scale.tables[name]
    blocks: list[Block] = [_words(material, asked), _table(material, asked)]
    blocks += _pictures(material, name, asked)
    return Section(name, title, tuple(blocks))


def _words(material: Material, asked: Asked) -> Words:
    scale = material.scale
    worst = Look.WORST.title(material).removeprefix("RA, ")
    names = {network.dataset for network in asked.networks}
    text = (
        "Test accuracy (TA) and robust accuracy (RA, the share of all test "
        "images that are classified rightly after the attack) of "
        f"classifiers on {', '.join(sorted(names))}. PGD-4 is the paper's "
        "attack: 4 steps of a quarter of epsilon in the L-inf ball of radius "
        "epsilon, 0.1 on MNIST and 8/255 on CIFAR-10, on all test images; it "
        "does not say whether pixels were clipped to [0, 1], so both are "
        "given. Strong PGD takes "
        f"{scale.strong_steps} steps of epsilon/40 from "
        f"{numbers.count(scale.strong_restarts, 'random start')} up the "
        f"cross-entropy; {worst} is the strongest attack here. Both ran on "
        "the first test images, as many as n says, and stay within [0, 1]: "
        "compare them with the clipped column. Without the clip an attack "
        "may leave the range of images, which is another threat."
    )
    small = [n.title for n in asked.networks if n.compact]
    if small:
        text += (
            " At this scale smaller networks, whose numbers reproduce none of "
            f"the paper's, are in the place of its own: {', '.join(small)}."
        )
    return Words(text)


def _table(material: Material, asked: Asked) -> Table:
    head = (
        *_HEAD,
        *(f"ours: {look.title(material)}" for look in _ROBUST),
        "n strong",
    )
    body = tuple(
        _line(material, network, epochs)
        for network in asked.networks
        for epochs in asked.epochs
    )
    return Table(head, body, f"Percent. {numbers.KEY}")


def _line(
    material: Material, network: Network, epochs: int
) -> tuple[Cell, ...]:
    known = paper.published(network.dataset, network.model, "CL", epochs)
    found = {
        look: accuracy(material, network, "CL", epochs, look) for look in Look
    }
    strong = found[Look.WORST] or found[Look.CLIMB]
    return (
        Cell(network.title), Cell(str(epochs)),
        numbers.published(known and known.test_accuracy),
        numbers.cell(found[Look.CLEAN]),
        numbers.published(known and known.robust_accuracy),
        *(numbers.cell(found[look]) for look in _ROBUST),
        Cell(f"{strong.n:,}" if strong else "-"),
    )  # fmt: skip


def _pictures(material: Material, name: str, asked: Asked) -> Iterator[Picture]:
    drawn = []
    for network in asked.networks:
        clean = _lines(material, network, asked.epochs, Look.CLEAN)
        robust = [
            line
            for look in _ROBUST
            for line in _lines(material, network, asked.epochs, look)
        ]
        if clean:
            known = _published(network, asked.epochs)
            drawn.append(
                accuracies.Network(
                    network.title, network.model,
                    [*clean, *known[:1]], [*robust, *known[1:]],
                )
            )  # fmt: skip
    if not drawn:
        return
    title = ", ".join(sorted({n.dataset for n in asked.networks}))
    small = {n.title for n in asked.networks if n.compact}
    theirs = any(network.title in small for network in drawn)
    yield Picture(
        f"{name}-epochs",
        accuracies.over_epochs(drawn, title),
        f"Test and robust accuracy over epochs on {title}, as in the table.",
        "TA, and RA of each network, over training epochs. Crosses: the paper"
        f"{', of its own networks' if theirs else ''}. Bars: 95 % intervals.",
    )


def _lines(
    material: Material, network: Network, epochs: tuple[int, ...], look: Look
) -> list[Line]:
    points = {}
    for number in epochs:
        found = accuracy(material, network, "CL", number, look)
        if found is not None:
            points[number] = (found.value, found.low, found.high)
    if not points:
        return []
    if look is Look.CLEAN:
        return [Line("TA", points)]
    style, marker = _STYLES[look]
    title = look.title(material)
    return [Line(title, points, style, marker)]


def _published(network: Network, epochs: tuple[int, ...]) -> tuple[Line, ...]:
    """Returns the paper's TA and RA, where it has them."""
    points = {}
    for number in epochs:
        known = paper.published(network.dataset, network.model, "CL", number)
        if known:
            points[number] = known
    if not points:
        return ()
    return tuple(
        Line(
            "paper", {n: (known[i],) * 3 for n, known in points.items()},
            (0, (1, 3)), "x", True,
        )
        for i in range(2)
    )  # fmt: skip
