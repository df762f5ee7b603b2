"""What moves with epochs, with the temperature and with the window."""

from collections.abc import Iterator, Sequence

from qup import uncertainty_networks as networks
from qup.measurements import Row
from qup.uncertainty_measured import Measured
from qup.uncertainty_text import numbers, pairs
from qup.uncertainty_text.numbers import FALLS, RISES, STAYS, listed, number


def sentences(
    group: Sequence[Measured], kind: Sequence[Measured], rows: Sequence[Row]
) -> Iterator[str]:
    """Yields sentences on one network as it changes.

    Args:
      group: Records of one packet in one domain.
      kind: Records of that packet in every window, or on the box.
      rows: Those of the accuracies.
    """
    yield _epochs(group, rows)
    yield _temperatures(group)
    yield _widths(kind)


def _epochs(group: Sequence[Measured], rows: Sequence[Row]) -> str:
    line = networks.snapshots(group)
    if not line or line[0]["epochs"] == line[-1]["epochs"]:
        return ""
    first, last = line[0]["epochs"], line[-1]["epochs"]
    early = [of for of in line if of["epochs"] == first]
    late = [of for of in line if of["epochs"] == last]
    both = pairs.matched(early, late)
    if not both:
        return ""
    words = _accuracies(early[0], late[0], rows)
    told = f"{words}; " if words else ""
    return f"From {first} to {last} epochs {told}{pairs.changes(both)}."


def _accuracies(early: Measured, late: Measured, rows: Sequence[Row]) -> str:
    before, after = (networks.accuracies(rows, of) for of in (early, late))
    parts = []
    for measure, name in (("test_accuracy", "TA"), ("robust_accuracy", "RA")):
        if measure not in before or measure not in after:
            continue
        a, b = before[measure], after[measure]
        move = numbers.change(numbers.of_row(a), numbers.of_row(b))
        words = f"goes from {a.value:.1f} to {b.value:.1f} %"
        if move in (RISES, FALLS):
            words = words.replace("goes", move)
        elif move == STAYS:
            words += " (within its error)"
        parts.append(f"{name}{networks.attack(b)} {words}")
    return listed(parts)


def heated(group: Sequence[Measured]) -> list[pairs.Pair]:
    """Returns the newest network at its lowest and highest temperature."""
    own = networks.main(group)[0]
    same = [of for of in group if of["control"] == own["control"]]
    same = [of for of in same if of["epochs"] == own["epochs"]]
    heats = sorted({of["temperature"] for of in same})
    if len(heats) < 2:
        return []
    cold = [of for of in same if of["temperature"] == heats[0]]
    hot = [of for of in same if of["temperature"] == heats[-1]]
    return pairs.matched(cold, hot)


def _temperatures(group: Sequence[Measured]) -> str:
    both = heated(group)
    if not both:
        return ""
    cold, hot = (of["temperature"] for of in both[0])
    words = (
        "Dividing the logits by T leaves TA and exact RA as they are; from "
        f"T = {cold:g} to {hot:g} {pairs.changes(both)}"
    )
    moved = pairs.apart(both)
    if moved:
        words += f": {listed(moved)} {'are' if len(moved) > 1 else 'is'} no "
        words += "function of TA and RA"
    return f"{words}."


def _widths(kind: Sequence[Measured]) -> str:
    own = [of for of in networks.main(kind) if of.domain == "window"]
    widths = sorted({of.width for of in own})
    if len(widths) < 2:
        return ""
    narrow = [of for of in own if of.width == widths[0]]
    wide = [of for of in own if of.width == widths[-1]]
    both = pairs.matched(narrow, wide)
    if not both:
        return ""
    words = f"From s = {widths[0]:g} to {widths[-1]:g}"
    told = set(pairs.moves(both, "excess"))
    if told & {RISES, FALLS}:
        moving = pairs.moves(both, "excess")
        place = next(i for i, move in enumerate(moving) if move != STAYS)
        a, b = (number(of.average("excess")) for of in both[place])
        return (
            f"{words} the excess goes from {a} to {b}: IT DEPENDS ON THE "
            "WINDOW."
        )
    if told == {None}:
        return f"{words} the excess COULD NOT BE COMPARED."
    return f"{words} no change of the excess is resolved."
