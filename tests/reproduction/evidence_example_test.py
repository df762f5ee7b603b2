"""Fig. 1: which image is shown, what is said of it, and how it is drawn."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg

from qup import attacks, datasets, models
from qup.core import measurements
from qup.core.measurements import ModelInfo
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples, Model, ModelEvaluation
from qup.pipelines.components.examples import ExampleGen
from qup.reproduction import presets
from qup.reproduction.components.analysis import ExampleDrawer
from qup.reproduction.measures import example
from qup.reproduction.report import sections
from qup.reproduction.report.data import ReportData
from qup.reproduction.report.figures import predictors

_FGSM = {
    "name": "fgsm",
    "epsilon": 0.1,
    "norm": "linf",
    "loss": "cross_entropy",
    "pixel_clip": True,
}


def _threshold(images):
    """Class 1 where the pixel is above 1/2, with logits of gap 20(x - 1/2)."""
    x = tf.reshape(images, (-1, 1)) - 0.5
    return 10 * tf.concat([-x, x], 1)


def _show(values, labels, batch_size=2, epsilon=0.1):
    images = np.array(values, np.uint8).reshape(-1, 1, 1, 1)
    ids = 10 + np.arange(len(labels))
    return example.find_example(
        _threshold,
        images,
        np.array(labels, np.int32),
        ids,
        attacks.bind("fgsm", epsilon=epsilon),
        batch_size=batch_size,
    )


def test_the_first_broken_image_is_shown_with_its_confidences():
    # 0.2 is safe, 0.6 of class 0 is wrong before, 0.8 safe, 0.4 breaks.
    found = _show([51, 153, 204, 102, 102], [0, 0, 1, 0, 0], epsilon=0.2)
    assert (found.rule, found.id, found.label) == ("broken", 13, 0)
    assert (found.clean_class, found.attacked_class) == (0, 1)
    # Softmax of a gap of 20 * 0.1 either way.
    wanted = 100 / (1 + np.exp(-2.0))
    assert found.clean_confidence == pytest.approx(wanted, abs=1e-3)
    assert found.attacked_confidence == pytest.approx(wanted, abs=1e-3)
    assert found.attacked - found.image == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_what_is_shown_does_not_depend_on_the_batch_size(batch_size):
    values, labels = [51, 204, 153, 102, 140], [0, 1, 0, 0, 1]
    found = _show(values, labels, batch_size, epsilon=0.2)
    assert (found.rule, found.id) == ("broken", 13)
    found = _show(values, labels, batch_size, epsilon=0.01)
    assert (found.rule, found.id) == ("right", 10)
    found = _show([204, 51], [0, 1], batch_size)
    assert (found.rule, found.id) == ("first", 10)


def test_an_example_comes_back_from_its_file(tmp_path):
    found = _show([102], [0], epsilon=0.2)
    np.savez(tmp_path / "example.npz", **found.to_arrays(("a", "b")))
    arrays = np.load(tmp_path / "example.npz", allow_pickle=False)
    again = example.build_example(arrays)
    assert again.to_arrays(("a", "b")).keys() == set(arrays.files)
    assert again.rule == "broken" and again.id == 10
    np.testing.assert_array_equal(again.attacked, found.attacked)


def _rows():
    subject = ModelInfo("cifar10", "googlenet", "CL", 50, 0)
    return subject.build_rows(
        measurements.compute_accuracy(90, 100),
        {"robust_accuracy": measurements.compute_accuracy(4, 100)},
        {"name": "fgsm", "epsilon": 8 / 255},
    )


def _words(figure):
    texts = [figure.get_suptitle(), figure.get_supxlabel()]
    for axis in figure.axes:
        texts += [axis.get_title(), axis.get_xlabel()]
    return " ".join(texts).replace("\n", " ")


def test_the_figure_tells_scale_confidences_and_rule():
    found = _show([102], [0], epsilon=0.2)
    figure = predictors.plot_example(
        found.to_arrays(("a $b", "c$_2")), _rows(), "Net x 1/4 on some, 1 epoch"
    )
    FigureCanvasAgg(figure).draw()
    words = _words(figure)
    for part in (
        "Net x 1/4 on some, 1 epoch, CL, seed 0",
        "TA 90.00 ± 5.88 %",
        "RA under fgsm, epsilon 0.03137",
        "100 images",
        "drawn 2.5 times as strong",
        "class: a $b, confidence 88.08 %",
        "class: c$_2, confidence 88.08 %",
        "the first image that is classified correctly",
    ):
        assert part in words, part
    # Grey is no noise, white the most.
    assert figure.axes[1].images[0].get_array().max() == pytest.approx(1.0)


def test_an_attack_without_any_noise_is_drawn():
    found = _show([102], [0], epsilon=0.2)
    arrays = found.to_arrays(("a", "b"))
    arrays["attacked"] = arrays["image"]
    assert "none" in _words(predictors.plot_example(arrays, _rows(), "Net"))


def test_a_certain_but_rounded_confidence_is_no_certainty():
    found = _show([102], [0], epsilon=0.2)
    arrays = found.to_arrays(("a", "b"))
    arrays["clean_confidence"] = np.array(99.99951)
    assert "confidence 99.99 %" in _words(predictors.plot_example(arrays, _rows(), "Net"))


def test_the_component_gives_rows_and_the_image(tmp_path):
    made = {}
    for kind in (Examples, Model, ModelEvaluation):
        (tmp_path / kind.__name__).mkdir()
        made[kind] = kind(uri=str(tmp_path / kind.__name__))
    data = datasets.load("synthetic")
    ExampleGen.fn(made[Examples], dataset="synthetic", source=data.compute_source_digest())
    network = models.build("convnet", data.info, seed=0)
    subject = ModelInfo("synthetic", "convnet", "CL", 0, 0)
    artifacts.save_unexported_classifier(network, subject, made[Model])
    ExampleDrawer.fn(
        made[Examples],
        made[Model],
        made[ModelEvaluation],
        attack=_FGSM,
        num_images=20,
        batch_size=8,
    )
    folder = made[ModelEvaluation].path
    rows = {r.measure: r for r in measurements.read_rows(folder / "measurements.csv")}
    assert rows["test_accuracy"].n == rows["robust_accuracy"].n == 20
    shown = example.build_example(np.load(folder / "example.npz"))
    row = rows["attacked_confidence"]
    assert row.value == pytest.approx(shown.attacked_confidence)
    assert (row.artifact, row.attack, row.epsilon) == ("example.npz", "fgsm", 0.1)
    assert row.parameters["image_id"] == shown.id
    assert row.parameters["figure"] == "fig1"
    # The report finds the drawing beside accuracies that have no file, and
    # takes the most trained of several networks.
    held = list(rows.values())
    less = [dataclasses.replace(row, epochs=0, artifact="") for row in held]
    more = [dataclasses.replace(row, epochs=5) for row in held]
    material = ReportData(folder, (*less, *more), presets.get_scale("smoke"))
    section = sections.get("fig1")(material)
    picture, table = section.blocks
    assert "5 epochs" in picture.caption and len(table.body) == 4
