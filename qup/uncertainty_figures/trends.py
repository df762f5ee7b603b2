"""Means over pixels, by epoch and by temperature, beside TA and RA."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup import uncertainty_networks as networks
from qup.measurements import Row
from qup.uncertainty_figures import look, percents
from qup.uncertainty_figures import series as series_of
from qup.uncertainty_figures.series import Series
from qup.uncertainty_measured import Measured

_UNKNOWN = " Grey crosses could not be estimated."


def by_epoch(found: Sequence[Measured], rows: Sequence[Row]) -> Figure | None:
    """Draws the relation against epochs, controls aside, TA and RA below.

    Args:
      found: Of one packet and domain.
      rows: Those of the accuracies.

    Returns:
      The figure; None where there is only one snapshot.
    """
    own = networks.snapshots(found)
    epochs = sorted({each["epochs"] for each in own})
    if len(epochs) < 2:
        return None
    others = [each for each in found if each["control"]]
    controls = list(dict.fromkeys(networks.network(each) for each in others))
    title = "Epoch by epoch" + (", and the controls" if controls else "")
    stack = _Stack(title, own, others, rows)
    ratios = (1, 0.04 + 0.16 * len(controls)) if controls else (1,)
    panels = stack.panels(7.6, ratios)
    stack.curves(panels[:, 0], "epochs", epochs)
    if controls:
        stack.aside(panels[:, 1], controls)
    return stack.figure


def temperature(
    found: Sequence[Measured], rows: Sequence[Row]
) -> Figure | None:
    """Draws the relation against temperature, TA and RA below.

    Returns:
      The figure; None where the network was measured at one temperature.
    """
    most = networks.main(found)[0]["epochs"]
    own = [e for e in found if not e["control"] and e["epochs"] == most]
    own = [of for of in own if len(_heats(own, of["label"])) > 1]
    if not own:
        return None
    stack = _Stack("The same decisions at every temperature", own, [], rows)
    panels = stack.panels(6.6, (1,))
    stack.curves(panels[:, 0], "temperature", sorted(_heats(own)))
    panels[-1, 0].set_xlabel("temperature T, logits / T", fontsize=10)
    return stack.figure


def _heats(found: Sequence[Measured], *labels) -> set[float]:
    """Returns the temperatures at which labels, or all, were measured."""
    return {
        of["temperature"] for of in found if not labels or of["label"] in labels
    }


class _Stack:
    """Panels above one another, a measure each, the accuracies below."""

    figure: Figure

    def __init__(
        self, title: str, own: Sequence[Measured],
        others: Sequence[Measured], rows: Sequence[Row],
    ):  # fmt: skip
        self._title, self._own, self._others = title, own, others
        self._rows = rows
        self._series = Series([*own, *others])
        self._measures = look.measures(own)
        self._accurate = any(networks.accuracies(rows, of) for of in own)

    def panels(self, width: float, ratios: tuple[float, ...]):
        """Returns axes [panels, columns]."""
        every = [*self._own, *self._others]
        note = look.means(every)
        if any(
            of.average(m).known == 0 for of in every for m in self._measures
        ):
            note += _UNKNOWN
        handles = self._series.handles()
        if every[0].domain == "box":
            handles.append(
                Line2D([], [], color=look.GREY, ls=":", label="bound")
            )
        lines = len(self._measures) + self._accurate
        self.figure, body = look.page(
            (width, 1.55 * lines + 0.35), self._title,
            look.subject(self._own), handles=handles, note=note,
        )  # fmt: skip
        return body.subplots(
            lines, len(ratios), squeeze=False, sharex="col", sharey="row",
            width_ratios=ratios,
        )  # fmt: skip

    def curves(
        self, panels: Sequence[Axes], key: str, places: Sequence[float]
    ) -> None:
        """Draws what is told by `key`, such as "epochs"."""
        for axis, measure in zip(panels, self._measures, strict=False):
            for name in self._series.keys:
                group = [of for of in self._own if series_of.key(of) == name]
                self._curve(axis, group, key, measure, places)
            look.reference(axis, self._own, measure)
            axis.set_ylabel(look.NAMES[measure], fontsize=11)
            look.style(axis)
        if self._accurate:
            percents.curves(panels[-1], self._own, key, self._rows)
        look.ticks(panels[-1], places)
        panels[-1].set_xlabel(key, fontsize=10)

    def _curve(
        self, axis: Axes, group: Sequence[Measured], key: str, measure: str,
        places: Sequence[float],
    ) -> None:  # fmt: skip
        points = sorted(
            ((look.beside(of[key], places, self._series.place(of)), of)
             for of in group), key=lambda pair: pair[0],
        )  # fmt: skip
        if not points:
            return
        xs = [x for x, _ in points]
        how = self._series.look(group[0])
        line = {"color": how["color"], "linewidth": 1.1, "alpha": 0.55}
        axis.plot(xs, [of.average(measure).value for _, of in points], **line)
        for x, of in points:
            series_of.point(axis, x, of.average(measure), **how)
        if measure == "uncertainty_product" and group[0].domain == "box":
            bounds = [of.average("uncertainty_bound").value for _, of in points]
            axis.plot(xs, bounds, ":", color=how["color"])

    def aside(self, panels: Sequence[Axes], controls: Sequence[str]) -> None:
        """Draws every control in a place of its own."""
        for of in self._others:
            place = controls.index(networks.network(of))
            x = place + 0.5 * self._series.place(of)
            how = {**self._series.look(of), "linestyle": ""}
            for axis, measure in zip(panels, self._measures, strict=False):
                series_of.point(axis, x, of.average(measure), **how)
            if of.domain == "box":
                bound = of.average("uncertainty_bound").value
                panels[0].plot(x, bound, "_", color=how["color"], ms=9)
            if self._accurate:
                known = networks.accuracies(self._rows, of)
                percents.above(panels[-1], place, known)
        for axis, measure in zip(panels, self._measures, strict=False):
            look.reference(axis, self._own, measure)
        for axis in panels:
            look.style(axis)
            axis.tick_params(left=False)
            axis.set_facecolor(look.PALE)
            axis.spines["left"].set_visible(False)
        panels[-1].set_xlim(-0.6, len(controls) - 0.4)
        names = [name.replace(" ", "\n") for name in controls]
        panels[-1].set_xticks(range(len(controls)), names)
