"""A colour for each label, a marker for each estimator."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from qup import uncertainty_networks as networks
from qup.uncertainty_figures.look import COLOURS, GREY, shade
from qup.uncertainty_measured import Average, Measured

_MARKERS = {"importance": "o", "mcmc": "s"}


class Series:
    """Those of one figure."""

    def __init__(self, found: Iterable[Measured]):
        """Takes the records that the figure shows."""
        keys = {key(of) for of in found}
        self._labels = sorted({label for label, _ in keys}, key=_order)
        self._kinds = sorted({kind for _, kind in keys})
        self.keys = [
            (label, kind)
            for label in self._labels
            for kind in self._kinds
            if (label, kind) in keys
        ]

    def place(self, of: Measured) -> float:
        """Returns a number in [-1/2, 1/2] to put points side by side."""
        middle = (len(self.keys) - 1) / 2
        return (self.keys.index(key(of)) - middle) / len(self.keys)

    def look(self, of: Measured) -> dict:
        """Returns colour and marker; all but importance's are hollow."""
        label, kind = key(of)
        colour = self._colour(label)
        return {
            "color": colour, "marker": _MARKERS.get(kind, "^"),
            "markerfacecolor": colour if kind == "importance" else "white",
        }  # fmt: skip

    def _colour(self, label):
        place = self._labels.index(label)
        if len(self._labels) <= len(COLOURS):
            return COLOURS[place]
        return shade(place / (len(self._labels) - 1))

    def handles(self) -> list[Line2D]:
        """Returns what a legend shows; nothing for a single series."""
        shown = []
        if len(self._labels) > 1:
            shown += [
                Line2D([], [], color=self._colour(label), linewidth=3,
                       label=f"label {label}") for label in self._labels
            ]  # fmt: skip
        if len(self._kinds) > 1:
            shown += [
                Line2D([], [], linestyle="", marker=_MARKERS.get(kind, "^"),
                       color=GREY, label=networks.estimator(kind),
                       markerfacecolor=GREY if kind == "importance"
                       else "white") for kind in self._kinds
            ]  # fmt: skip
        return shown


def key(of: Measured) -> tuple:
    """Returns label and estimator."""
    return of["label"], of["estimator"]


def _order(label) -> tuple:
    return (str(type(label)), label)


def point(axis: Axes, x: float, of: Average, **how) -> None:
    """Draws a value with its error; a grey cross where it is unknown."""
    how = {"markersize": 5, "capsize": 2, "elinewidth": 1.1, **how}
    if np.isfinite(of.value):
        axis.errorbar(x, of.value, of.stderr, **how)
    else:
        axis.plot(
            x, 0.05, "x", color=GREY, markersize=7, markeredgewidth=2,
            transform=axis.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip


def dot(axis: Axes, y: float, of: Average, **how) -> None:
    """Draws the same from left to right."""
    how = {"markersize": 5, "capsize": 2, "elinewidth": 1.1, **how}
    if np.isfinite(of.value):
        axis.errorbar(of.value, y, xerr=of.stderr, **how)
    else:
        axis.plot(
            0.03, y, "x", color=GREY, markersize=7, markeredgewidth=2,
            transform=axis.get_yaxis_transform(), clip_on=False,
        )  # fmt: skip
