"""The controls of IFA side by side: what of TA and RA is the translator's.

```python
side_by_side(
    [Control("CL", {"TA": (97.3, 97.0, 97.6), "RA, PGD-4": (62, 61, 63)})],
    title="ConvNet on MNIST, 1 epoch",
)
```
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Value, lower and upper end of its interval; NaN where there is none.
IntervalPoint = tuple[float, float, float]
# Colour-blind safe (Okabe and Ito 2008); each with a marker of its own.
_CONTROL_STYLES = (
    ("#0072B2", "o"),
    ("#E69F00", "D"),
    ("#D55E00", "s"),
    ("#CC79A7", "^"),
    ("#009E73", "v"),
)
_GREY = "#666666"
# Letters of a legend that fill what long titles leave of the figure.
_MAX_LEGEND_LENGTH = 44


@dataclasses.dataclass(frozen=True)
class Control:
    """A network, or what stands for one.

    Attributes:
      title: Beside its line.
      points: In percent by what is measured, such as "TA", "RA, PGD-4".
      group: Lines of one group stand together; "" for none.
      note: In small letters below the title.
    """

    title: str
    points: Mapping[str, IntervalPoint]
    group: str = ""
    note: str = ""


def plot_controls(controls: Sequence[Control], *, title: str, note: str = "") -> Figure:
    """Draws a line for each control, a dot with its interval for each look.

    Args:
      controls: From above to below.
      title: What they are controls of, and on what images.
      note: What else has to be known, below.

    Raises:
      ValueError: No controls, or more than five looks.
    """
    measures = list(dict.fromkeys(k for c in controls for k in c.points))
    if not measures or len(measures) > len(_CONTROL_STYLES):
        raise ValueError(
            f"Controls must have 1 to {len(_CONTROL_STYLES)} different looks; got "
            f"{measures}. Choose some."
        )
    heights = _compute_row_heights(controls)
    height = 1.5 + 0.46 * (heights[-1] + 1) + 0.16 * (note.count("\n") + 1)
    figure = Figure(figsize=(7.0, height), layout="constrained")
    axis = figure.subplots()
    for number, name in enumerate(measures):
        colour, marker = _CONTROL_STYLES[number]
        shift = 0.18 * (number - (len(measures) - 1) / 2)
        first = True
        for row_height, control in zip(heights, controls, strict=True):
            if name not in control.points:
                continue
            _plot_interval(
                axis,
                control.points[name],
                row_height + shift,
                color=colour,
                marker=marker,
                label=name if first else None,
            )
            first = False
    _label_rows(axis, controls, heights)
    figure.suptitle(title, fontsize=11.5, weight="bold")
    axis.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=_count_legend_columns(measures),
        frameon=False,
        fontsize=9,
    )
    if note:
        figure.supxlabel(note, fontsize=8.5, color=_GREY)
    return figure


def _count_legend_columns(measures: Sequence[str]) -> int:
    """Returns how many names stand beside each other without leaving it."""
    is_wide = sum(map(len, measures)) > _MAX_LEGEND_LENGTH
    return -(-len(measures) // 2) if is_wide else len(measures)


def _plot_interval(axis: Axes, point: IntervalPoint, y: float, **marker_options) -> None:
    value, low, high = point
    if not math.isfinite(value):
        return
    error_bars = [
        [max(bar_length, 0.0)] if math.isfinite(bar_length) else [0.0]
        for bar_length in (value - low, high - value)
    ]
    axis.errorbar(
        value,
        y,
        xerr=error_bars,
        markersize=5,
        capsize=2.5,
        elinewidth=1.2,
        linestyle="",
        **marker_options,
    )


def _compute_row_heights(controls: Sequence[Control]) -> list[float]:
    """Returns a height for each line, with a gap between two groups."""
    heights, row_height = [], 0.0
    for previous, control in zip([None, *controls], controls, strict=False):
        if previous is not None:
            row_height += 1.0 if previous.group == control.group else 1.6
        heights.append(row_height)
    return heights


def _label_rows(axis: Axes, controls: Sequence[Control], heights: Sequence[float]) -> None:
    """Names the lines, and shades every other one."""
    for number, row_height in enumerate(heights):
        if number % 2 == 0:
            axis.axhspan(row_height - 0.5, row_height + 0.5, color="#F4F4F4", zorder=0)
    labelled_groups = set()
    for control, row_height in zip(controls, heights, strict=True):
        if control.group and control.group not in labelled_groups:
            axis.text(
                0.0,
                row_height - 0.5,
                f" {control.group}",
                fontsize=8.5,
                style="italic",
                color=_GREY,
                va="bottom",
                transform=axis.get_yaxis_transform(),
            )
            labelled_groups.add(control.group)
        label = control.title
        if control.note:
            label += f"\n{control.note}"
        axis.text(
            -0.015,
            row_height,
            label,
            fontsize=9,
            ha="right",
            va="center",
            transform=axis.get_yaxis_transform(),
            linespacing=1.2,
            parse_math=False,
        )
    axis.set_yticks([])
    axis.set_ylim(heights[-1] + 0.6, -0.75)
    axis.set_xlim(-2, 102)
    axis.set_xlabel("accuracy in percent; bars are 95 % intervals", fontsize=9.5)
    axis.tick_params(labelsize=9)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
