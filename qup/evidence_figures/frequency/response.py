"""Convergence by response frequency, the F-principle (Xu et al. 2019).

Not the frequencies of an image's pixels: see qup/measures/response.py.
"""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from qup.evidence_figures.frequency import style

# Targets this often above what shuffled labels give are signal.
_MIN_SIGNAL_RATIO = 3.0


def plot_convergence(arrays: style.FrequencyArrays) -> Figure:
    """Draws relative errors of low and high response frequencies by epoch.

    Left by Gaussian filters of several widths, right along the line of the
    first principal axis.

    Args:
      arrays: Those of response.npz.
    """
    centred = arrays["told"]["parameters"]["centred"]
    reference_text = "answering the classes' shares" if centred else "answering 0"
    figure = style.create_figure(
        (7, 3.4),
        "What training fits first, by RESPONSE frequency",
        style.format_subject(arrays["told"]),
        "Response frequency: how fast the answer varies from image to image "
        "over the space of inputs (F-principle). It is not the image "
        "frequency of supplement Fig. 5. Relative error 1: no better than "
        f"{reference_text}. Widths in median distances of images, "
        f"{float(arrays['distance']):.3g}. Bars are two standard errors. Pale: "
        "frequencies at which labels are hardly more than noise.",
    )
    left, right = figure.subplots(1, 2)
    _plot_filters(left, arrays)
    _plot_axis_errors(right, arrays)
    for axis in (left, right):
        axis.set(yscale="log", ylabel="relative error")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axis.yaxis.set_minor_locator(NullLocator())
        # Room for the legend.
        axis.set_ylim(top=5 * axis.get_ylim()[1])
        axis.legend(fontsize=7.5, frameon=False, ncols=2, loc="upper center")
        style.tidy_axis(axis)
    return figure


def _plot_filters(axis: Axes, arrays: style.FrequencyArrays) -> None:
    epochs = arrays["epochs"]
    for index, width in enumerate(arrays["widths"]):
        colour = style.COLOURS[index % len(style.COLOURS)]
        for band, linestyle, marker in (("low", "-", "o"), ("high", "--", "s")):
            axis.errorbar(
                epochs,
                arrays[band][:, index],
                2 * arrays[f"{band}_stderr"][:, index],
                color=colour,
                ls=linestyle,
                marker=marker,
                ms=4,
                lw=1.2,
                capsize=2,
                label=f"{band}, width {width:g}",
            )
    if epochs.min() > 0:
        axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(epochs))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_xlabel("epochs")
    axis.set_title("Gaussian filter", fontsize=10)


def _plot_axis_errors(axis: Axes, arrays: style.FrequencyArrays) -> None:
    is_signal = arrays["target"] > _MIN_SIGNAL_RATIO * arrays["noise"]
    x, last = arrays["frequencies"], max(len(arrays["epochs"]) - 1, 1)
    for index, epochs in enumerate(arrays["epochs"]):
        colour = style.get_shade(index / last)
        axis.plot(x, arrays["line"][index], color=colour, lw=0.8, alpha=0.4)
        axis.errorbar(
            x[is_signal],
            arrays["line"][index][is_signal],
            2 * arrays["line_stderr"][index][is_signal],
            color=colour,
            marker="o",
            ms=3.5,
            lw=1.2,
            capsize=2,
            label=style.format_epochs(epochs),
        )
    axis.set_xlabel("cycles over the first principal axis")
    axis.set_title("along one line", fontsize=10)
