"""The temperature control: the same decisions, and another sigma_p."""

from collections.abc import Iterator

from qup.evidence_figures import temperatures
from qup.report import heated, numbers, sections
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.estimates import Estimate, change, over_seeds
from qup.report.material import Material
from qup.report.sections import uncertainty
from qup.report.selection import Look
from qup.scales import Network

_WORDS = (
    "Logits divided by a temperature T decide every image as before, so TA is "
    "the same to the last image, and so is every adversarial image: RA under "
    "an attack that finds them all cannot move. sigma_p is of the loss, and "
    "does move. RA under four steps of cross-entropy may move as well, because "
    "its gradient weighs the other classes by their probabilities, and is "
    "rounded to zero where the network is sure: then the attack is weaker, "
    "and not the network more robust."
)
_TITLE = "Temperature: same decisions, another sigma_p"
_LOOKS = (Look.CLEAN, Look.CLIP)
_HEAD = ("epochs", "T", "TA", Look.CLIP.value)


@sections.register(order=64)
def temperature(material: Material) -> Section:
    """Returns the section."""
    network = material.scale.tables["table2"].networks[0]
    blocks: list[Block] = [Words(_WORDS)]
    domains = uncertainty.domains(material)
    body, more = [], []
    for epochs in material.scale.tables["table2"].epochs:
        heats = sorted(heated.seeds(material, network, epochs))
        for heat in heats:
            body.append(_line(material, network, epochs, heat, domains))
        if heats:
            more += _shown(material, network, epochs, heats)
    if not body:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
        return Section("temperature", _TITLE, tuple(blocks))
    head = (*_HEAD, *(f"sigma_p, {domain}" for domain in domains))
    caption = f"{network.title} on {network.dataset}, percent. {numbers.KEY}"
    blocks += [Table(head, tuple(body), caption), *more]
    return Section("temperature", _TITLE, tuple(blocks))


def _line(
    material: Material, network: Network, epochs: int, heat: float,
    domains: list[str],
) -> tuple[Cell, ...]:  # fmt: skip
    looked = (
        over_seeds(heated.tempered(material, network, epochs, look, heat))
        for look in _LOOKS
    )
    deviations = (
        _deviation(material, network, epochs, domain, heat)
        for domain in domains
    )
    return (
        Cell(str(epochs)), Cell(f"{heat:g}"),
        *(numbers.cell(x) for x in looked),
        *deviations,
    )  # fmt: skip


def _deviation(
    material: Material, network: Network, epochs: int, domain: str, heat: float
) -> Cell:
    given = (material, network, epochs, domain, heat)
    found = heated.deviation(*given)
    if found is None and uncertainty.refused(*given):
        return Cell("refused", tone="muted")
    return numbers.cell(found, 5)


def _shown(
    material: Material, network: Network, epochs: int, heats: list[float]
) -> Iterator[Block]:
    """Yields what moved, in words, and the figure."""
    title = numbers.named(network.title, network.dataset, epochs)
    accuracies = {
        look.value: _points({
            heat: over_seeds(
                heated.tempered(material, network, epochs, look, heat)
            )
            for heat in heats
        })
        for look in _LOOKS
    }  # fmt: skip
    deviations = {
        domain: _points({
            heat: heated.deviation(material, network, epochs, domain, heat)
            for heat in heats
        })
        for domain in uncertainty.domains(material)
    }  # fmt: skip
    told = " ".join(
        _moved(material, network, epochs, heat) for heat in heats if heat != 1
    )
    yield Words(f"{title}, against T = 1. {told}")
    yield Picture(
        f"temperature-{network.dataset}-{network.model}-{epochs}",
        temperatures.draw(accuracies, deviations, title),
        f"TA, RA and sigma_p over the temperature of the logits: {title}.",
        "Left: TA and RA under the paper's attack; right: sigma_p, where it "
        f"was measured: {title}.",
    )  # fmt: skip


def _points(
    found: dict[float, Estimate | None],
) -> dict[float, tuple[float, float, float]]:
    return {heat: x.point for heat, x in found.items() if x is not None}


def _moved(
    material: Material, network: Network, epochs: int, heat: float
) -> str:
    """Returns "T = 4: TA differs by 0.00 ± 0.00 (5) points, ..."."""
    told = []
    for look in _LOOKS:
        before, after = (
            heated.tempered(material, network, epochs, look, t)
            for t in (1.0, heat)
        )
        if look is Look.CLEAN:
            counted = numbers.count(len(after), "seed")
            told.append(
                f"TA is the same within {heated.TIES:g} points, of {counted}"
            )
            continue
        found = change(before, after)
        words = numbers.NOT_RUN
        if found is not None:
            words = f"differs by {numbers.text(found)} points"
        told.append(f"{look.value} {words}")
    for domain in uncertainty.domains(material):
        ratio = heated.ratio(*(
            heated.deviation(material, network, epochs, domain, t)
            for t in (1.0, heat)
        ))  # fmt: skip
        words = f"was {numbers.NOT_RUN}"
        if ratio is None and uncertainty.refused(
            material, network, epochs, domain, heat
        ):
            words = "was refused"
        if ratio is not None:
            words = f"is {ratio:.2f} times as large"
        told.append(f"sigma_p ({domain}) {words}")
    return f"T = {heat:g}: {'; '.join(told)}."
