"""Which rows answer which question: the paper's attack, the strong ones.

```python
rows = accuracy(material, network, "CL", 30, Look.PAPER)
```
"""

import enum
from collections.abc import Iterable
from typing import Any

from qup.measurements import Row
from qup.report.estimates import IntervalEstimate, average_over_seeds
from qup.report.material import ReportData
from qup.scales import NetworkPreset


class AccuracyKind(enum.Enum):
    """How a classifier was looked at; the value is a column's title."""

    CLEAN = "TA"
    PGD4_CLIPPED = "RA, PGD-4, clipped"
    PGD4_UNCLIPPED = "RA, PGD-4, not clipped"
    PGD_STRONG = "RA, strong PGD"
    WORST_CASE = "RA, worst case"

    def format_title(self, data: ReportData) -> str:
        """Returns a column's title, with the name of the worst case."""
        if self is not AccuracyKind.WORST_CASE:
            return self.value
        name = data.scale.worst_case["name"]
        return f"RA, {'AutoAttack' if name == 'autoattack' else name}"


_KIND_FILTERS: dict[AccuracyKind, dict[str, Any]] = {
    AccuracyKind.CLEAN: {"measure": "test_accuracy", "evaluation": None},
    AccuracyKind.PGD4_CLIPPED: {
        "measure": "robust_accuracy",
        "attack": "pgd",
        "pixel_clip": True,
        "random_start": False,
        "loss": "cross_entropy",
        "evaluation": None,
    },
    AccuracyKind.PGD4_UNCLIPPED: {
        "measure": "robust_accuracy",
        "attack": "pgd",
        "pixel_clip": False,
        "random_start": False,
        "loss": "cross_entropy",
        "evaluation": None,
    },
    AccuracyKind.PGD_STRONG: {
        "measure": "robust_accuracy",
        "attack": "pgd",
        "evaluation": "per_image",
    },
    AccuracyKind.WORST_CASE: {"measure": "robust_accuracy", "evaluation": "per_image"},
}
# What tells networks of the tables from their controls.
TABLE_FILTERS = {
    "control": None,
    "method": None,
    "step": None,
    "made_on": None,
    "figure": None,
    "split": "test",
}


def build_network_filters(network: NetworkPreset, epochs: int) -> dict[str, Any]:
    """Returns conditions on rows: those of one network of the tables."""
    options = {f"model_{key}": x for key, x in network.options.items()}
    columns = {"dataset": network.dataset, "model": network.model}
    return {**columns, "epochs": epochs, **options}


def find_accuracy_rows(
    data: ReportData,
    network: NetworkPreset,
    classifier: str,
    epochs: int,
    kind: AccuracyKind,
    **filters: Any,
) -> list[Row]:
    """Returns the rows, one a seed.

    Args:
      data: Everything.
      network: The network.
      classifier: "CL" or "ACL".
      epochs: Its epochs.
      kind: The question.
      **filters: Conditions instead of those of plain networks.
    """
    options = build_network_filters(network, epochs)
    if classifier == "ACL":
        options["through"] = "both"
    if kind is AccuracyKind.WORST_CASE:
        options["attack"] = data.scale.worst_case["name"]
    conditions = {**_KIND_FILTERS[kind], **options, **TABLE_FILTERS, **filters}
    return data.find(classifier=classifier, **conditions)


def estimate_accuracy(
    data: ReportData,
    network: NetworkPreset,
    classifier: str,
    epochs: int,
    kind: AccuracyKind,
    **filters: Any,
) -> IntervalEstimate | None:
    """Returns the mean over seeds; None where nothing was run."""
    return average_over_seeds(
        find_accuracy_rows(data, network, classifier, epochs, kind, **filters)
    )


def find_trajectory_rows(data: ReportData, network: NetworkPreset, epochs: int) -> list[Row]:
    """Returns TA and RA of the walked training images X_n, once a seed.

    Args:
      data: Everything.
      network: The network.
      epochs: Its epochs.

    Returns:
      Rows with "step", n; those beside which images lie before others.
    """
    rows_by_key: dict[tuple, Row] = {}
    for figure in (None, "supp_fig2"):
        for row in data.find(
            images="X_n",
            control=None,
            split="train",
            figure=figure,
            **build_network_filters(network, epochs),
        ):
            key = (row.measure, row.seed, row.parameters["step"])
            rows_by_key.setdefault(key, row)
    return list(rows_by_key.values())


def average_by_step(rows: Iterable[Row]) -> dict[str, dict[int, IntervalEstimate]]:
    """Returns the means over seeds of what `find_trajectory_rows` gave.

    Args:
      rows: The rows.

    Returns:
      "test_accuracy" and "robust_accuracy" to n to the mean.
    """
    rows_by_measure: dict[str, dict[int, list[Row]]] = {"test_accuracy": {}, "robust_accuracy": {}}
    for row in rows:
        if row.measure in rows_by_measure:
            rows_by_measure[row.measure].setdefault(row.parameters["step"], []).append(row)
    return {
        measure: {
            step: average_over_seeds(step_rows) for step, step_rows in sorted(rows_by_step.items())
        }
        for measure, rows_by_step in rows_by_measure.items()
    }
