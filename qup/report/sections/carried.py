"""Attacks made on one network and shown to the other: blocks of `leaks`."""

from qup.measurements import Row
from qup.report import numbers
from qup.report.blocks import Block, Cell, Table, Words
from qup.report.estimates import change, over_seeds
from qup.report.material import Material
from qup.report.selection import Look, of_network, rows
from qup.scales import Network

_CARRIED = (
    "Images that were attacked on one network are shown to the other. An "
    "attack through both networks knows everything of the pair, so no attack "
    "that knows less should break more of its images: where one does, the "
    "gradient through the translator misleads, and the pair's RA says little."
)
# (evaluated on, made on): what a line is called.
_WAYS = {
    ("CL", "CL"): "CL, attacked itself",
    ("CL", "ACL"): "CL, images attacked through the pair",
    ("ACL", "ACL"): "ACL, attacked through both networks",
    ("ACL", "through"): "ACL, attacked through the classifier alone",
    ("ACL", "CL"): "ACL, images attacked on CL",
}


def blocks(material: Material, network: Network, epochs: int) -> list[Block]:
    """Returns words, and a table of RA by where the images were made."""
    held = {
        way: _made(material, network, epochs, *way, "robust_accuracy")
        for way in _WAYS
    }
    if not any(held.values()):
        told = f"Attacks carried over were {numbers.NOT_RUN}."
        return [Words(_CARRIED), Words(told)]
    body = []
    for way, title in _WAYS.items():
        alone = _made(
            material, network, epochs, *way, "broken_by_transfer_alone"
        )
        found = over_seeds(held[way])
        # An attack on the network itself is no transfer.
        own = way[0] == way[1] or way[1] == "through"
        body.append((
            Cell(title), numbers.cell(found),
            Cell("-", tone="muted") if own else numbers.cell(over_seeds(alone)),
            Cell(f"{found.n:,}" if found else "-"),
        ))  # fmt: skip
    head = ("", Look.CLIP.value, "broken by these images alone", "n")
    of = numbers.named(network.title, network.dataset, epochs)
    caption = (
        f'Percent: {of}. "Broken by these images alone": right before, and '
        f"under the attack on the network itself. {numbers.KEY}"
    )
    return [
        Words(_CARRIED),
        Table(head, tuple(body), caption),
        Words(_compared(held)),
    ]


def _made(
    material: Material, network: Network, epochs: int, on: str, made: str,
    measure: str,
) -> list[Row]:  # fmt: skip
    """Returns rows of one network by where the images were made."""
    if made == "through":
        if measure != "robust_accuracy":
            return []
        look = {"through": "classifier"}
        return rows(material, network, on, epochs, Look.CLIP, **look)
    return material.find(
        classifier=on, measure=measure, made_on=made, pixel_clip=True,
        control=None, **of_network(network, epochs),
    )  # fmt: skip


def _compared(held: dict[tuple[str, str], list[Row]]) -> str:
    """Says whether an attack that knows less breaks more of the pair."""
    told = []
    for made in ("through", "CL"):
        found = change(held["ACL", "ACL"], held["ACL", made])
        words = _WAYS["ACL", made].removeprefix("ACL, ")
        if found is None:
            told.append(f"{words}: {numbers.NOT_RUN} on the same seeds")
            continue
        verdict = {
            -1: "breaks more than the attack through both, which it should "
            "not: the gradient through the translator misleads",
            0: "cannot be told from the attack through both at this number "
            "of images and seeds",
            1: "breaks fewer than the attack through both, as it should",
        }[found.sign]
        told.append(f"{words}: RA differs by {numbers.text(found)}; {verdict}")
    return f"RA of ACL less that under the attack through both. {_join(told)}"


def _join(sentences: list[str]) -> str:
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in sentences)
