"""The capacity sweep: what larger translators learn of Delta, and what for."""

from qup.evidence_figures import capacity as drawing
from qup.report import numbers, sections, translators
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.estimates import Estimate, change, over_seeds
from qup.report.material import Material
from qup.report.selection import Look, accuracy
from qup.report.translators import Translator
from qup.scales import Network

_WORDS = (
    "The supplement holds that no Pix2Pix learns Delta_N. Here is the mean "
    "error of Delta on test images, as a share of the mean |Delta|: 1 is what "
    "no translation at all would miss. The line of the class template is a "
    "fixed pattern for the true class; a translator above it knows less of "
    "Delta than the class alone tells. If a larger network, or Delta_1 instead "
    "of Delta_N, brings the error down, it is a matter of capacity or of the "
    "target, and no principle; if the accuracies do not follow the error, "
    "they are made of something else."
)
_HEAD = (
    "translator", "parameters", "error of Delta", "of the class template",
    "ACL: TA", f"ACL: {Look.CLIP.value}", "images",
)  # fmt: skip
_TITLE = "Capacity: translators of other sizes, and Delta_1"


@sections.register(order=66)
def capacity(material: Material) -> Section:
    """Returns the section."""
    table = material.scale.tables["table2"]
    network, epochs = table.networks[0], table.epochs[0]
    blocks: list[Block] = [Words(_WORDS)]
    found = translators.swept_and_one(material, network, epochs)
    if not found:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
        return Section("capacity", _TITLE, tuple(blocks))
    body = tuple(_line(material, network, epochs, of) for of in found)
    title = numbers.named(network.title, network.dataset, epochs)
    caption = (
        f"Errors as shares of the mean |Delta|, accuracies in percent: {title}."
        f" {numbers.KEY}"
    )
    blocks += [
        Table(_HEAD, body, caption),
        Words(_told(found)),
        _picture(material, network, epochs, found),
    ]
    return Section("capacity", _TITLE, tuple(blocks))


def _pair(
    material: Material, network: Network, epochs: int, of: Translator,
    look: Look,
) -> Estimate | None:  # fmt: skip
    return accuracy(material, network, "ACL", epochs, look, control=of.control)


def _line(
    material: Material, network: Network, epochs: int, of: Translator
) -> tuple[Cell, ...]:
    found = over_seeds(of.errors)
    template = over_seeds(
        translators.errors(
            material, network, epochs, of.control, "class_template"
        )
    )
    return (
        Cell(of.title), Cell(f"{of.parameters:,}"), numbers.cell(found, 4),
        numbers.cell(template, 4),
        *(numbers.cell(_pair(material, network, epochs, of, look))
          for look in (Look.CLEAN, Look.CLIP)),
        Cell(f"{found.n:,}"),
    )  # fmt: skip


def _told(found: list[Translator]) -> str:
    """Says whether the error falls with the size, and for Delta_1."""
    swept = [of for of in found if of.swept]
    words = f"Sizes of Delta_N: {len(swept)}. "
    gain = None
    if len(swept) > 1:
        gain = change(swept[0].errors, swept[-1].errors)
    if gain is None:
        words += "Whether the error falls with the size is undecided: at "
        words += "least two sizes of the same seeds are needed."
    else:
        kind = {
            -1: "the error falls with the size",
            0: "no change with the size can be told from chance",
            1: "the error grows with the size",
        }[gain.sign]
        words += (
            f"From {swept[0].parameters:,} to {swept[-1].parameters:,} "
            f"parameters the error changes by {numbers.text(gain, 4)}: {kind}."
        )
    one = next((of for of in found if of.control == "delta_1"), None)
    own = next((of for of in found if of.control is None), None)
    if one is None or own is None:
        return f"{words} Delta_1 against Delta_N: {numbers.NOT_RUN}."
    gain = change(own.errors, one.errors)
    if gain is None:
        return f"{words} Delta_1 against Delta_N: no seed has both."
    kind = {
        -1: "Delta_1 is learnt better", 1: "Delta_1 is learnt worse",
        0: "which is learnt better is undecided",
    }[gain.sign]  # fmt: skip
    return (
        f"{words} Error of Delta_1 less that of Delta_N, by translators of "
        f"one size: {numbers.text(gain, 4)}: {kind}."
    )


def _picture(
    material: Material, network: Network, epochs: int, found: list[Translator]
) -> Picture:
    series: dict[str, dict[int, tuple]] = {}
    accuracies: dict[str, dict[int, tuple]] = {}
    for of in found:
        name = "Delta_N" if of.swept else "Delta_1"
        error = over_seeds(of.errors)
        series.setdefault(name, {})[of.parameters] = error.point
        for look in (Look.CLEAN, Look.CLIP):
            seen = _pair(material, network, epochs, of, look)
            if seen is not None and of.swept:
                line = accuracies.setdefault(f"ACL, {look.value}", {})
                line[of.parameters] = seen.point
    references = {
        f"CL, {look.value}": x.point
        for look in (Look.CLEAN, Look.CLIP)
        if (x := accuracy(material, network, "CL", epochs, look))
    }
    own = next((of for of in found if of.swept), found[0])
    floor = over_seeds(
        translators.errors(
            material, network, epochs, own.control, "class_template"
        )
    )
    title = numbers.named(network.title, network.dataset, epochs)
    return Picture(
        "capacity",
        drawing.over_parameters(
            series, accuracies, references, title=title,
            floor=floor and floor.point,
        ),
        "Error of Delta, and TA and RA of the pair, over the number of "
        f"parameters of the translator: {title}.",
        "Above: the error of Delta on test images; below: TA and RA of the "
        f"pairs, and of the classifier alone across: {title}.",
    )  # fmt: skip
