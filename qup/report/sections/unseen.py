"""Test images walked with true and with predicted labels: blocks of `leaks`.

What the translator is to learn can be made of a test image itself, with its
label; the gain over the same walk with the classifier's own label is what
the label is worth.
"""

from qup.evidence_figures import walks
from qup.measurements import Row
from qup.report import numbers
from qup.report.blocks import Block, Cell, Picture, Table, Words
from qup.report.estimates import Estimate, over_seeds
from qup.report.material import Material
from qup.report.selection import of_network
from qup.scales import Network

_WORDS = (
    "The walk needs a label. Of test images it can be made with the true one, "
    "which nobody would know, and with the one that the classifier says. "
    "With its own label a walk can change no wrong decision into a right one "
    "but by chance; what the true label adds is information, not robustness. "
    "\"X_0 attacked, then walked\" is what a translator that learnt the walk "
    "exactly would defend."
)  # fmt: skip
_LABELS = {"true": "true labels", "predicted": "predicted labels"}
# Key: measure, and which image was attacked.
_CURVES = {
    "clean": ("test_accuracy", None),
    "attacked_after": ("robust_accuracy", "X_n"),
    "attacked_before": ("robust_accuracy", "X_0"),
}
_HEAD = ("walked with", "n", "TA of X_n", "RA, X_n attacked",
         "RA, X_0 attacked, then walked", "images")  # fmt: skip


def blocks(material: Material, network: Network, epochs: int) -> list[Block]:
    """Returns words, a table of the walks' ends, and a figure."""
    held = material.find(
        classifier="CL", images="X_n", split="test", control=None,
        **of_network(network, epochs),
    )  # fmt: skip
    curves = {
        (label, key): _curve(held, label, *_CURVES[key])
        for label in _LABELS
        for key in _CURVES
    }
    if not any(curves.values()):
        return [Words(_WORDS), Words(f"This was {numbers.NOT_RUN}.")]
    of = numbers.named(network.title, network.dataset, epochs)
    body = [
        _line(curves, label, step)
        for label in _LABELS
        for step in _ends(curves[label, "clean"])
    ]
    panels = {
        f"walked with {words}": {
            key: {n: x.point for n, x in curves[label, key].items()}
            for key in _CURVES
        }
        for label, words in _LABELS.items()
        if curves[label, "clean"]
    }
    return [
        Words(_WORDS),
        Table(_HEAD, tuple(body), f"Percent: {of}. {numbers.KEY}"),
        Picture(
            "leak-walks", walks.by_labels(panels, of),
            "TA and RA of test images over the steps of the walk, with true "
            f"and with predicted labels: {of}.",
            "Test images walked with true (left) and with predicted labels "
            "(right).",
        ),
    ]  # fmt: skip


def _curve(
    held: list[Row], label: str, measure: str, attacked: str | None
) -> dict[int, Estimate]:
    """Returns n to what was found."""
    own: dict[int, list[Row]] = {}
    for row in held:
        told = row.parameters
        if (row.measure, told.get("attacked_image"), told.get("walked_with")) \
                == (measure, attacked, label):  # fmt: skip
            own.setdefault(told["step"], []).append(row)
    return {step: over_seeds(own[step]) for step in sorted(own)}


def _ends(curve: dict[int, Estimate]) -> list[int]:
    return list(dict.fromkeys([*list(curve)[:1], *list(curve)[-1:]]))


def _line(
    curves: dict[tuple[str, str], dict[int, Estimate]], label: str, step: int
) -> tuple[Cell, ...]:
    found = [curves[label, key].get(step) for key in _CURVES]
    return (
        Cell(_LABELS[label]), Cell(str(step)),
        *(numbers.cell(x) for x in found), Cell(f"{found[0].n:,}"),
    )  # fmt: skip
