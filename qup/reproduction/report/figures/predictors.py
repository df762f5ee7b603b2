"""What predicts robust accuracy: a panel for each candidate.

```python
figure = draw([Candidate("input gradient", "sum of |dl/dx|", values, found)],
              networks, title="MNIST", attack="PGD-100, epsilon 0.1")
```
"""

import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from qup.core import plotting
from qup.core.measurements import Row
from qup.reproduction.measures import example
from qup.reproduction.report.figures import style as figures_style
from qup.reproduction.report.figures.style import IntervalPoint, NetworkStyle
from qup.reproduction.report.statistics import RankCorrelation


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A number of each network that may go with its robust accuracy.

    Attributes:
      title: What it is.
      label: Of its axis, with the unit.
      values: (value, low, high) by the network's key; those without are
        left out.
      correlation: With RA, for the title; None where there is none.
      logarithmic: Whether its axis is; all values are positive then.
    """

    title: str
    label: str
    values: Mapping[str, IntervalPoint]
    correlation: RankCorrelation | None = None
    logarithmic: bool = False


def plot_predictors(
    predictors: Sequence[Predictor],
    networks: Mapping[str, tuple[NetworkStyle, IntervalPoint]],
    *,
    title: str,
    attack: str,
    note: str = "",
) -> Figure:
    """Draws RA of every network over each candidate.

    Args:
      predictors: At least one.
      networks: Key to its look and its RA, (value, low, high) in percent.
      title: What they were trained on.
      attack: Of RA, in words.
      note: Above the legend, such as what the bars are.
    """
    columns = 2 if len(predictors) in (2, 4) else min(len(predictors), 3)
    rows = -(-len(predictors) // columns)
    size = (7 if columns > 1 else 4.6, 2.75 * rows + 1.1)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis, predictor in zip(panels.flat, predictors, strict=False):
        _plot_predictor(axis, predictor, networks)
    for axis in panels.flat[len(predictors) :]:
        axis.set_visible(False)
    for axis in panels[:, 0]:
        axis.set_ylabel("RA in percent", fontsize=9)
    figure.suptitle(f"{title}\nrobust accuracy: {attack}", fontsize=10.5)
    legend_note = r"$\rho$: Spearman's rank correlation."
    figure.legend(
        handles=figures_style.build_style_legend(style for style, _ in networks.values()),
        loc="outside lower center",
        ncols=4,
        fontsize=8.5,
        frameon=False,
        title=f"{legend_note} {note}".strip(),
        title_fontsize=8,
    )
    return figure


def _plot_predictor(
    axis: Axes, predictor: Predictor, networks: Mapping[str, tuple[NetworkStyle, IntervalPoint]]
) -> None:
    if predictor.logarithmic:
        axis.set_xscale("log")
    for key, (style, robust) in networks.items():
        value = predictor.values.get(key)
        if value is not None and np.isfinite([value[0], robust[0]]).all():
            figures_style.plot_interval_point(axis, style, value, robust)
    axis.set_title(f"{predictor.title}\n{format_correlation(predictor.correlation)}", fontsize=9)
    axis.set_xlabel(predictor.label, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.margins(0.1)
    _set_predictor_ticks(axis, predictor.logarithmic)
    axis.grid(color="#E8E8E8", linewidth=0.7)
    axis.set_axisbelow(True)


def _set_predictor_ticks(axis: Axes, logarithmic: bool) -> None:
    """Puts as many numbers below a panel as have room."""
    if not logarithmic:
        axis.xaxis.set_major_locator(MaxNLocator(3))
        return
    low, high = axis.get_xlim()
    decades = math.log10(high / low)
    multiples = (1, 2, 5) if decades < 1 else (1, 3) if decades < 2 else (1,)
    axis.xaxis.set_major_locator(LogLocator(subs=multiples, numticks=9))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def format_correlation(correlation: RankCorrelation | None) -> str:
    """Returns a correlation in words, with its interval, p and n."""
    if correlation is None:
        return "too few networks to correlate"
    text = rf"$\rho$ = {_format_signed(correlation.value)}"
    if correlation.interval:
        low, high = map(_format_signed, correlation.interval)
        text += f" [{low}, {high}]"
    digits = max(2, math.ceil(-math.log10(correlation.p_value)))
    text += f"\np = {correlation.p_value:.{digits}f}, n = {correlation.n}"
    if correlation.covariates:
        text = f"given {', '.join(correlation.covariates)}: {text}"
    return text


def _format_signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


# Eqs. 21 and 22 as curves: RA by sign steps and by gradient steps.
#
# ```python
# figure = by_epsilon([Curve("raw_l2", "margin", 1, {0.1: (40.0, 37.0, 43.0)})],
#                     title="ConvNet on MNIST, 30 epochs")
# ```


# Direction: its colour, line, marker and name.
_DIRECTION_STYLES = {
    "sign": (plotting.BLUE, "o-", r"sign of the gradient, $\epsilon$ a pixel"),
    "raw_l2": (plotting.ORANGE, "s--", "gradient, as long in L2"),
    "raw_linf": (plotting.VERMILION, "^:", "gradient, as long in L-inf"),
}
_LOSS_TITLES = {"cross_entropy": "cross-entropy", "squared": "squared loss", "margin": "margin"}


@dataclasses.dataclass(frozen=True)
class StepCurve:
    """RA of one network by one kind of step.

    Attributes:
      direction: "sign", "raw_l2" or "raw_linf".
      loss: "cross_entropy", "squared" or "margin".
      num_steps: Steps that make up the size epsilon.
      points: Epsilon in units of [0, 1] to (value, low, high) in percent.
    """

    direction: str
    loss: str
    num_steps: int
    points: Mapping[float, IntervalPoint]


def plot_gradient_steps(curves: Sequence[StepCurve], *, title: str, note: str = "") -> Figure:
    """Draws RA over epsilon: a column a loss, a row a number of steps.

    Args:
      curves: At least one.
      title: Of which network.
      note: Above the legend, such as what the bars are.
    """
    losses = [name for name in _LOSS_TITLES if any(c.loss == name for c in curves)]
    steps = sorted({curve.num_steps for curve in curves})
    size = (max(2.3 * len(losses), 4.6), 2.1 * len(steps) + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(steps), len(losses), squeeze=False, sharex=True, sharey=True)
    for row, num_steps in zip(panels, steps, strict=True):
        for axis, loss in zip(row, losses, strict=True):
            panel_curves = [c for c in curves if (c.loss, c.num_steps) == (loss, num_steps)]
            _plot_step_curves(axis, panel_curves)
        plural = "s" if num_steps > 1 else ""
        row[0].set_ylabel(f"{num_steps} step{plural}\nRA in percent", fontsize=9)
    for axis, loss in zip(panels[0], losses, strict=True):
        axis.set_title(_LOSS_TITLES[loss], fontsize=10)
    for axis in panels[-1]:
        axis.set_xlabel(r"$\epsilon$, in units of [0, 1]", fontsize=9)
    figure.suptitle(title, fontsize=11)
    handles_by_label = {}
    for axis in panels.flat:
        handles, labels = axis.get_legend_handles_labels()
        handles_by_label |= dict(zip(labels, handles, strict=True))
    figure.legend(
        handles_by_label.values(),
        handles_by_label,
        loc="outside lower center",
        ncols=3,
        fontsize=8.5,
        frameon=False,
        title=note or None,
        title_fontsize=8,
    )
    return figure


def _plot_step_curves(axis: Axes, curves: Sequence[StepCurve]) -> None:
    for curve in curves:
        colour, line_format, name = _DIRECTION_STYLES[curve.direction]
        epsilons = sorted(curve.points)
        values, low, high = np.array([curve.points[e] for e in epsilons]).T
        bars = np.nan_to_num([values - low, high - values])
        axis.errorbar(
            epsilons,
            values,
            np.maximum(bars, 0),
            color=colour,
            fmt=line_format,
            label=name,
            markersize=4,
            linewidth=1.2,
            capsize=2,
        )
    axis.set_ylim(-4, 104)
    axis.tick_params(labelsize=8)
    axis.grid(color="#E8E8E8", linewidth=0.7)
    axis.set_axisbelow(True)


# Fig. 1 of the paper: X_0, the FGSM noise, and X, with what is said of each.
#
# ```python
# rows = measurements.read("measurements.csv")
# figure = draw(np.load("example.npz"), rows, "ConvNet on mnist, 1 epoch")
# ```


_GREY = "#5A5A5A"
_DOLLAR = r"\$"
# Standard errors to either end of a 95 % interval.
_Z_95 = 1.96


def plot_example(
    arrays: Mapping[str, np.ndarray], rows: Sequence[Row], network_title: str
) -> Figure:
    """Draws the example.

    Args:
      arrays: Of example.npz, see `example.Example.arrays`.
      rows: Those beside it: of one network, image and attack.
      network_title: What the network is called.

    Returns:
      Three pictures: the noise is drawn from black (its least value) over
      grey (none) to white (its largest), with the scale in words.
    """
    attacked_example = example.build_example(arrays)
    names = [str(name) for name in arrays["class_names"]]
    noise = attacked_example.attacked - attacked_example.image
    max_magnitude = float(np.abs(noise).max())
    figure = Figure(figsize=(8.4, 4.1), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08)
    left, middle, right = figure.subplots(1, 3)
    label = names[attacked_example.label]
    _show_image(
        left,
        attacked_example.image,
        f"$X_0$, image {attacked_example.id}:",
        label,
        _format_prediction(names[attacked_example.clean_class], attacked_example.clean_confidence),
    )
    _show_image(
        middle,
        0.5 + noise / (2 * max_magnitude or 1.0),
        "noise $X - X_0$",
        "",
        f"between -{max_magnitude:.3g} and {max_magnitude:.3g},\n"
        + (f"shown {1 / (2 * max_magnitude):.3g} times as strong" if max_magnitude else "none"),
    )
    _show_image(
        right,
        attacked_example.attacked,
        "$X$, attacked",
        "",
        _format_prediction(
            names[attacked_example.attacked_class], attacked_example.attacked_confidence
        ),
    )
    figure.suptitle(_format_title(rows, network_title), fontsize=10.5, parse_math=False)
    rule_note = textwrap.fill(f"Chosen: {example.SELECTION_RULES[attacked_example.rule]}.", 105)
    figure.supxlabel(rule_note, fontsize=8.5, color=_GREY)
    return figure


def _format_prediction(name: str, confidence: float) -> str:
    # 99.997 must not become a certainty.
    confidence_text = f"{min(confidence, 99.99):.2f}" if confidence < 100 else "100"
    return f"says {name},\nconfidence {confidence_text} %"


def _show_image(axis: Axes, image: np.ndarray, symbol: str, name: str, caption: str) -> None:
    pixels = np.clip(image, 0, 1)
    is_grey = pixels.shape[-1] == 1
    axis.imshow(
        pixels[..., 0] if is_grey else pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest"
    )
    axis.set_xticks([])
    axis.set_yticks([])
    # Class names are the user's: no $ of theirs starts a formula.
    title = f"{symbol} {name.replace('$', _DOLLAR)}".rstrip()
    axis.set_title(title, fontsize=10.5)
    axis.set_xlabel(caption, fontsize=9.5, parse_math=False)


def _format_title(rows: Sequence[Row], network_title: str) -> str:
    by_measure = {row.measure: row for row in rows}
    clean = by_measure["test_accuracy"]
    robust = by_measure["robust_accuracy"]
    return (
        f"{network_title}, {clean.classifier}, seed {clean.seed}\n"
        f"TA {_format_accuracy(clean)}; RA under {robust.attack}, epsilon "
        f"{robust.epsilon:.4g}: {_format_accuracy(robust)}; {clean.n:,} images, 95 % "
        "intervals"
    )


def _format_accuracy(row: Row) -> str:
    error = "" if row.stderr is None else f" ± {_Z_95 * row.stderr:.2f}"
    return f"{row.value:.2f}{error} %"
