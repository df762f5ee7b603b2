"""What lies behind the numbers: scatter over pixels, walks of the chains."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from qup import uncertainty_networks as networks
from qup.uncertainty_figures import look
from qup.uncertainty_measured import RelationRecord

_MAX_PANELS = 8
_R_HAT = 1.01


def plot_histogram(records: Sequence[RelationRecord]) -> Figure | None:
    """Draws (product - bound) / standard error of one network's pixels.

    Returns:
      The figure, a panel for each estimator; None with fewer than 5 axes.
    """
    final_records = [
        record
        for record in networks.select_final_records(records)
        if compute_z_scores(record).size >= 5
    ]
    if not final_records:
        return None
    estimators = sorted({record["estimator"] for record in final_records})
    constant_records = [record for record in records if record["control"] == "constant"]
    note = ""
    if not final_records[0]["vanishes"]:
        note = (
            "On any sample the product is at least its bound: that none lies "
            "far below 0 is no finding."
        )
    elif constant_records:
        note = (
            "Close to ½ noise alone leans to the right: of a constant network "
            "the product is ½, and all of its scatter noise."
        )
    figure, body = look.build_page(
        (4.4 * len(estimators) + 0.3, 3.1),
        "Is the distance from the bound noise?",
        look.format_subject(final_records, epochs=True),
        note=note,
    )
    panels = body.subplots(1, len(estimators), squeeze=False, sharey=True)[0]
    for axis, estimator in zip(panels, estimators, strict=True):
        network_records = [record for record in final_records if record["estimator"] == estimator]
        controls = [record for record in constant_records if record["estimator"] == estimator]
        _draw_histogram(axis, network_records, controls)
        axis.set_title(networks.format_estimator(estimator), fontsize=10.5, loc="left")
    panels[0].set_ylabel(f"density over {final_records[0].unit}", fontsize=10)
    return figure


def compute_z_scores(record: RelationRecord) -> np.ndarray:
    """Returns (product - bound) / standard error, of known pixels."""
    product, error = record.pixel_values("uncertainty_product")
    bound, bound_error = record.pixel_values("uncertainty_bound")
    with np.errstate(invalid="ignore", divide="ignore"):
        z_scores = (product - bound) / np.hypot(error, bound_error)
    return z_scores[np.isfinite(z_scores)]


def _draw_histogram(
    axis: Axes, records: Sequence[RelationRecord], constant_records: Sequence[RelationRecord]
) -> None:
    z_scores = np.concatenate([compute_z_scores(record) for record in records])
    low, high = min(-4.0, z_scores.min() - 0.5), max(4.0, z_scores.max() + 0.5)
    bins = np.linspace(low, high, 33)
    axis.hist(
        z_scores,
        bins,
        density=True,
        color=look.COLOURS[0],
        alpha=0.55,
        label=networks.format_network(records[0]),
    )
    noise_scores = [compute_z_scores(record) for record in constant_records]
    if noise_scores and np.concatenate(noise_scores).size:
        axis.hist(
            np.clip(np.concatenate(noise_scores), low, high),
            bins,
            density=True,
            histtype="step",
            color=look.COLOURS[1],
            linewidth=1.4,
            label="constant network",
        )
    curve = np.linspace(low, high, 400)
    axis.plot(
        curve, stats.norm.pdf(curve), color="black", linewidth=1.2, label="normal, if all is noise"
    )
    axis.text(
        0.98,
        0.6,
        f"mean {z_scores.mean():+.2f}\ndeviation {z_scores.std():.2f}\n"
        f"beyond 3: {100 * np.mean(np.abs(z_scores) > 3):.1f} %\n(noise: 0.3 %)",
        transform=axis.transAxes,
        ha="right",
        va="top",
        fontsize=9,
        color=look.GREY,
        linespacing=1.4,
    )
    axis.set_xlabel("(product $-$ bound) / standard error", fontsize=10)
    axis.legend(frameon=False, fontsize=8.5, loc="upper right")
    look.style_axes(axis)


def plot_traces(records: Sequence[RelationRecord]) -> Figure | None:
    """Draws ln rho along every chain of one network's walks.

    Returns:
      The figure, a panel for each label; None without a walk.
    """
    chain_records = [record for record in records if "trace_log_density" in record.arrays]
    if not chain_records:
        return None
    final_records = networks.select_final_records(chain_records)[:_MAX_PANELS]
    columns = min(2, len(final_records))
    num_rows = -(-len(final_records) // columns)
    figure, body = look.build_page(
        (4.6 * columns, 2.3 * num_rows),
        "Do the chains walk through the same place?",
        look.format_subject(final_records, epochs=True),
        note="A colour for each chain, black for their mean. Good chains "
        "cross one another all the time and have no trend.",
    )
    panels = body.subplots(num_rows, columns, squeeze=False, sharex=True)
    for axis in panels.flat[len(final_records) :]:
        axis.set_visible(False)
    for axis, record in zip(panels.flat, final_records, strict=False):
        _draw_trace(axis, record)
    for axis in panels[-1]:
        axis.set_xlabel("step after the burn-in", fontsize=10)
    for axis in panels[:, 0]:
        axis.set_ylabel(r"$\ln\,\rho$ + constant", fontsize=10)
    return figure


def _draw_trace(axis: Axes, record: RelationRecord) -> None:
    trace = np.asarray(record.arrays["trace_log_density"], float)
    length, chains = trace.shape
    steps = np.arange(1, length + 1) * record["n"] / (chains * length)
    for chain in range(chains):
        axis.plot(
            steps,
            trace[:, chain],
            linewidth=0.8,
            alpha=0.6,
            color=look.interpolate_colour(chain / max(chains - 1, 1)),
        )
    axis.plot(steps, trace.mean(1), color="black", linewidth=1.5)
    diagnostics = record["diagnostics"]
    r_hat = diagnostics.get("r_hat", np.nan)
    title = f"label {record['label']}: " if record["label"] is not None else ""
    title += f"R-hat {r_hat:.3f}, acceptance {diagnostics.get('acceptance', np.nan):.2f}"
    is_bad = not r_hat < _R_HAT
    axis.set_title(
        title + (": CHAINS DISAGREE" if is_bad else ""),
        fontsize=9.5,
        loc="left",
        color=look.FLAGGED if is_bad else "black",
    )
    look.style_axes(axis)
