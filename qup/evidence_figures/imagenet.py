"""Fig. 3 of the paper: distortion against top-1 accuracy, model by model.

```python
figure = draw(rows, published.read())
```
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup.errors import InputError
from qup.evidence_figures import imagenet_names, imagenet_words
from qup.evidence_figures.imagenet_points import Mark, ours, theirs
from qup.imagenet import fits
from qup.imagenet.networks import FAMILIES
from qup.imagenet.published import Published
from qup.measurements import Row

# Okabe and Ito 2008, in the order of the families.
COLOURS = dict(
    zip(
        FAMILIES,
        ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00",
         "#56B4E9"),
        strict=True,
    )
)  # fmt: skip
_GREY = "#5A5A5A"
# Of a marker in points^2: per million parameters, and where none is known.
_AREA, _LEAST_AREA, _UNKNOWN_AREA = 2.2, 14.0, 30.0


class Panel(NamedTuple):
    """One panel of the figure.

    Attributes:
      measure: Of our rows.
      published: Of the published values.
      label: Of its axis.
    """

    measure: str
    published: str
    label: str


PANELS = (
    Panel("mean_linf", "ifgsm_linf",
          "(a) I-FGSM: mean L-inf distance,\nunits of [0, 1]"),
    Panel("mean_l2_per_element", "cw_l2_per_element",
          "(b) C&W: mean L2 distance /\ninput elements"),
    Panel("mean_clever_per_element", "clever_l2_per_element",
          "(c) CLEVER: mean L2 score /\ninput elements"),
)  # fmt: skip


def draw(rows: Sequence[Row], published: Mapping[str, Published]) -> Figure:
    """Draws panels (a) to (c) with lines in (log error, distortion).

    Args:
      rows: Those of `ImageNetAnalyzer`, of any models; others are left out.
      published: Values by model, see `imagenet.published.read`.

    Returns:
      Ours as filled circles with one standard error each way, what is
      published as open diamonds, random weights as grey crosses, which take
      no part in lines; a marker's area is the number of parameters. What is
      missing is said in words below.
    """
    figure = Figure(figsize=(7.6, 12.0), layout="constrained")
    body, foot = figure.subfigures(2, 1, height_ratios=(10.7, 1.3))
    for axis, panel in zip(body.subplots(3, 1), PANELS, strict=True):
        measured = ours(rows, panel.measure)
        cited = theirs(published, panel.published)
        axis.set_ylabel(panel.label, fontsize=9.5)
        axis.set_xlabel("top-1 accuracy in percent", fontsize=9.5)
        axis.set_title(
            textwrap.fill(_verdict(measured), 95), fontsize=8.5, color=_GREY,
            loc="left", parse_math=False,
        )  # fmt: skip
        _draw(axis, measured, cited)
    body.suptitle(
        "Robustness against accuracy on ImageNet, random targets", fontsize=12
    )
    foot.legend(
        handles=_handles(), loc="upper center", ncols=5, fontsize=8.5,
        frameon=False, borderaxespad=0,
    )  # fmt: skip
    words = textwrap.fill(imagenet_words.missing(rows, published), 112)
    foot.text(0.02, 0.04, words, fontsize=8, color=_GREY, va="bottom")
    return figure


def _draw(axis: Axes, measured: Sequence[Mark], cited: Sequence[Mark]) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)
    for mark in measured:
        colour = _colour(mark)
        axis.errorbar(
            mark.top_1, mark.distortion, mark.distortion_error,
            mark.top_1_error, ecolor=colour, elinewidth=0.9, capsize=2,
            linestyle="none",
        )  # fmt: skip
        axis.scatter(
            mark.top_1, mark.distortion, _area(mark), color=colour,
            marker="X" if mark.untrained else "o", alpha=0.75, zorder=3,
        )  # fmt: skip
    for mark in cited:
        axis.scatter(
            mark.top_1, mark.distortion, _area(mark), facecolors="none",
            edgecolors=_colour(mark), marker="D", linewidths=1.3, zorder=3,
        )  # fmt: skip
    _line(axis, [mark for mark in measured if not mark.untrained], "-")
    _line(axis, cited, "--")
    marks = (*measured, *cited)
    axis.set_xlim(min([20.0, *(mark.top_1 - 8 for mark in marks)]), 100)
    if not marks:
        axis.text(
            0.5, 0.5, "not run, and no value published in a text or table",
            transform=axis.transAxes, ha="center", color=_GREY,
        )  # fmt: skip
        axis.set_yticks([])
        return
    top = max(mark.distortion + (mark.distortion_error or 0) for mark in marks)
    axis.set_ylim(0, 1.12 * top or 1.0)
    imagenet_names.write(axis, marks, [_colour(mark) for mark in marks])


def _colour(mark: Mark) -> str:
    return _GREY if mark.untrained else COLOURS[mark.family]


def _area(mark: Mark) -> float:
    if mark.parameters is None:
        return _UNKNOWN_AREA
    return _LEAST_AREA + _AREA * mark.parameters / 1e6


def _line(axis: Axes, marks: Sequence[Mark], style: str) -> None:
    """Draws distortion = intercept + slope ln(error), where there is one."""
    try:
        found = fits.line([mark.point for mark in marks])
    except InputError:
        return
    ends = [mark.top_1 for mark in marks]
    x = np.linspace(min(ends), max(ends), 100)
    y = found.intercept + found.slope * fits.log_error(x)
    axis.plot(x, y, style, color=_GREY, linewidth=1.1, zorder=1)


def _verdict(measured: Sequence[Mark]) -> str:
    trained = [mark.point for mark in measured if not mark.untrained]
    return f"Ours, distortion = a + b ln(error). {fits.verdict(trained)}"


def _handles() -> list[Line2D]:
    def dot(label: str, **look) -> Line2D:
        return Line2D([], [], linestyle="none", label=label, **look)

    found = [
        dot(family, marker="o", color=colour)
        for family, colour in COLOURS.items()
    ]
    return [
        *found,
        dot("ours, ± 1 s.e.", marker="o", color=_GREY),
        dot("published", marker="D", color=_GREY, markerfacecolor="none"),
        dot("random weights", marker="X", color=_GREY),
        *(
            dot(f"{n} million parameters", marker="o", color="#BBBBBB",
                markersize=float(np.sqrt(_LEAST_AREA + _AREA * n)))
            for n in (1, 75, 150)
        ),
    ]  # fmt: skip
