"""Dot plots: a line for each network, or for each direction."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from qup import uncertainty_networks as networks
from qup.measurements import Row
from qup.uncertainty_figures import look, percents
from qup.uncertainty_figures import series as series_of
from qup.uncertainty_figures.series import Series
from qup.uncertainty_measured import Measured

_MOST_DIRECTIONS = 40


def controls(found: Sequence[Measured], rows: Sequence[Row]) -> Figure | None:
    """Draws every network and control of one packet and domain.

    Returns:
      The figure; None where there is only one.
    """
    ordered = sorted(found, key=_order)
    one = {networks.network(of): of for of in ordered}
    if len(one) < 2:
        return None
    names = list(one)
    known = [networks.accuracies(rows, of) for of in one.values()]
    accurate = any(known)
    series = Series(found)
    handles = series.handles()
    if ordered[0].domain == "box":
        handles.append(
            Line2D([], [], ls="", marker="|", color=look.GREY, label="bound")
        )
    if accurate:
        handles += [
            Line2D([], [], ls="", color=colour, marker=marker, label=name)
            for name, colour, marker in look.ACCURACIES.values()
        ]
    figure, panels = _panels(
        "Every network and its controls", ordered, series, names, accurate,
        handles=handles, note=look.means(ordered),
    )  # fmt: skip
    for of in ordered:
        y = names.index(networks.network(of)) + 0.7 * series.place(of)
        how = series.look(of)
        for axis, measure in zip(panels, look.measures(found), strict=False):
            series_of.dot(axis, y, of.average(measure), **how)
        if of.domain == "box":
            bound = of.average("uncertainty_bound").value
            panels[0].plot(bound, y, "|", color=how["color"], ms=8)
    if accurate:
        percents.across(panels[-1], known)
    _shade(panels, sum(bool(of["control"]) for of in one.values()))
    return figure


def directions(found: Sequence[Measured]) -> Figure | None:
    """Draws one network along its directions, such as PCA axes.

    Returns:
      The figure; None without directions.
    """
    own = networks.main(found)
    names = [n for n in own[0].names if not n.startswith("pixel:")]
    own = [of for of in own if set(names) <= set(of.names)]
    if not names:
        return None
    hidden, names = names[_MOST_DIRECTIONS:], names[:_MOST_DIRECTIONS]
    series = Series(own)
    note = "Bars are one standard error."
    note += f" {len(hidden)} further directions are not shown." * bool(hidden)
    figure, panels = _panels(
        "Along directions", own, series, names, False,
        handles=series.handles(), note=note,
    )  # fmt: skip
    for axis, measure in zip(panels, look.measures(own), strict=True):
        for of in own:
            for place, name in enumerate(names):
                y = place + 0.7 * series.place(of)
                series_of.dot(axis, y, of.at(measure, name), **series.look(of))
    return figure


def _panels(
    title: str, found: Sequence[Measured], series: Series,
    names: Sequence[str], accurate: bool, *, handles: Sequence, note: str,
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """Returns panels side by side with a line for each name."""
    measures = look.measures(found)
    columns = len(measures) + accurate
    line = 0.22 + 0.06 * min(len(series.keys), 10)
    figure, body = look.page(
        (2.05 * columns + 1.2, line * len(names) + 0.8), title,
        look.subject(found), handles=handles, note=note,
    )  # fmt: skip
    panels = list(body.subplots(1, columns, sharey=True, squeeze=False)[0])
    for axis, measure in zip(panels, measures, strict=False):
        axis.set_title(look.NAMES[measure], fontsize=10.5)
        axis.xaxis.set_major_locator(MaxNLocator(3))
        look.style(axis, "both")
        look.reference(axis, found, measure, across=True)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    for axis in panels:
        axis.tick_params(axis="y", length=0)
    return figure, panels


def _shade(panels: Sequence[Axes], count: int) -> None:
    """Puts grey behind the controls, which come first."""
    for axis in panels:
        if count:
            axis.axhspan(-0.6, count - 0.5, color=look.PALE, zorder=0)


def _order(of: Measured) -> tuple:
    return (
        not of["control"], of["control"], of["temperature"] != 1,
        of["epochs"], of["temperature"],
    )  # fmt: skip
