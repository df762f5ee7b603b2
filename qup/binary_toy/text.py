"""What the binary toy found, as tables on a terminal.

```python
print(text(rows))
```
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from qup import binary_toy
from qup.binary_toy import seeds as toy_seeds
from qup.binary_toy.rows import AXES
from qup.binary_toy.seeds import Values, by_seed
from qup.measurements import Row
from qup.measures.uncertainty import checks
from qup.measures.uncertainty.packets import KINDS

# Measure: head of its column, along both coordinates.
_ALONG = {
    "sigma_x": "sigma_x",
    "sigma_p": "sigma_p",
    "uncertainty_product": "product",
    "uncertainty_bound": "bound",
}
_OF_PAIR = {
    "overlap_x": "overlap in X",
    "overlap_p": "overlap in P",
    "own_share": "own share",
}


def text(rows: Sequence[Row]) -> str:
    """Returns all tables.

    Args:
      rows: Those of every network and seed.
    """
    seeds = len({row.seed for row in rows})
    parts = [
        [f"Two classes in the unit square, seeds: {seeds}. Means over seeds, "
         "in brackets the standard", "error in units of the last digit."],
        _accuracies(rows),
        ["Packets along x_1 and x_2, means over both labels:"],
        _along(rows),
        ["Overlap: int |psi_0||psi_1|. Own share: of |psi|^2, where the "
         "network says the packet's own", "label, mean over both labels."],
        _of_pairs(rows),
        _differences(rows),
        _checks(rows),
    ]  # fmt: skip
    return "\n\n".join("\n".join(part) for part in parts)


def _accuracies(rows: Sequence[Row]) -> list[str]:
    """Returns the lines of TA and RA."""
    epsilons = sorted({r.epsilon for r in rows if r.epsilon is not None})
    lines = [["network", "TA", *(f"RA, epsilon {e:g}" for e in epsilons)]]
    for epochs in sorted({row.epochs for row in rows}):
        found = [by_seed(rows, "test_accuracy", epochs)] + [
            by_seed(rows, "robust_accuracy", epochs, epsilon)
            for epsilon in epsilons
        ]
        told = (_told(each, 2) for each in found)
        lines.append([toy_seeds.name(epochs), *told])
    return _aligned(lines)


def _along(rows: Sequence[Row]) -> list[str]:
    """Returns a line for each packet, domain and network."""
    heads = [f"{head} {i}" for head in _ALONG.values() for i in (1, 2)]
    lines = [["packet", "domain", "network", *heads]]
    for epochs, such in _settings(rows):
        found = (
            by_seed(rows, measure, epochs, axis=axis, **such)
            for measure in _ALONG
            for axis in AXES
        )
        told = (_told(each, 3) if each else "1/2" for each in found)
        lines.append([*_names(epochs, such), *told])
    return _aligned(lines)


def _of_pairs(rows: Sequence[Row]) -> list[str]:
    """Returns the same of what has no direction."""
    lines = [["packet", "domain", "network", *_OF_PAIR.values()]]
    for epochs, such in _settings(rows):
        found = (by_seed(rows, m, epochs, **such) for m in _OF_PAIR)
        told = (_told(each, 4) for each in found)
        lines.append([*_names(epochs, such), *told])
    return _aligned(lines)


def _settings(rows: Sequence[Row]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields epochs and parameters of every line."""
    networks = toy_seeds.networks(rows)
    for kind, domain in itertools.product(KINDS, binary_toy.SPANS):
        for epochs, temperature in networks:
            such = {"packet": kind, "domain": domain}
            yield epochs, {**such, "temperature": temperature}


def _names(epochs: int, such: Mapping[str, Any]) -> list[str]:
    name = toy_seeds.name(epochs, such["temperature"])
    return [such["packet"], such["domain"], name]


def _differences(rows: Sequence[Row]) -> list[str]:
    """Returns how the most trained networks differ from the least."""
    few, *_, many = sorted({row.epochs for row in rows})
    lines = [["packet", "domain", "along", "sigma_x", "smaller in",
              "sigma_p", "larger in"]]  # fmt: skip
    signs: dict[str, list[int]] = {"sigma_x": [], "sigma_p": []}
    for kind, domain, axis in itertools.product(KINDS, binary_toy.SPANS, AXES):
        such = {"packet": kind, "domain": domain, "axis": axis}
        line = [kind, domain, f"x_{1 + AXES.index(axis)}"]
        for measure, wanted in (("sigma_x", -1), ("sigma_p", 1)):
            away = toy_seeds.difference(*(
                by_seed(rows, measure, epochs, temperature=1.0, **such)
                for epochs in (few, many)
            ))  # fmt: skip
            every = np.concatenate(list(away.values()))
            line.append(_told(away, 4, "+"))
            line.append(f"{(wanted * every > 0).sum()} of {every.size}")
            signs[measure].append(_sign(away))
        lines.append(line)
    names = [toy_seeds.name(epochs) for epochs in (many, few)]
    told = ["{} less {}, each packet with itself:".format(*names), ""]
    told += [*_aligned(lines), ""]
    if len(away) < 2:
        return [*told, "One seed has no error bars: nothing follows from it."]
    return told + _verdict(signs)


def _sign(away: Values) -> int:
    """Returns the sign of a mean over seeds; 0 where chance may give it.

    One in 370 differences that are none passes (Student 1908).
    """
    mean, error = toy_seeds.mean(away)
    if len(away) < 2:
        return 0
    far = abs(mean) > checks.limit(1, len(away) - 1) * error
    return int(np.sign(mean)) if far else 0


def _verdict(signs: dict[str, list[int]]) -> list[str]:
    words = (
        "Of these {} lines {} is larger in {} and smaller in {}, beyond chance "
        "(Student's t, one in 370)."
    )
    return [
        words.format(len(found), measure, found.count(1), found.count(-1))
        for measure, found in signs.items()
    ]


def _checks(rows: Sequence[Row]) -> list[str]:
    """Returns what must be equal, and how far apart it is."""
    of = {
        measure: toy_seeds.keyed(rows, measure)
        for measure in ("boundary_term", "boundary_term_faces", "covariance",
                        "sigma_p", "sigma_p_conjugate")
    }  # fmt: skip
    faces = _furthest(
        (value, of["boundary_term"][key])
        for key, value in of["boundary_term_faces"].items()
    )
    windows = _furthest((value, -0.5) for value in of["covariance"].values())
    waves = _furthest(
        (value / of["sigma_p"][key], 1.0)
        for key, value in of["sigma_p_conjugate"].items()
    )
    return [
        f"Largest differences: B by covariance and by faces {faces:.1e}; "
        f"Cov(x, s) and -1/2 under",
        f"windows {windows:.1e}; sigma_p by quadrature and as the deviation "
        f"of |psi~|^2 {waves:.1e}, relative.",
    ]


def _furthest(pairs: Iterable[tuple[float, float]]) -> float:
    return max(abs(one - other) for one, other in pairs)


def _told(found: Values, digits: int, sign: str = "") -> str:
    """Returns a mean over seeds as 0.123(4)."""
    mean, error = toy_seeds.mean(found)
    told = f"{mean:{sign}.{digits}f}"
    if np.isnan(error):
        return told
    return f"{told}({error * 10**digits:.0f})"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines with their columns one below another."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
