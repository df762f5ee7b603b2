"""The controls: whose accuracy is the pair's, and counter-examples."""

from collections.abc import Iterable

from qup.evidence_figures import controls as drawing
from qup.evidence_figures import frontier
from qup.evidence_figures.controls import Control
from qup.evidence_figures.trainings import Look as Drawn
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.estimates import Estimate
from qup.report.material import Material
from qup.report.selection import Look, accuracy
from qup.scales import Network

_LOOKS = (Look.CLEAN, Look.CLIP, Look.FREE, Look.CLIMB, Look.WORST)
# What a pair with these deltas was taught, by the parameter "control".
_TAUGHT = {
    "permuted_labels": "ACL, walk with permuted labels",
    "predicted_labels": "ACL, walk with the classifier's own labels",
    "class_template": "ACL, one fixed Delta a class",
    "delta_1": "ACL, one long step instead of N",
}
_WORDS = (
    "Delta_N is made with the true label, so a translator that learns it "
    "learns to classify. If the pair's gain were the paper's conjugate "
    "structure, it should vanish with permuted labels, and be greater with "
    "Delta_N than with one fixed pattern a class; if it is the translator's "
    "own knowledge of the classes, a fixed pattern does as well, and a plain "
    "classifier of the translator's size is as accurate."
)


@sections.register(order=60)
def controls(material: Material) -> Section:
    """Returns the section."""
    table = material.scale.tables["table2"]
    network, epochs = table.networks[0], table.epochs[0]
    lines = list(_lines(material, network, epochs))
    blocks: list[Block] = [Words(_WORDS)]
    if any(any(found.values()) for _, found in lines):
        blocks.append(_table(material, lines))
        blocks.append(_picture(material, lines, network, epochs))
        blocks += _frontier(material, network)
    else:
        blocks.append(Words(f"They were {numbers.NOT_RUN}."))
    return Section("controls", "Controls", tuple(blocks))


def _lines(
    material: Material, network: Network, epochs: int
) -> Iterable[tuple[str, dict[Look, Estimate | None]]]:
    """Yields titles, and what every look found."""

    def looked(of: Network, kind: str, at: int, **wanted):
        return {
            look: accuracy(material, of, kind, at, look, **wanted)
            for look in _LOOKS
        }

    yield "CL", looked(network, "CL", epochs)
    yield "ACL", looked(network, "ACL", epochs)
    alone = looked(network, "ACL", epochs, through="classifier")
    yield "ACL, attacked through the classifier alone", alone
    for control, title in _TAUGHT.items():
        yield title, looked(network, "ACL", epochs, control=control)
    own = {
        row.parameters.get("translator_width")
        for row in material.find(
            dataset=network.dataset, model=network.model, classifier="ACL",
            epochs=epochs, control=None,
        )
    }  # fmt: skip
    for width in material.scale.widths:
        if width in own:
            continue
        found = looked(network, "ACL", epochs, control=f"width_{width}")
        yield f"ACL, translator of width {width}", found
    plain = Network(network.dataset, "unet_classifier", "")
    for at in sorted({r.epochs for r in material.find(model=plain.model)}):
        yield "U-Net of the translator's size", looked(plain, "CL", at)
    for method, title in (("pgd_at", "PGD-AT"), ("trades", "TRADES")):
        for at in material.scale.robust_epochs:
            found = looked(network, "CL", at, method=method)
            yield f"CL by {title}, {numbers.count(at, 'epoch')}", found


def _table(material: Material, lines: list) -> Table:
    body = tuple(
        (Cell(title), *(numbers.cell(found[look]) for look in _LOOKS))
        for title, found in lines
    )
    head = ("", *(look.title(material) for look in _LOOKS))
    return Table(head, body, f"Percent. {numbers.KEY}")


def _picture(
    material: Material, lines: list, network: Network, epochs: int
) -> Picture:
    shown = [
        Control(
            title,
            {
                look.title(material): (x.value, x.low, x.high)
                for look, x in found.items()
                if x is not None and look is not Look.FREE
            },
        )
        for title, found in lines
        if any(found.values())
    ]
    title = numbers.named(network.title, network.dataset, epochs)
    return Picture(
        "controls", drawing.side_by_side(shown, title=title),
        f"TA and RA of the classifier, the pair and every control: {title}.",
        f"TA and RA of CL, ACL and every control that was run: {title}. "
        "Bars: 95 % intervals.",
    )  # fmt: skip


def _frontier(material: Material, network: Network) -> list[Picture]:
    """Draws every training of the network, TA against RA."""
    epochs = material.scale.tables["table2"].epochs
    trainings = (
        ("standard", None, epochs),
        ("pgd_at", "pgd_at", material.scale.robust_epochs),
        ("trades", "trades", material.scale.robust_epochs),
    )
    paths = []
    for training, method, numbers_ in trainings:
        points = {}
        for n in numbers_:
            pair = [
                accuracy(material, network, "CL", n, look, method=method)
                for look in (Look.CLEAN, Look.WORST)
            ]
            if all(pair):
                points[n] = tuple((x.value, x.low, x.high) for x in pair)
        if points:
            look = Drawn(network.title, network.model, training)
            paths.append(frontier.Path(look, points))
    if not paths:
        return []
    attack = Look.WORST.title(material).removeprefix("RA, ")
    figure = frontier.draw(
        paths, title=f"{network.title} on {network.dataset}", attack=attack,
        note="bars: 95 % intervals; numbers: epochs",
    )  # fmt: skip
    return [
        Picture(
            "frontier", figure,
            "Test accuracy against robust accuracy of standard and robust "
            "trainings.",
            "TA against RA: arrows go from fewer to more epochs. A strict "
            "trade-off would leave no point above and to the right of "
            "another.",
        )
    ]  # fmt: skip
