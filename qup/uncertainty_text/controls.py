"""What the controls say, and hence what may not be concluded."""

import itertools
from collections.abc import Iterator, Sequence

from qup import uncertainty_networks as networks
from qup.measurements import Row
from qup.uncertainty_measured import Measured
from qup.uncertainty_text import numbers, pairs, trends
from qup.uncertainty_text.numbers import FALLS, RISES, listed


def sentences(group: Sequence[Measured], rows: Sequence[Row]) -> Iterator[str]:
    """Yields sentences on the controls, and the conclusion.

    Args:
      group: Records of one packet in one domain.
      rows: Those of the accuracies.
    """
    own = networks.main(group)
    if own[0]["control"]:
        yield (
            "ONLY CONTROLS WERE MEASURED: this says nothing of a trained "
            "network."
        )
        return
    found = _matched(group, own)
    yield from _differences(found, rows)
    yield from _conclusion(group, found, rows)


def _matched(
    group: Sequence[Measured], own: Sequence[Measured]
) -> dict[str, list[pairs.Pair]]:
    """Returns (control, network) of every label, by the control's name."""
    others = [of for of in group if of["control"]]
    found = {}
    for name in dict.fromkeys(networks.network(of) for of in others):
        same = [of for of in others if networks.network(of) == name]
        found[name] = pairs.matched(same, own)
    return {name: both for name, both in found.items() if both}


def _differences(
    found: dict[str, list[pairs.Pair]], rows: Sequence[Row]
) -> Iterator[str]:
    """Yields a sentence for each way in which controls differ."""
    ways: dict[str, list[str]] = {}
    for name, both in found.items():
        row = networks.accuracy(rows, both[0][0])
        told = f"{name} (TA {row.value:.1f} %)" if row else name
        ways.setdefault(listed(pairs.apart(both)), []).append(told)
    for way, names in ways.items():
        others = f"{networks.plural(len(names), 'the control')} {listed(names)}"
        if way:
            yield (
                f"Beyond three standard errors it differs in {way} from "
                f"{others}."
            )
        else:
            yield f"No difference from {others} is resolved."


def _conclusion(
    group: Sequence[Measured], found: dict[str, list[pairs.Pair]],
    rows: Sequence[Row],
) -> Iterator[str]:  # fmt: skip
    both = trends.heated(group)
    moved = pairs.apart(both) if both else []
    mixed = _mixed(group, rows)
    if mixed:
        yield mixed
    if not found and not both:
        yield (
            "NO CONTROL WAS MEASURED: nothing may be said of what training or "
            "accuracy have to do with these numbers."
        )
    elif not (moved or mixed):
        yield (
            "Nothing here excludes a link with accuracy, and nothing proves it."
        )
    yield "One architecture and one seed make no law."


def _accuracy(
    one: Measured, other: Measured, rows: Sequence[Row]
) -> str | None:
    """Returns how TA changes from one network to another."""
    told = [networks.accuracy(rows, of) for of in (one, other)]
    if None in told:
        return None
    return numbers.change(*(numbers.of_row(row) for row in told))


def _mixed(group: Sequence[Measured], rows: Sequence[Row]) -> str:
    """Says whether a number rises with TA here and against it there."""
    plain = [of for of in group if of["temperature"] == 1]
    measure, name = next(iter(pairs.measures(group).items()))
    ways: dict[str, str] = {}
    for one, other in itertools.permutations(plain, 2):
        same = one["label"] == other["label"]
        if not (same and one["estimator"] == other["estimator"]):
            continue
        move = _accuracy(one, other, rows)
        if pairs.moves([(one, other)], measure) == [RISES]:
            names = f"from {networks.network(one)} to {networks.network(other)}"
            ways.setdefault(str(move), names)
    if not {RISES, FALLS} <= set(ways):
        return ""
    return (
        f"{name.capitalize()} does not follow TA: both rise {ways[RISES]}, "
        f"but {name} rises and TA falls {ways[FALLS]}."
    )
