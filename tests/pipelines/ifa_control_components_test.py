"""The controls of IFA as components, on images of a second's work."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest

from qup import datasets
from qup.augmentation import opposite_fgsm
from qup.augmentation import translator as augmentation_translator
from qup.augmentation.deltas import DeltaDataset as Pairs
from qup.core import measurements
from qup.core.measurements import ModelInfo
from qup.datasets import examples as example_files
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import (
    Deltas,
    Examples,
    Model,
    ModelEvaluation,
    Trajectory,
    UncertaintyMap,
)
from qup.pipelines.components.augmentation import DeltaGen
from qup.pipelines.components.examples import ExampleGen
from qup.reproduction.components.controls import (
    ImpliedClassMeter,
    LabelPredictor,
    TemplateDeltaGen,
    TransferAnalyzer,
    TranslatorAnalyzer,
    TranslatorMeter,
    WalkEvaluator,
)

_ATTACK = {
    "name": "fgsm",
    "epsilon": 0.05,
    "norm": "linf",
    "pixel_clip": True,
    "loss": "cross_entropy",
    "num_steps": 1,
    "step_size": None,
    "random_start": False,
    "restarts": 1,
    "check_steps": 0,
    "check_size": 8,
    "batch_size": 16,
}
_LOOK = {"name": "fgsm", "epsilon": 0.05, "pixel_clip": True}
# Of Delta_1, with the reach of four steps in one.
_WALK = {"num_steps": 1, "step_size": 4 * 0.02, "bounds": [0.0, 1.0]}


class _Bench:
    """Makes artifacts in a folder, and runs components into them."""

    def __init__(self, folder):
        self.folder, self._count = folder, itertools.count()

    def make(self, kind):
        path = self.folder / f"{kind.__name__}-{next(self._count)}"
        path.mkdir(parents=True)
        return kind(uri=str(path))

    def state(self):
        path = self.folder / f"state-{next(self._count)}"
        path.mkdir()
        return path

    def walk(self, examples, model):
        deltas, trajectory = self.make(Deltas), self.make(Trajectory)
        DeltaGen.fn(examples, model, deltas, trajectory, self.state(), walk=_WALK, attack=_LOOK)
        return deltas

    def rows(self, component, *inputs, **given):
        evaluation = self.make(ModelEvaluation)
        component.fn(*inputs, evaluation, **given)
        return measurements.read_rows(evaluation.path / "measurements.csv")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return _Bench(tmp_path_factory.mktemp("controls"))


@pytest.fixture(scope="module")
def examples(bench):
    found, given = bench.make(Examples), {"train_size": 96, "test_size": 40}
    source = datasets.load("synthetic", **given).compute_source_digest()
    ExampleGen.fn(found, dataset="synthetic", source=source, **given)
    return found


@pytest.fixture(scope="module")
def model(bench, examples):
    """The classifier whose weights are the classes' mean images."""
    images, labels, _ = example_files.read(examples.path).get_arrays("train")
    means = [images[labels == k].mean(0).ravel() / 255 for k in range(4)]
    weights = np.stack(means, axis=1) - np.mean(means)
    network = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4, use_bias=False)]
    )
    network.layers[-1].set_weights([weights])
    found = bench.make(Model)
    artifacts.save_unexported_classifier(network, _subject(), found)
    return found


def _subject(**parameters):
    parameters["train_size"] = 96
    return ModelInfo("synthetic", "linear", "CL", 1, 0, parameters)


@pytest.fixture(scope="module")
def walked(bench, examples, model):
    return bench.walk(examples, model)


@pytest.fixture(scope="module")
def templates(bench, examples, walked):
    found = bench.make(Deltas)
    TemplateDeltaGen.fn(examples, walked, found, bench.state())
    return found


@pytest.fixture(scope="module")
def translator(bench):
    """A translator that darkens, as no class needs it."""
    image = keras.Input((8, 8, 1))
    found = bench.make(Model)
    darker = keras.layers.Rescaling(-0.1)(image)
    artifacts.save_network(keras.Model(image, darker), found)
    return found


@pytest.fixture(scope="module")
def augmented(bench, model, translator):
    found = bench.make(Model)
    pair = augmentation_translator.combine(
        *(artifacts.load_network(x.path) for x in (model, translator)),
        attack_gradient_through="classifier",
    )
    subject = _subject(through="classifier", augmentation_delta="class")
    subject = dataclasses.replace(subject, classifier="ACL")
    artifacts.save_unexported_classifier(pair, subject, found)
    return found


def test_labels_are_those_that_the_classifier_gives(bench, examples, model):
    found = bench.make(Examples)
    LabelPredictor.fn(examples, model, found)
    before, after = (example_files.read(x.path) for x in (examples, found))
    images, _, ids = before.get_arrays("train")
    network = artifacts.load_network(model.path)
    expected = np.argmax(network(images / np.float32(255)), -1)
    for one, other in zip(after.get_arrays("train"), (images, expected, ids), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(before.get_arrays("test")[1], after.get_arrays("test")[1])
    # What walks with them differs just where the classifier is wrong.
    walk = Pairs.open(bench.walk(found, model).path)
    batch = next(iter(before.evaluation_batches("train", 96)))
    end = opposite_fgsm.iterate(
        network, batch["image"], expected.astype(np.int32), **walk.iterate_options
    )
    np.testing.assert_allclose(walk.read_shard(0)["delta"], end - batch["image"], atol=1e-5)


def test_a_translator_is_measured_against_its_own_delta(
    bench, examples, model, walked, templates, translator
):
    inputs = (examples, model, translator)
    given = {"row_parameters": {"augmentation_delta": "class_template"}}
    rows = bench.rows(TranslatorMeter, *inputs, templates, **given)
    values = {(row.measure, row.parameters["predictor"]): row.value for row in rows}
    name = "translator_l1_error_relative"
    assert values[name, "zero"] == pytest.approx(1)
    assert values[name, "class_template"] == pytest.approx(0)
    assert 0 < values[name, "translator"] < 3
    count = artifacts.load_network(translator.path).count_params()
    for row in rows:
        assert row.classifier == "ACL" and row.stderr is not None
        assert row.parameters["translator_parameters"] == count
        assert row.parameters["train_size"] == 96
    # Of the walk itself a template is no whole account.
    rows = bench.rows(TranslatorMeter, *inputs, walked, row_parameters={}, num_images=24)
    (own,) = (
        row
        for row in rows
        if row.measure == name and row.parameters["predictor"] == "class_template"
    )
    assert 0 < own.value < 1 and own.n == 24


def test_a_translator_tells_classes_before_and_after_an_attack(
    bench, examples, model, translator, templates, augmented
):
    rows = bench.rows(
        ImpliedClassMeter,
        examples,
        model,
        translator,
        templates,
        augmented,
        attack=_ATTACK,
        num_images=40,
    )
    assert len({row.key() for row in rows}) == len(rows)
    found = {(row.attack, row.parameters["read_by"], row.parameters["images"]): row for row in rows}
    readers = {"nearest_template", "classifier_of_delta", "pair", "delta_of_true_label"}
    for attack in ("", "fgsm"):
        assert {key[1] for key in found if key[0] == attack} == readers
        assert found[attack, "delta_of_true_label", "all"].value == 100
        assert found[attack, "nearest_template", "all"].n == 40
    for row in rows:
        assert row.artifact == "templates.npz" and row.classifier == "ACL"
        assert row.epsilon == (0.05 if row.attack else None)


def test_walks_of_test_images_give_rows_of_each_kind(bench, examples, model):
    walk = {k: v for k, v in _WALK.items() if k != "num_steps"}
    rows = bench.rows(
        WalkEvaluator,
        examples,
        model,
        walk={**walk, "points": [0, 3], "loss": "log_odds"},
        attack=_ATTACK,
        walked_with=["true", "predicted"],
        batch_size=16,
    )
    assert len(rows) == 2 * 2 * 3
    found = {
        (
            row.measure,
            row.parameters["walked_with"],
            row.parameters["step"],
            row.parameters.get("attacked_image"),
        ): row
        for row in rows
    }
    clean = "test_accuracy"
    assert found[clean, "true", 3, None].value == 100
    assert found[clean, "true", 0, None].value == found[clean, "predicted", 0, None].value
    for image in ("X_0", "X_n"):
        row = found["robust_accuracy", "predicted", 3, image]
        assert (row.attack, row.epsilon, row.n) == ("fgsm", 0.05, 40)
        assert row.parameters["images"] == "X_n"


def test_attacks_are_shown_to_both_networks(bench, examples, model, augmented):
    rows = bench.rows(TransferAnalyzer, examples, model, augmented, attack=_ATTACK, num_images=30)
    assert len({row.key() for row in rows}) == len(rows) == 2 * 2 * 3
    kinds = {(row.classifier, row.parameters["made_on"]) for row in rows}
    assert kinds == set(itertools.product(("CL", "ACL"), repeat=2))
    for row in rows:
        assert row.n == 30 and row.parameters["through"] == "classifier"
        assert row.parameters["augmentation_delta"] == "class"
        if row.measure == "broken_by_transfer_alone":
            assert row.classifier != row.parameters["made_on"] or not row.value


def test_the_relation_of_a_translators_own_loss(bench, examples, model, walked, translator):
    """Of G(X) = -X / 10, beside the plain sums of its definition."""
    images, labels, _ = example_files.read(examples.path).get_arrays("test")
    start = images[3][None] / np.float32(255)
    end = opposite_fgsm.iterate(
        artifacts.load_network(model.path), start, labels[3][None], num_steps=1, step_size=0.08
    ).numpy()
    points = np.random.default_rng(0).uniform(size=(100_000, 64))
    # l = mean |G(X) - Delta|, d ln l / dx = .1 sign(.1 x + Delta) / 64 l
    away = 0.1 * points + (end - start).ravel()
    size = np.abs(away).mean(1, keepdims=True)
    slopes = 0.1 * np.sign(away) / 64 / size
    weights = size**2 / (size**2).sum()
    deviations = [
        np.sqrt((weights * (x - (weights * x).sum(0)) ** 2).sum(0)) for x in (points, slopes)
    ]
    told, maps = {}, bench.make(UncertaintyMap)
    for domain in ("box", "window:0.1"):
        evaluation = bench.make(ModelEvaluation)
        TranslatorAnalyzer.fn(
            examples,
            model,
            translator,
            walked,
            evaluation,
            maps,
            domain=domain,
            image=3,
            row_parameters={"augmentation_n": 1},
            sizes={"num_samples": 4000, "num_faces": 2},
        )
        rows = measurements.read_rows(evaluation.path / "measurements.csv")
        told[domain] = {
            row.measure: row.value for row in rows if row.parameters.get("statistic") == "mean"
        }
        assert {row.parameters["packet"] for row in rows} == {"l1"}
        assert {row.parameters["augmentation_n"] for row in rows} == {1}
    for name, of in zip(("sigma_x", "sigma_p"), deviations, strict=True):
        assert told["box"][name] == pytest.approx(of.mean(), rel=0.02)
    assert told["window:0.1"]["uncertainty_product"] == pytest.approx(0.5, 1e-3)
    assert (maps.path / "importance.npz").is_file()
