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

_FIELD_TITLES = {"delta": r"$\Delta_1$", "gradient": "the gradient"}


class _RatioPoint(NamedTuple):
    """One network after some epochs: TA and ratio, each (mean, error)."""

    epochs: int
    accuracy: tuple[float, float]
    ratio: tuple[float, float]
    seeds: int


def plot_ratios(rows: Sequence[Row], *, window: str = "literal", field: str = "delta") -> Figure:
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
    points = _collect_ratio_points(rows, window, field)
    if not points:
        raise InputError(
            f"No high-frequency ratio of {field} in the {window} window has "
            "a test accuracy beside it. Give rows of both of one network."
        )
    datasets = list(dict.fromkeys(name for name, _ in points))
    title = f"Share of high image frequencies in {_FIELD_TITLES[field]}"
    seeds = {p.seeds for group in points.values() for p in group}
    error_note = (
        "one seed, bars of one standard error over images"
        if seeds == {1}
        else "means over seeds, bars of one standard error; of a single seed over images"
    )
    figure = style.create_figure(
        (max(3.6 * len(datasets), 7), 4.2),
        title,
        f"{window} window: {error_note}",
        "Numbers are epochs. The dashed line is white noise: a spectrum that "
        "is flat. Image frequency is not the response frequency of the "
        "F-principle.",
    )
    style_indices = style.assign_style_indices([model for _, model in points])
    for axis, dataset in zip(
        figure.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True
    ):
        dataset_points = {m: p for (name, m), p in points.items() if name == dataset}
        for model, group in dataset_points.items():
            _plot_network_ratios(axis, model, group, style_indices[model])
        _plot_white_noise(axis, rows, dataset, window)
        axis.set_xlabel("test accuracy in percent")
        axis.set_title(dataset, fontsize=10)
        axis.legend(
            fontsize=8.5, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.17)
        )
        style.tidy_axis(axis)
    figure.axes[0].set_ylabel("high-frequency ratio")
    return figure


def _collect_ratio_points(
    rows: Sequence[Row], window: str, field: str
) -> dict[tuple[str, str], list[_RatioPoint]]:
    """Returns the points of each (dataset, model)."""
    accuracies: dict[tuple, Row] = {}
    for row in rows:
        control = row.parameters.get("control", "")
        if row.measure != "test_accuracy" or control:
            continue
        if row.parameters.get("images") or row.classifier != "CL":
            continue
        existing_row = accuracies.setdefault(_get_ratio_key(row), row)
        if row.n > existing_row.n:
            accuracies[_get_ratio_key(row)] = row
    pairs: dict[tuple, list[tuple[Row, Row]]] = {}
    for row in rows:
        if _is_selected_ratio(row, window, field) and _get_ratio_key(row) in accuracies:
            group = (row.dataset, row.model, row.epochs)
            pairs.setdefault(group, []).append((accuracies[_get_ratio_key(row)], row))
    points: dict[tuple[str, str], list[_RatioPoint]] = {}
    for (dataset, model, epochs), group in sorted(pairs.items()):
        accuracy, ratio = (_average_seeds(paired_rows) for paired_rows in zip(*group, strict=True))
        point = _RatioPoint(epochs, accuracy, ratio, len(group))
        points.setdefault((dataset, model), []).append(point)
    return points


def _get_ratio_key(row: Row) -> tuple:
    return row.dataset, row.model, row.classifier, row.epochs, row.seed


def _is_selected_ratio(row: Row, window: str, field: str) -> bool:
    parameters = row.parameters
    return (
        row.measure == "high_frequency_ratio"
        and (parameters.get("window"), parameters.get("field")) == (window, field)
        and not parameters.get("control", "")
    )


def _average_seeds(rows: Sequence[Row]) -> tuple[float, float]:
    """Returns the mean over seeds and its error; of one, over images."""
    values = np.array([row.value for row in rows])
    if len(values) == 1:
        return float(values[0]), rows[0].stderr or 0.0
    error = values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean()), float(error)


def _plot_network_ratios(
    axis: Axes, model: str, points: Sequence[_RatioPoint], style_index: int
) -> None:
    x, x_error = zip(*(p.accuracy for p in points), strict=True)
    y, y_error = zip(*(p.ratio for p in points), strict=True)
    axis.errorbar(
        x,
        y,
        y_error,
        x_error,
        label=model,
        color=style.COLOURS[style_index],
        marker=style.MARKERS[style_index],
        ms=5,
        lw=1,
        capsize=2,
    )
    for point in points:
        axis.annotate(
            str(point.epochs),
            (point.accuracy[0], point.ratio[0]),
            xytext=(4, 5),
            textcoords="offset points",
            fontsize=8,
            color=style.COLOURS[style_index],
        )


def _plot_white_noise(axis: Axes, rows: Sequence[Row], dataset: str, window: str) -> None:
    for row in rows:
        if row.dataset == dataset and _is_selected_ratio(row, window, "white_noise"):
            axis.axhline(
                row.value,
                color=style.FREQUENCY_GREY,
                ls="--",
                lw=1,
                label=f"white noise, {row.value:.4f}",
            )
            return
