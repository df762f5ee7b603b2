"""What the binary toy found, as tables on a terminal.

```python
print(text(rows))
```
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from qup.core.measurements import Row
from qup.reproduction import binary_toy
from qup.reproduction.binary_toy import packets
from qup.reproduction.binary_toy.packets import AXES, SeedValues, select_by_seed
from qup.uncertainty import checks
from qup.uncertainty.packets import PACKET_KINDS

# Measure: head of its column, along both coordinates.
_AXIS_MEASURES = {
    "sigma_x": "sigma_x",
    "sigma_p": "sigma_p",
    "uncertainty_product": "product",
    "uncertainty_bound": "bound",
}
_PAIR_MEASURES = {
    "overlap_x": "overlap in X",
    "overlap_p": "overlap in P",
    "own_share": "own share",
}


def format_report(rows: Sequence[Row]) -> str:
    """Returns all tables.

    Args:
      rows: Those of every network and seed.
    """
    seeds = len({row.seed for row in rows})
    blocks = [
        [
            f"Two classes in the unit square, seeds: {seeds}. Means over seeds, "
            "in brackets the standard",
            "error in units of the last digit.",
        ],
        _format_accuracy_table(rows),
        ["Packets along x_1 and x_2, means over both labels:"],
        _format_axis_table(rows),
        [
            "Overlap: int |psi_0||psi_1|. Own share: of |psi|^2, where the "
            "network says the packet's own",
            "label, mean over both labels.",
        ],
        _format_pair_table(rows),
        _format_differences(rows),
        _format_checks(rows),
    ]
    return "\n\n".join("\n".join(block) for block in blocks)


def _format_accuracy_table(rows: Sequence[Row]) -> list[str]:
    """Returns the lines of TA and RA."""
    epsilons = sorted({r.epsilon for r in rows if r.epsilon is not None})
    table = [["network", "TA", *(f"RA, epsilon {e:g}" for e in epsilons)]]
    for epochs in sorted({row.epochs for row in rows}):
        values = [select_by_seed(rows, "test_accuracy", epochs)] + [
            select_by_seed(rows, "robust_accuracy", epochs, epsilon) for epsilon in epsilons
        ]
        cells = (_format_mean(each, 2) for each in values)
        table.append([packets.format_network_name(epochs), *cells])
    return _align_columns(table)


def _format_axis_table(rows: Sequence[Row]) -> list[str]:
    """Returns a line for each packet, domain and network."""
    heads = [f"{head} {i}" for head in _AXIS_MEASURES.values() for i in (1, 2)]
    table = [["packet", "domain", "network", *heads]]
    for epochs, parameters in _iterate_settings(rows):
        values = (
            select_by_seed(rows, measure, epochs, axis=axis, **parameters)
            for measure in _AXIS_MEASURES
            for axis in AXES
        )
        cells = (_format_mean(each, 3) if each else "1/2" for each in values)
        table.append([*_build_row_labels(epochs, parameters), *cells])
    return _align_columns(table)


def _format_pair_table(rows: Sequence[Row]) -> list[str]:
    """Returns the same of what has no direction."""
    table = [["packet", "domain", "network", *_PAIR_MEASURES.values()]]
    for epochs, parameters in _iterate_settings(rows):
        values = (select_by_seed(rows, m, epochs, **parameters) for m in _PAIR_MEASURES)
        cells = (_format_mean(each, 4) for each in values)
        table.append([*_build_row_labels(epochs, parameters), *cells])
    return _align_columns(table)


def _iterate_settings(rows: Sequence[Row]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields epochs and parameters of every line."""
    networks = packets.list_networks(rows)
    for kind, domain in itertools.product(PACKET_KINDS, binary_toy.SPANS):
        for epochs, temperature in networks:
            parameters = {"packet": kind, "domain": domain}
            yield epochs, {**parameters, "temperature": temperature}


def _build_row_labels(epochs: int, parameters: Mapping[str, Any]) -> list[str]:
    name = packets.format_network_name(epochs, parameters["temperature"])
    return [parameters["packet"], parameters["domain"], name]


def _format_differences(rows: Sequence[Row]) -> list[str]:
    """Returns how the most trained networks differ from the least."""
    fewest, *_, most = sorted({row.epochs for row in rows})
    table = [["packet", "domain", "along", "sigma_x", "smaller in", "sigma_p", "larger in"]]
    signs: dict[str, list[int]] = {"sigma_x": [], "sigma_p": []}
    for kind, domain, axis in itertools.product(PACKET_KINDS, binary_toy.SPANS, AXES):
        parameters = {"packet": kind, "domain": domain, "axis": axis}
        cells = [kind, domain, f"x_{1 + AXES.index(axis)}"]
        for measure, expected_sign in (("sigma_x", -1), ("sigma_p", 1)):
            differences = packets.compute_differences(
                *(
                    select_by_seed(rows, measure, epochs, temperature=1.0, **parameters)
                    for epochs in (fewest, most)
                )
            )
            all_values = np.concatenate(list(differences.values()))
            cells.append(_format_mean(differences, 4, "+"))
            cells.append(f"{(expected_sign * all_values > 0).sum()} of {all_values.size}")
            signs[measure].append(_compute_sign(differences))
        table.append(cells)
    names = [packets.format_network_name(epochs) for epochs in (most, fewest)]
    text_lines = ["{} less {}, each packet with itself:".format(*names), ""]
    text_lines += [*_align_columns(table), ""]
    if len(differences) < 2:
        return [*text_lines, "One seed has no error bars: nothing follows from it."]
    return text_lines + _format_verdict(signs)


def _compute_sign(differences: SeedValues) -> int:
    """Returns the sign of a mean over seeds; 0 where chance may give it.

    One in 370 differences that are none passes (Student 1908).
    """
    mean, error = packets.compute_seed_mean(differences)
    if len(differences) < 2:
        return 0
    is_significant = abs(mean) > checks.z_quantile(1, len(differences) - 1) * error
    return int(np.sign(mean)) if is_significant else 0


def _format_verdict(signs: dict[str, list[int]]) -> list[str]:
    template = (
        "Of these {} lines {} is larger in {} and smaller in {}, beyond chance "
        "(Student's t, one in 370)."
    )
    return [
        template.format(
            len(measure_signs), measure, measure_signs.count(1), measure_signs.count(-1)
        )
        for measure, measure_signs in signs.items()
    ]


def _format_checks(rows: Sequence[Row]) -> list[str]:
    """Returns what must be equal, and how far apart it is."""
    values_by_measure = {
        measure: packets.index_values(rows, measure)
        for measure in (
            "boundary_term",
            "boundary_term_faces",
            "covariance",
            "sigma_p",
            "sigma_p_conjugate",
        )
    }
    faces = _find_max_difference(
        (value, values_by_measure["boundary_term"][key])
        for key, value in values_by_measure["boundary_term_faces"].items()
    )
    windows = _find_max_difference(
        (value, -0.5) for value in values_by_measure["covariance"].values()
    )
    waves = _find_max_difference(
        (value / values_by_measure["sigma_p"][key], 1.0)
        for key, value in values_by_measure["sigma_p_conjugate"].items()
    )
    return [
        f"Largest differences: B by covariance and by faces {faces:.1e}; Cov(x, s) and -1/2 under",
        f"windows {windows:.1e}; sigma_p by quadrature and as the deviation "
        f"of |psi~|^2 {waves:.1e}, relative.",
    ]


def _find_max_difference(pairs: Iterable[tuple[float, float]]) -> float:
    return max(abs(one - other) for one, other in pairs)


def _format_mean(values: SeedValues, digits: int, sign: str = "") -> str:
    """Returns a mean over seeds as 0.123(4)."""
    mean, error = packets.compute_seed_mean(values)
    formatted = f"{mean:{sign}.{digits}f}"
    if np.isnan(error):
        return formatted
    return f"{formatted}({error * 10**digits:.0f})"


def _align_columns(table: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines with their columns one below another."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]
