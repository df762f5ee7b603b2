"""A colour for each label, a marker for each estimator."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from qup import uncertainty_networks as networks
from qup.uncertainty_figures.look import COLOURS, GREY, interpolate_colour
from qup.uncertainty_measured import MeanEstimate, RelationRecord

_MARKERS = {"importance": "o", "mcmc": "s"}


class Series:
    """Those of one figure."""

    def __init__(self, records: Iterable[RelationRecord]):
        """Takes the records that the figure shows."""
        keys = {series_key(record) for record in records}
        self._labels = sorted({label for label, _ in keys}, key=_label_order)
        self._estimators = sorted({estimator for _, estimator in keys})
        self.keys = [
            (label, estimator)
            for label in self._labels
            for estimator in self._estimators
            if (label, estimator) in keys
        ]

    def compute_offset(self, record: RelationRecord) -> float:
        """Returns a number in [-1/2, 1/2] to put points side by side."""
        middle = (len(self.keys) - 1) / 2
        return (self.keys.index(series_key(record)) - middle) / len(self.keys)

    def marker_style(self, record: RelationRecord) -> dict:
        """Returns colour and marker; all but importance's are hollow."""
        label, estimator = series_key(record)
        colour = self._choose_colour(label)
        return {
            "color": colour,
            "marker": _MARKERS.get(estimator, "^"),
            "markerfacecolor": colour if estimator == "importance" else "white",
        }

    def _choose_colour(self, label):
        index = self._labels.index(label)
        if len(self._labels) <= len(COLOURS):
            return COLOURS[index]
        return interpolate_colour(index / (len(self._labels) - 1))

    def build_handles(self) -> list[Line2D]:
        """Returns what a legend shows; nothing for a single series."""
        handles = []
        if len(self._labels) > 1:
            handles += [
                Line2D(
                    [], [], color=self._choose_colour(label), linewidth=3, label=f"label {label}"
                )
                for label in self._labels
            ]
        if len(self._estimators) > 1:
            handles += [
                Line2D(
                    [],
                    [],
                    linestyle="",
                    marker=_MARKERS.get(estimator, "^"),
                    color=GREY,
                    label=networks.format_estimator(estimator),
                    markerfacecolor=GREY if estimator == "importance" else "white",
                )
                for estimator in self._estimators
            ]
        return handles


def series_key(record: RelationRecord) -> tuple:
    """Returns label and estimator."""
    return record["label"], record["estimator"]


def _label_order(label) -> tuple:
    return (str(type(label)), label)


def draw_point(axis: Axes, x: float, mean: MeanEstimate, **style) -> None:
    """Draws a value with its error; a grey cross where it is unknown."""
    style = {"markersize": 5, "capsize": 2, "elinewidth": 1.1, **style}
    if np.isfinite(mean.value):
        axis.errorbar(x, mean.value, mean.stderr, **style)
    else:
        axis.plot(
            x,
            0.05,
            "x",
            color=GREY,
            markersize=7,
            markeredgewidth=2,
            transform=axis.get_xaxis_transform(),
            clip_on=False,
        )


def draw_dot(axis: Axes, y: float, mean: MeanEstimate, **style) -> None:
    """Draws the same from left to right."""
    style = {"markersize": 5, "capsize": 2, "elinewidth": 1.1, **style}
    if np.isfinite(mean.value):
        axis.errorbar(mean.value, y, xerr=mean.stderr, **style)
    else:
        axis.plot(
            0.03,
            y,
            "x",
            color=GREY,
            markersize=7,
            markeredgewidth=2,
            transform=axis.get_yaxis_transform(),
            clip_on=False,
        )
