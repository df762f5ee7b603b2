"""Fig. 3 and supplement Fig. 4 show what was measured, and only that."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from qup.core import measurements
from qup.core.measurements import ModelInfo
from qup.reproduction.imagenet import models, published
from qup.reproduction.imagenet.published import PublishedValues
from qup.reproduction.report import queries
from qup.reproduction.report.figures import imagenet

_PANELS = {panel.measure: panel for panel in queries.IMAGENET_PANELS}


def _rows(names, weights="abc", **changes):
    rows = []
    for number, name in enumerate(names):
        network = models.get_model(name)
        subject = ModelInfo(
            "imagenet", name, "CL", 0, 0, {"weights": weights, "family": network.family}
        )
        right = {"accuracy": 700 + 20 * number, **changes}["accuracy"]
        rows.append(subject.build_row("test_accuracy", measurements.compute_accuracy(right, 1000)))
        for measure, attack, far in (
            ("mean_linf", {"name": "iterative_fgsm_search"}, 0.01),
            ("mean_linf", {"name": "carlini_wagner"}, 5.0),
            ("mean_l2_per_element", {"name": "carlini_wagner"}, 3e-6),
            ("mean_clever_per_element", None, 2e-6),
        ):
            value = far * (1 - 0.1 * number)
            mean = measurements.Measurement(value, far / 20, 100)
            rows.append(subject.build_row(measure, mean, attack))
    return rows


def _words(figure):
    texts = [t.get_text() for part in figure.subfigs for t in part.texts]
    for axis in figure.axes:
        texts += [text.get_text() for text in axis.texts]
        texts += [axis.get_title("left"), axis.get_xlabel(), axis.get_ylabel()]
    return " ".join(texts).replace("\n", " ")


def test_nothing_run_is_said_so_and_what_is_missing_is_named():
    figure = imagenet.plot_distortions([], published.read())
    FigureCanvasAgg(figure).draw()
    words = _words(figure)
    assert words.count("not run, and no value published") == 3
    assert "Not in keras.applications: AlexNet, Inception-v1" in words
    assert "0 of 18 models" in words and "none run" in words
    assert "No comparison" in words


def test_points_carry_accuracy_distortion_and_errors():
    (mark,) = queries.build_measured_points(_rows(["VGG 16"]), _PANELS["mean_linf"])
    assert (mark.top_1, mark.distortion) == (70.0, 0.01)
    assert mark.top_1_stderr == pytest.approx(100 * (0.7 * 0.3 / 1000) ** 0.5)
    assert mark.distortion_stderr == pytest.approx(0.0005)
    assert mark.num_parameters == 138_357_544 and not mark.untrained


def test_other_rows_are_left_out():
    rows = _rows(["VGG 16"])
    stranger = ModelInfo("mnist", "convnet", "CL", 1, 0).build_row(
        "test_accuracy", measurements.compute_accuracy(1, 2)
    )
    for measure in ("mean_linf", "mean_l2_per_element"):
        assert len(queries.build_measured_points([*rows, stranger], _PANELS[measure])) == 1
    # Without its accuracy a distortion has no place.
    assert not queries.build_measured_points(rows[1:], _PANELS["mean_linf"])


def test_lines_are_drawn_through_trained_networks_alone():
    names = ["VGG 16", "VGG 19", "ResNet-v2-50", "ResNet-v2-101"]
    trained = imagenet.plot_distortions(_rows(names), published.read())
    FigureCanvasAgg(trained).draw()
    assert "Slope over all 4 models" in _words(trained)
    assert "Not run with ImageNet weights: ResNet-v2-152" in _words(trained)
    lines = [line for line in trained.axes[0].lines if len(line.get_xdata()) > 9]
    assert len(lines) == 1
    random = imagenet.plot_distortions(_rows(names, "random"), published.read())
    assert "got 0 models" in _words(random)
    assert not [x for x in random.axes[0].lines if len(x.get_xdata()) > 9]


def test_published_points_are_drawn_apart():
    known = dict(published.read())
    for number, name in enumerate(("AlexNet", "VGG 16", "NASNet")):
        known[name] = PublishedValues(
            50.0 + 10 * number, "made up", 0.02 - 0.005 * number, 3e-6, 2e-6, "made up"
        )
    figure = imagenet.plot_distortions([], known)
    FigureCanvasAgg(figure).draw()
    for axis in figure.axes:
        assert len(axis.collections) == 3
        assert all(not c.get_facecolor().size for c in axis.collections)
    assert "3 of 18 models" in _words(figure)
    areas = [c.get_sizes()[0] for c in figure.axes[0].collections]
    assert areas[1] > areas[2]


@pytest.mark.parametrize("seed", range(5))
def test_names_keep_their_order_and_a_gap(seed):
    wanted = np.random.default_rng(seed).random(12)
    places = imagenet.spread_labels(wanted, 0.05)
    assert (np.argsort(places) == np.argsort(wanted)).all()
    assert np.diff(np.sort(places)).min() >= 0.05 - 1e-12
    assert places.mean() == pytest.approx(wanted.mean())
    np.testing.assert_allclose(imagenet.spread_labels([0.5, 0.1, 0.5], 0.1), [0.45, 0.1, 0.55])
