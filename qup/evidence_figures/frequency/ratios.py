"""The ratio of high frequencies against test accuracy, supp. Fig. 5.

```python
over_accuracy(rows, window="symmetric").savefig("supp_fig5.png")
```
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qup.errors import InputError
from qup.evidence_figures.frequency import style
from qup.measurements import Row

_FIELDS = {
    "delta": r"$\Delta_1$",
    "gradient": "the gradient",
}


class _Point(NamedTuple):
    """One network after some epochs: TA and ratio, each (mean, error)."""

    epochs: int
    accuracy: tuple[float, float]
    ratio: tuple[float, float]
    seeds: int


def over_accuracy(
    rows: Sequence[Row], *, window: str = "literal", field: str = "delta"
) -> Figure:
    """Draws the ratio against test accuracy, supplement Fig. 5.

    A panel for each dataset, a colour for each network, the epochs at its
    points, and the line of white noise.

    Args:
      rows: Those of SpectrumAnalyzer ("high_frequency_ratio") and those of
        accuracies ("test_accuracy"); they meet where dataset, model,
        classifier, epochs and seed are equal. Several seeds become a mean
        with its standard error; one has that over images.
      window: "literal" (the paper's slices) or "symmetric".
      field: "delta" (the paper's Delta_1, unclipped) or "gradient".

    Raises:
      InputError: No row of a ratio has an accuracy beside it.
    """
    points = _points(rows, window, field)
    if not points:
        raise InputError(
            f"No high-frequency ratio of {field} in the {window} window has "
            "a test accuracy beside it. Give rows of both of one network."
        )
    datasets = list(dict.fromkeys(name for name, _ in points))
    title = f"Share of high image frequencies in {_FIELDS[field]}"
    seeds = {p.seeds for group in points.values() for p in group}
    words = (
        "one seed, bars of one standard error over images"
        if seeds == {1}
        else "means over seeds, bars of one standard error; of a single seed "
        "over images"
    )
    figure = style.page(
        (max(3.6 * len(datasets), 7), 4.2), title, f"{window} window: {words}",
        "Numbers are epochs. The dashed line is white noise: a spectrum that "
        "is flat. Image frequency is not the response frequency of the "
        "F-principle.",
    )  # fmt: skip
    places = style.networks([model for _, model in points])
    for axis, dataset in zip(
        figure.subplots(1, len(datasets), squeeze=False)[0], datasets,
        strict=True,
    ):  # fmt: skip
        own = {m: p for (name, m), p in points.items() if name == dataset}
        for model, group in own.items():
            _network(axis, model, group, places[model])
        _white(axis, rows, dataset, window)
        axis.set_xlabel("test accuracy in percent")
        axis.set_title(dataset, fontsize=10)
        axis.legend(
            fontsize=8.5, frameon=False, ncols=2, loc="upper center",
            bbox_to_anchor=(0.5, -0.17),
        )  # fmt: skip
        style.tidy(axis)
    figure.axes[0].set_ylabel("high-frequency ratio")
    return figure


def _points(
    rows: Sequence[Row], window: str, field: str
) -> dict[tuple[str, str], list[_Point]]:
    """Returns the points of each (dataset, model)."""
    accuracies: dict[tuple, Row] = {}
    for row in rows:
        control = row.parameters.get("control", "")
        if row.measure != "test_accuracy" or control:
            continue
        if row.parameters.get("images") or row.classifier != "CL":
            continue
        known = accuracies.setdefault(_key(row), row)
        if row.n > known.n:
            accuracies[_key(row)] = row
    pairs: dict[tuple, list[tuple[Row, Row]]] = {}
    for row in rows:
        if _chosen(row, window, field) and _key(row) in accuracies:
            group = (row.dataset, row.model, row.epochs)
            pairs.setdefault(group, []).append((accuracies[_key(row)], row))
    found: dict[tuple[str, str], list[_Point]] = {}
    for (dataset, model, epochs), group in sorted(pairs.items()):
        ta, ratio = (_mean(side) for side in zip(*group, strict=True))
        point = _Point(epochs, ta, ratio, len(group))
        found.setdefault((dataset, model), []).append(point)
    return found


def _key(row: Row) -> tuple:
    return row.dataset, row.model, row.classifier, row.epochs, row.seed


def _chosen(row: Row, window: str, field: str) -> bool:
    told = row.parameters
    return (
        row.measure == "high_frequency_ratio"
        and (told.get("window"), told.get("field")) == (window, field)
        and not told.get("control", "")
    )


def _mean(rows: Sequence[Row]) -> tuple[float, float]:
    """Returns the mean over seeds and its error; of one, over images."""
    values = np.array([row.value for row in rows])
    if len(values) == 1:
        return float(values[0]), rows[0].stderr or 0.0
    error = values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean()), float(error)


def _network(
    axis: Axes, model: str, points: Sequence[_Point], place: int
) -> None:
    x, x_error = zip(*(p.accuracy for p in points), strict=True)
    y, y_error = zip(*(p.ratio for p in points), strict=True)
    axis.errorbar(
        x, y, y_error, x_error, label=model, color=style.COLOURS[place],
        marker=style.MARKERS[place], ms=5, lw=1, capsize=2,
    )  # fmt: skip
    for point in points:
        axis.annotate(
            str(point.epochs), (point.accuracy[0], point.ratio[0]),
            xytext=(4, 5), textcoords="offset points", fontsize=8,
            color=style.COLOURS[place],
        )  # fmt: skip


def _white(axis: Axes, rows: Sequence[Row], dataset: str, window: str) -> None:
    for row in rows:
        if row.dataset == dataset and _chosen(row, window, "white_noise"):
            axis.axhline(
                row.value, color=style.GREY, ls="--", lw=1,
                label=f"white noise, {row.value:.4f}",
            )  # fmt: skip
            return
