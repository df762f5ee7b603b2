"""Panels of one number against itself, measured in another way."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from qup import uncertainty_measured as measuring
from qup import uncertainty_networks as networks
from qup.uncertainty_figures import look
from qup.uncertainty_figures.series import Series
from qup.uncertainty_measured import Measured

_PRODUCT = "uncertainty_product"


def faces(axis: Axes, found: Sequence[Measured], series: Series) -> None:
    """Draws B by the faces of the box against B by covariance."""
    for of in found:
        told = of["faces"]
        own = [of.at("boundary_term", name) for name in told["axes"]]
        other = np.array([told["value"], told["stderr"]], float)
        _against(axis, _columns(own), other, series.look(of),
                 allowed(of, "faces"))  # fmt: skip
    axis.set_xlabel("B by covariance, 1 + 2 Cov(x, s)", fontsize=9.5)
    axis.set_ylabel("B by the faces", fontsize=9.5)
    _square(axis)


def pairs(found: Sequence[Measured]) -> list[tuple[Measured, Measured]]:
    """Returns (importance, mcmc) of everything that was measured by both."""
    names = ("label", "domain_text", "epochs", "control", "temperature",
             "centre", "model")  # fmt: skip

    def key(of: Measured) -> tuple:
        return tuple(of[name] for name in names)

    held = {key(of): of for of in found if of["estimator"] == "importance"}
    return [
        (held[key(of)], of)
        for of in found
        if of["estimator"] == "mcmc" and key(of) in held
    ]


def estimators(
    axis: Axes, found: Sequence[tuple[Measured, Measured]], series: Series
) -> None:
    """Draws the product by MCMC against that by importance sampling."""
    for one, other in found:
        names = [name for name in one.names if name in other.names]
        both = [
            _columns([of.at(_PRODUCT, name) for name in names])
            for of in (one, other)
        ]
        _against(axis, *both, series.look(one), allowed(other, "estimators"))
    words = (networks.estimator(of["estimator"]) for of in found[0])
    axis.set_xlabel(f"product by {next(words)}", fontsize=9.5)
    axis.set_ylabel(f"product by {next(words)}", fontsize=9.5)
    _square(axis)


def allowed(of: Measured, name: str) -> float:
    """Returns how many standard errors a check of a record allows."""
    found = [c["allowed"] for c in of["checks"] if c["name"] == name]
    return found[0] if found else measuring.BEYOND


def ring(axis: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draws a ring around points."""
    axis.plot(
        x, y, "o", markersize=11, markerfacecolor="none", zorder=5,
        markeredgecolor=look.FLAGGED, markeredgewidth=1.6,
    )  # fmt: skip


def _columns(points: Sequence[measuring.Average]) -> np.ndarray:
    """Returns values and errors: [2, n]."""
    return np.array([[p.value for p in points], [p.stderr for p in points]])


def _against(
    axis: Axes, one: np.ndarray, other: np.ndarray, how: dict, most: float
) -> None:
    """Draws [values, errors], and rings around those too far from y = x."""
    x, y = one[0], other[0]
    axis.errorbar(
        x, y, other[1], one[1], linestyle="", markersize=4, elinewidth=0.8,
        alpha=0.75, **how,
    )  # fmt: skip
    error = np.maximum(np.hypot(one[1], other[1]), 1e-6)
    far = np.abs(x - y) > most * error
    ring(axis, x[far], y[far])


def _square(axis: Axes) -> None:
    """Makes both axes alike and draws the diagonal."""
    ends = np.array([axis.get_xlim(), axis.get_ylim()])
    low, high = ends.min(), ends.max()
    axis.plot([low, high], [low, high], color=look.GREY, lw=0.9, zorder=0)
    axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(4))
