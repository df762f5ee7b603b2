"""TA and RA over epochs: a panel for each network's RA."""

import io

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from qup.core import plotting
from qup.reproduction.report.figures import tables
from qup.reproduction.report.figures.tables import AccuracyCurve, NetworkAccuracies


def _network(title, model, robust):
    points = {1: (robust, robust - 5.0, robust + 4.0)}
    return NetworkAccuracies(
        title,
        model,
        [AccuracyCurve("TA", {1: (90.0, 89.0, 91.0)})],
        [AccuracyCurve("PGD", points), AccuracyCurve("paper", {1: (7.0,) * 3}, open_markers=True)],
    )


_NETWORKS = (_network("Net A", "convnet", 60.0), _network("Net B", "resnet", 98.0))


@pytest.mark.parametrize("count", [1, 2])
def test_each_network_has_its_own_panel_of_ra(count):
    figure = tables.plot_accuracies(_NETWORKS[:count], "some images")
    FigureCanvasAgg(figure).print_png(io.BytesIO())
    clean, *robust = figure.axes
    assert len(clean.containers) == count
    names = ["RA: Net A", "RA: Net B"][:count]
    assert [axis.get_title() for axis in robust] == names
    for axis, network in zip(robust, _NETWORKS, strict=False):
        ours, paper = axis.containers
        line, _, (upright,) = ours.lines
        assert line.get_color() == plotting.get_network_colour(network.model)
        assert list(line.get_ydata()) == [network.robust[0].points[1][0]]
        low, high = upright.get_segments()[0][:, 1]
        assert (low, high) == network.robust[0].points[1][1:]
        assert paper.lines[0].get_markerfacecolor() == "none"
        # Accuracies end at 100, intervals of few seeds do not.
        assert axis.get_ylim() == robust[0].get_ylim()
        assert axis.get_ylim()[1] <= 102
    (legend,) = figure.legends
    told = [text.get_text() for text in legend.get_texts()]
    networks = ["Net A", "Net B"] if count == 2 else []
    assert told == [*networks, "TA", "PGD", "paper"]
