"""Results of the binary toy as tables for a terminal.

```python
print(format_report(rows))
```
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from qup.core.formatting import format_number, format_percent, format_with_error
from qup.core.measurements import Row
from qup.reproduction import binary_toy
from qup.reproduction.binary_toy import packets
from qup.reproduction.binary_toy.packets import AXES, SeedValues, select_by_seed
from qup.uncertainty import checks
from qup.uncertainty.packets import PACKET_KINDS

# Measure: heading of its column, for each coordinate.
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
_VERDICT = (
    "In {} of these {} lines {} is larger after {}, in {} smaller, beyond chance (Student's t, one "
    "in 370)."
)


def format_report(rows: Sequence[Row]) -> str:
    """Returns all tables of the rows of all networks and seeds."""
    seeds = len({row.seed for row in rows})
    blocks = [
        [f"Two classes in the unit square, {seeds} seeds. Means ± standard errors over seeds."],
        _format_accuracy_table(rows),
        ["Packets along x_1 and x_2, means over both labels:"],
        _format_packet_table(
            rows,
            [f"{heading} {i}" for heading in _AXIS_MEASURES.values() for i in (1, 2)],
            [(measure, {"axis": axis}) for measure in _AXIS_MEASURES for axis in AXES],
        ),
        [
            "Overlap: int |psi_0||psi_1|. Own share: of |psi|^2, where the network predicts the",
            "label of the packet, mean over both labels.",
        ],
        _format_packet_table(
            rows, list(_PAIR_MEASURES.values()), [(measure, {}) for measure in _PAIR_MEASURES]
        ),
        _format_differences(rows),
        _format_checks(rows),
    ]
    return "\n\n".join("\n".join(block) for block in blocks)


def _format_accuracy_table(rows: Sequence[Row]) -> list[str]:
    epsilons = sorted({r.epsilon for r in rows if r.epsilon is not None})
    table = [["network", "TA", *(f"RA, epsilon {e:g}" for e in epsilons)]]
    for epochs in sorted({row.epochs for row in rows}):
        values = [select_by_seed(rows, "test_accuracy", epochs)] + [
            select_by_seed(rows, "robust_accuracy", epochs, epsilon) for epsilon in epsilons
        ]
        cells = (format_percent(*packets.compute_seed_mean(each)) for each in values)
        table.append([packets.format_network_name(epochs), *cells])
    return _align_columns(table)


def _format_packet_table(
    rows: Sequence[Row], headings: list[str], columns: list[tuple[str, Mapping[str, Any]]]
) -> list[str]:
    """Returns a line per packet, domain and network, with a column per measure."""
    table = [["packet", "domain", "network", *headings]]
    for epochs, parameters in _iterate_settings(rows):
        values = (
            select_by_seed(rows, measure, epochs, **column_parameters, **parameters)
            for measure, column_parameters in columns
        )
        # A window has no estimate of the bound, which is 1/2.
        cells = (_format_mean(each) if each else "1/2" for each in values)
        name = packets.format_network_name(epochs, parameters["temperature"])
        table.append([parameters["packet"], parameters["domain"], name, *cells])
    return _align_columns(table)


def _iterate_settings(rows: Sequence[Row]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields epochs and parameters of each line."""
    networks = packets.list_networks(rows)
    for kind, domain in itertools.product(PACKET_KINDS, binary_toy.SPANS):
        for epochs, temperature in networks:
            yield epochs, {"packet": kind, "domain": domain, "temperature": temperature}


def _format_differences(rows: Sequence[Row]) -> list[str]:
    """Returns the differences between the most and the least trained networks."""
    fewest, *_, most = sorted({row.epochs for row in rows})
    table = [["packet", "domain", "along", "sigma_x", "smaller in", "sigma_p", "larger in"]]
    signs: dict[str, list[int]] = {"sigma_x": [], "sigma_p": []}
    for kind, domain, axis in itertools.product(PACKET_KINDS, binary_toy.SPANS, AXES):
        parameters = {"packet": kind, "domain": domain, "axis": axis, "temperature": 1.0}
        cells = [kind, domain, f"x_{1 + AXES.index(axis)}"]
        for measure, expected_sign in (("sigma_x", -1), ("sigma_p", 1)):
            least_trained, most_trained = (
                select_by_seed(rows, measure, epochs, **parameters) for epochs in (fewest, most)
            )
            differences = packets.compute_differences(least_trained, most_trained)
            all_values = np.concatenate(list(differences.values()))
            cells.append(_format_mean(differences))
            cells.append(f"{(expected_sign * all_values > 0).sum()} of {all_values.size}")
            signs[measure].append(_compute_sign(differences))
        table.append(cells)
    names = [packets.format_network_name(epochs) for epochs in (most, fewest)]
    lines = ["{} minus {}, each packet with itself:".format(*names), "", *_align_columns(table), ""]
    if len(differences) < 2:
        return [*lines, "One seed has no standard error: no conclusion."]
    return lines + [
        _VERDICT.format(s.count(1), len(s), measure, names[0], s.count(-1))
        for measure, s in signs.items()
    ]


def _compute_sign(differences: SeedValues) -> int:
    """Returns the sign of a mean over seeds; 0 if it is not significant.

    One in 370 means of zero differences gets a sign (Student 1908).
    """
    mean, error = packets.compute_seed_mean(differences)
    if len(differences) < 2:
        return 0
    is_significant = abs(mean) > checks.compute_z_quantile(1, len(differences) - 1) * error
    return int(np.sign(mean)) if is_significant else 0


def _format_checks(rows: Sequence[Row]) -> list[str]:
    """Returns the largest differences between values that must be equal."""
    terms, face_terms, covariances, sigmas, conjugate_sigmas = (
        {
            (row.seed, row.epochs, *sorted(row.parameters.items())): row.value
            for row in rows
            if row.measure == measure
        }
        for measure in (
            "boundary_term",
            "boundary_term_faces",
            "covariance",
            "sigma_p",
            "sigma_p_conjugate",
        )
    )
    faces = max(abs(value - terms[key]) for key, value in face_terms.items())
    windows = max(abs(value + 0.5) for value in covariances.values())
    waves = max(abs(value / sigmas[key] - 1.0) for key, value in conjugate_sigmas.items())
    return [
        f"Largest differences: B by covariance and by faces {faces:.1e}; Cov(x, s) and -1/2 under",
        f"windows {windows:.1e}; sigma_p by quadrature and as the deviation of |psi~|^2 "
        f"{waves:.1e}, relative.",
    ]


def _format_mean(values: SeedValues) -> str:
    """Returns the mean over seeds, with its standard error if there is one."""
    mean, error = packets.compute_seed_mean(values)
    return format_number(mean) if np.isnan(error) else format_with_error(mean, error)


def _align_columns(table: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]
