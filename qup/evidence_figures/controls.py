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
Point = tuple[float, float, float]
# Colour-blind safe (Okabe and Ito 2008); each with a marker of its own.
_LOOKS = (
    ("#0072B2", "o"), ("#E69F00", "D"), ("#D55E00", "s"), ("#CC79A7", "^"),
    ("#009E73", "v"),
)  # fmt: skip
_GREY = "#666666"
# Letters of a legend that fill what long titles leave of the figure.
_WIDE = 44


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
    points: Mapping[str, Point]
    group: str = ""
    note: str = ""


def side_by_side(
    controls: Sequence[Control], *, title: str, note: str = ""
) -> Figure:
    """Draws a line for each control, a dot with its interval for each look.

    Args:
      controls: From above to below.
      title: What they are controls of, and on what images.
      note: What else has to be known, below.

    Raises:
      ValueError: No controls, or more than five looks.
    """
    looks = list(dict.fromkeys(k for c in controls for k in c.points))
    if not looks or len(looks) > len(_LOOKS):
        raise ValueError(
            f"Controls must have 1 to {len(_LOOKS)} different looks; got "
            f"{looks}. Choose some."
        )
    places = _places(controls)
    height = 1.5 + 0.46 * (places[-1] + 1) + 0.16 * (note.count("\n") + 1)
    figure = Figure(figsize=(7.0, height), layout="constrained")
    axis = figure.subplots()
    for number, name in enumerate(looks):
        colour, marker = _LOOKS[number]
        shift = 0.18 * (number - (len(looks) - 1) / 2)
        first = True
        for place, control in zip(places, controls, strict=True):
            if name not in control.points:
                continue
            _dot(
                axis, control.points[name], place + shift, color=colour,
                marker=marker, label=name if first else None,
            )  # fmt: skip
            first = False
    _lines(axis, controls, places)
    figure.suptitle(title, fontsize=11.5, weight="bold")
    axis.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=_columns(looks),
        frameon=False, fontsize=9,
    )  # fmt: skip
    if note:
        figure.supxlabel(note, fontsize=8.5, color=_GREY)
    return figure


def _columns(looks: Sequence[str]) -> int:
    """Returns how many names stand beside each other without leaving it."""
    wide = sum(map(len, looks)) > _WIDE
    return -(-len(looks) // 2) if wide else len(looks)


def _dot(axis: Axes, point: Point, y: float, **how) -> None:
    value, low, high = point
    if not math.isfinite(value):
        return
    ends = [
        [max(end, 0.0)] if math.isfinite(end) else [0.0]
        for end in (value - low, high - value)
    ]
    axis.errorbar(
        value, y, xerr=ends, markersize=5, capsize=2.5, elinewidth=1.2,
        linestyle="", **how,
    )  # fmt: skip


def _places(controls: Sequence[Control]) -> list[float]:
    """Returns a height for each line, with a gap between two groups."""
    places, place = [], 0.0
    for before, control in zip([None, *controls], controls, strict=False):
        if before is not None:
            place += 1.0 if before.group == control.group else 1.6
        places.append(place)
    return places


def _lines(
    axis: Axes, controls: Sequence[Control], places: Sequence[float]
) -> None:
    """Names the lines, and shades every other one."""
    for number, place in enumerate(places):
        if number % 2 == 0:
            axis.axhspan(place - 0.5, place + 0.5, color="#F4F4F4", zorder=0)
    shown = set()
    for control, place in zip(controls, places, strict=True):
        if control.group and control.group not in shown:
            axis.text(
                0.0, place - 0.5, f" {control.group}", fontsize=8.5,
                style="italic", color=_GREY, va="bottom",
                transform=axis.get_yaxis_transform(),
            )  # fmt: skip
            shown.add(control.group)
        words = control.title
        if control.note:
            words += f"\n{control.note}"
        axis.text(
            -0.015, place, words, fontsize=9, ha="right", va="center",
            transform=axis.get_yaxis_transform(), linespacing=1.2,
            parse_math=False,
        )  # fmt: skip
    axis.set_yticks([])
    axis.set_ylim(places[-1] + 0.6, -0.75)
    axis.set_xlim(-2, 102)
    axis.set_xlabel(
        "accuracy in percent; bars are 95 % intervals", fontsize=9.5
    )
    axis.tick_params(labelsize=9)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
