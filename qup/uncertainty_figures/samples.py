"""What lies behind the numbers: scatter over pixels, walks of the chains."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from qup import uncertainty_networks as networks
from qup.uncertainty_figures import look
from qup.uncertainty_measured import Measured

_MOST_PANELS = 8
_R_HAT = 1.01


def histogram(found: Sequence[Measured]) -> Figure | None:
    """Draws (product - bound) / standard error of one network's pixels.

    Returns:
      The figure, a panel for each estimator; None with fewer than 5 axes.
    """
    own = [of for of in networks.main(found) if distances(of).size >= 5]
    if not own:
        return None
    kinds = sorted({of["estimator"] for of in own})
    pure = [of for of in found if of["control"] == "constant"]
    note = ""
    if not own[0]["vanishes"]:
        note = (
            "On any sample the product is at least its bound: that none lies "
            "far below 0 is no finding."
        )
    elif pure:
        note = (
            "Close to ½ noise alone leans to the right: of a constant network "
            "the product is ½, and all of its scatter noise."
        )
    figure, body = look.page(
        (4.4 * len(kinds) + 0.3, 3.1),
        "Is the distance from the bound noise?",
        look.subject(own, epochs=True), note=note,
    )  # fmt: skip
    panels = body.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for axis, kind in zip(panels, kinds, strict=True):
        chosen = [of for of in own if of["estimator"] == kind]
        controls = [of for of in pure if of["estimator"] == kind]
        _scatter(axis, chosen, controls)
        axis.set_title(networks.estimator(kind), fontsize=10.5, loc="left")
    panels[0].set_ylabel(f"density over {own[0].unit}", fontsize=10)
    return figure


def distances(of: Measured) -> np.ndarray:
    """Returns (product - bound) / standard error, of known pixels."""
    product, error = of.shown("uncertainty_product")
    bound, of_bound = of.shown("uncertainty_bound")
    with np.errstate(invalid="ignore", divide="ignore"):
        far = (product - bound) / np.hypot(error, of_bound)
    return far[np.isfinite(far)]


def _scatter(
    axis: Axes, own: Sequence[Measured], constant: Sequence[Measured]
) -> None:
    far = np.concatenate([distances(of) for of in own])
    low, high = min(-4.0, far.min() - 0.5), max(4.0, far.max() + 0.5)
    bins = np.linspace(low, high, 33)
    axis.hist(
        far, bins, density=True, color=look.COLOURS[0], alpha=0.55,
        label=networks.network(own[0]),
    )  # fmt: skip
    noise = [distances(of) for of in constant]
    if noise and np.concatenate(noise).size:
        axis.hist(
            np.clip(np.concatenate(noise), low, high), bins, density=True,
            histtype="step", color=look.COLOURS[1], linewidth=1.4,
            label="constant network",
        )  # fmt: skip
    curve = np.linspace(low, high, 400)
    axis.plot(
        curve, stats.norm.pdf(curve), color="black", linewidth=1.2,
        label="normal, if all is noise",
    )  # fmt: skip
    axis.text(
        0.98, 0.6, f"mean {far.mean():+.2f}\ndeviation {far.std():.2f}\n"
        f"beyond 3: {100 * np.mean(np.abs(far) > 3):.1f} %\n(noise: 0.3 %)",
        transform=axis.transAxes, ha="right", va="top", fontsize=9,
        color=look.GREY, linespacing=1.4,
    )  # fmt: skip
    axis.set_xlabel("(product $-$ bound) / standard error", fontsize=10)
    axis.legend(frameon=False, fontsize=8.5, loc="upper right")
    look.style(axis)


def traces(found: Sequence[Measured]) -> Figure | None:
    """Draws ln rho along every chain of one network's walks.

    Returns:
      The figure, a panel for each label; None without a walk.
    """
    walks = [of for of in found if "trace_log_density" in of.arrays]
    if not walks:
        return None
    own = networks.main(walks)[:_MOST_PANELS]
    columns = min(2, len(own))
    lines = -(-len(own) // columns)
    figure, body = look.page(
        (4.6 * columns, 2.3 * lines),
        "Do the chains walk through the same place?",
        look.subject(own, epochs=True),
        note="A colour for each chain, black for their mean. Good chains "
        "cross one another all the time and have no trend.",
    )  # fmt: skip
    panels = body.subplots(lines, columns, squeeze=False, sharex=True)
    for axis in panels.flat[len(own) :]:
        axis.set_visible(False)
    for axis, of in zip(panels.flat, own, strict=False):
        _walk(axis, of)
    for axis in panels[-1]:
        axis.set_xlabel("step after the burn-in", fontsize=10)
    for axis in panels[:, 0]:
        axis.set_ylabel(r"$\ln\,\rho$ + constant", fontsize=10)
    return figure


def _walk(axis: Axes, of: Measured) -> None:
    trace = np.asarray(of.arrays["trace_log_density"], float)
    length, chains = trace.shape
    steps = np.arange(1, length + 1) * of["n"] / (chains * length)
    for place in range(chains):
        axis.plot(
            steps, trace[:, place], linewidth=0.8, alpha=0.6,
            color=look.shade(place / max(chains - 1, 1)),
        )  # fmt: skip
    axis.plot(steps, trace.mean(1), color="black", linewidth=1.5)
    told = of["diagnostics"]
    r_hat = told.get("r_hat", np.nan)
    words = f"label {of['label']}: " if of["label"] is not None else ""
    words += (
        f"R-hat {r_hat:.3f}, acceptance {told.get('acceptance', np.nan):.2f}"
    )
    bad = not r_hat < _R_HAT
    axis.set_title(
        words + (": CHAINS DISAGREE" if bad else ""), fontsize=9.5,
        loc="left", color=look.FLAGGED if bad else "black",
    )  # fmt: skip
    look.style(axis)
