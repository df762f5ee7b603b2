"""Checks that can fail: two ways to one number, side by side."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from qup import uncertainty_networks as networks
from qup.uncertainty_figures import diagonal, look
from qup.uncertainty_figures import series as series_of
from qup.uncertainty_figures.diagonal import allowed, ring
from qup.uncertainty_figures.series import Series
from qup.uncertainty_measured import Measured

# What is further off than so many times the allowed is drawn there.
_MOST = 2.0
_WORDS = {
    "covariance": "Cov(x, s) = $-$½",
    "momentum": "mean momentum = 0",
    "forms": r"two forms of $\sigma_p$",
    "faces": "B two ways",
    "chains": "R-hat of chains",
    "estimators": "two estimators",
}


def draw(found: Sequence[Measured]) -> Figure | None:
    """Draws what can be compared of one packet in one kind of domain.

    Args:
      found: All widths of a window together.

    Returns:
      The figure; None where nothing can be.
    """
    panels = [
        (panel, chosen)
        for panel, chosen in (
            (diagonal.faces, [of for of in found if of["faces"]]),
            (_covariance, _worst(found)),
            (diagonal.estimators, diagonal.pairs(found)),
            (_widths, _several(found)),
            (_verdicts, [of for of in found if of["checks"]]),
        )
        if chosen
    ]
    if not panels:
        return None
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    series = Series(found)
    figure, body = look.page(
        (4.7 * columns, 3.6 * lines), "Two ways to one number",
        look.subject(found), handles=series.handles(),
        note="Bars are one standard error. Orange rings and diamonds: further "
        "apart than chance allows.",
    )  # fmt: skip
    axes = body.subplots(lines, columns, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (panel, chosen) in zip(axes.flat, panels, strict=False):
        panel(axis, chosen, series)
        look.style(axis, "both")
    return figure


def _worst(found: Sequence[Measured]) -> list[Measured]:
    """Returns the relation whose covariance is furthest from -1/2."""
    own = [of for of in networks.main(found) if of["vanishes"]]
    own = [of for of in own if np.isfinite(of.shown("covariance")[0]).any()]

    def far(of: Measured) -> float:
        value, error = of.shown("covariance")
        return float(np.nanmax(np.abs(value + 0.5) / np.maximum(error, 1e-6)))

    return [max(own, key=far)] if own else []


def _covariance(axis: Axes, found: Sequence[Measured], series: Series) -> None:
    (of,) = found
    value, error = of.shown("covariance")
    places = of.pixels if of.pixels.size else np.arange(len(value))
    how = {**series.look(of), "linestyle": "", "markersize": 2.5}
    pale = to_rgba(how["color"], 0.3)
    axis.errorbar(places, value, error, elinewidth=0.7, ecolor=pale, **how)
    axis.axhline(-0.5, color="black", linewidth=1.0, zorder=4)
    far = np.abs(value + 0.5) > allowed(of, "covariance") * error
    ring(axis, places[far], value[far])
    words = [networks.labels([of]), networks.estimator(of["estimator"])]
    words = ", ".join(part for part in words if part)
    axis.set_title(f"Furthest from $-$½: {words}", fontsize=9.5, loc="left")
    axis.set_xlabel(of.unit.removesuffix("s"), fontsize=9.5)
    axis.set_ylabel("Cov(x, s)", fontsize=9.5)


def _several(found: Sequence[Measured]) -> list[Measured]:
    """Returns one network in its windows, where there are several widths."""
    own = [of for of in networks.main(found) if np.isfinite(of.width)]
    return own if len({of.width for of in own}) > 1 else []


def _widths(axis: Axes, found: Sequence[Measured], series: Series) -> None:
    places = sorted({of.width for of in found})
    for of in found:
        x = look.beside(of.width, places, series.place(of))
        product = of.average("uncertainty_product")
        series_of.point(axis, x, product, **series.look(of))
    look.reference(axis, found, "uncertainty_product")
    look.ticks(axis, places)
    words = networks.network(found[0])
    axis.set_title(f"Window by window: {words}", fontsize=9.5, loc="left")
    axis.set_xlabel("width s of the window", fontsize=9.5)
    axis.set_ylabel(f"mean product over {found[0].unit}", fontsize=9.5)


def _verdicts(axis: Axes, found: Sequence[Measured], series: Series) -> None:
    """Draws every check's furthest difference over what it may be."""
    told = [check for of in found for check in of["checks"]]
    names = list(dict.fromkeys(check["name"] for check in told))
    for place, name in enumerate(names):
        own = [check for check in told if check["name"] == name]
        bad = np.array([not check["agrees"] for check in own])
        ratios = np.array([_ratio(check) for check in own])
        ratios = np.clip(np.nan_to_num(ratios, nan=_MOST), 0, _MOST)
        spread = place + np.linspace(-0.25, 0.25, len(own)) * (len(own) > 1)
        axis.plot(ratios[~bad], spread[~bad], "o", color=look.GREY, ms=3.5,
                  alpha=0.7)  # fmt: skip
        axis.plot(ratios[bad], spread[bad], "D", color=look.FLAGGED, ms=6)
    axis.axvline(1.0, color="black", linewidth=1.0)
    axis.set_yticks(range(len(names)), [_WORDS.get(n, n) for n in names])
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlim(0, 1.05 * _MOST)
    axis.set_xticks([0, 0.5, 1, 1.5, _MOST], ["0", "½", "1", "1½", "2 or more"])
    failed = sum(not check["agrees"] for check in told)
    words = f"All {len(told)} checks agree"
    if failed:
        words = f"{failed} of {len(told)} checks DISAGREE"
    axis.set_title(
        words, fontsize=9.5, loc="left",
        color=look.FLAGGED if failed else "black",
    )  # fmt: skip
    axis.set_xlabel("furthest difference / allowed difference", fontsize=9.5)


def _ratio(check: dict) -> float:
    """Returns a difference over the allowed one; of R-hat that from 1."""
    start = 1.0 if check["name"] == "chains" else 0.0
    return (check["furthest"] - start) / (check["allowed"] - start)
