"""Components as plain functions, and what they decide by themselves."""

import itertools
import json
import pathlib
import shutil

import keras
import numpy as np
import pytest

from qup import datasets, training
from qup.core import errors, measurements
from qup.datasets import examples as example_files
from qup.models import saving
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import (
    Examples,
    InfraBlessing,
    Model,
    ModelBlessing,
    ModelEvaluation,
    ModelRun,
    PushedModel,
)
from qup.pipelines.components.evaluator import Evaluator
from qup.pipelines.components.examples import ExampleGen
from qup.pipelines.components.pusher import Pusher
from qup.pipelines.components.trainer import Trainer

_ATTACK = {
    "name": "fgsm",
    "epsilon": 0.1,
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


@pytest.fixture
def make(tmp_path):
    """Returns an artifact with an empty folder."""

    def made(kind, name=None):
        folder = tmp_path / (name or kind.__name__)
        folder.mkdir(parents=True)
        return kind(uri=str(folder))

    return made


@pytest.fixture
def examples(make):
    found = make(Examples)
    data = datasets.load("synthetic", validation_size=32)
    ExampleGen.fn(
        found, dataset="synthetic", source=data.compute_source_digest(), validation_size=32
    )
    return found


def _train(make, tmp_path, examples, epochs, previous=None):
    model, run = make(Model, f"model-{epochs}"), make(ModelRun, f"run-{epochs}")
    state = tmp_path / f"state-{epochs}"
    state.mkdir(parents=True)
    Trainer.fn(
        examples,
        model,
        run,
        state,
        previous,
        model_name="convnet",
        model_options={},
        epochs=epochs,
        seed=0,
        recipe={"batch_size": 32},
        row_parameters={"train_size": 224},
    )
    return model, run


def test_examples_give_the_batches_of_their_dataset(examples):
    held = example_files.read(examples.path)
    data = datasets.load("synthetic", validation_size=32)
    assert held.info.sizes == data.info.sizes
    assert held.fingerprint == data.fingerprint
    pairs = [
        (data.training_batches(32, seed=3, epoch=1), held.training_batches(32, seed=3, epoch=1))
    ]
    pairs += [
        (data.evaluation_batches(s, 24), held.evaluation_batches(s, 24))
        for s in ("train", "test", "validation")
    ]
    for one, other in pairs:
        for a, b in zip(one, other, strict=True):
            for key in a:
                np.testing.assert_array_equal(a[key], b[key])
    assert examples.properties["validation_size"] == 32


@pytest.mark.parametrize("name", ["description.json", "Split-test/ids.npy"])
def test_damaged_examples_are_told(examples, name):
    (examples.path / name).write_bytes(b"{")
    with pytest.raises(errors.InputError, match="cannot be read"):
        example_files.read(examples.path)


def test_training_on_is_training_at_once(make, tmp_path, examples):
    whole, _ = _train(make, tmp_path / "whole", examples, 2)
    content = whole.properties["content"]
    shutil.move(tmp_path / "model-2", tmp_path / "at-once")
    shutil.move(tmp_path / "run-2", tmp_path / "run-at-once")
    _, first = _train(make, tmp_path, examples, 1)
    then, run = _train(make, tmp_path, examples, 2, first)
    networks = [artifacts.load_network(path) for path in (tmp_path / "at-once", then.path)]
    for a, b in zip(*(n.get_weights() for n in networks), strict=True):
        np.testing.assert_array_equal(a, b)
    history = training.History(run.path / "history.json")
    assert list(history.epochs) == [1, 2]
    # Whoever reads it sees no other model, though its files have other dates.
    assert then.properties["content"] == content
    assert then.get_identity() == whole.get_identity()


@pytest.fixture
def judged(make, tmp_path, examples):
    """Returns a function that evaluates a model after a change of it."""
    model, _ = _train(make, tmp_path, examples, 1)

    def judge(change=lambda model: None):
        change(model)
        evaluation, blessing = make(ModelEvaluation), make(ModelBlessing)
        Evaluator.fn(examples, model, evaluation, blessing, attack=_ATTACK)
        rows = measurements.read_rows(evaluation.path / "measurements.csv")
        return model, rows, blessing

    return judge


_numbers = itertools.count()


def _push(make, model, blessing, folder, version=1):
    number = next(_numbers)
    pushed, infra_blessing = make(PushedModel, f"p-{number}"), make(InfraBlessing, f"b-{number}")
    infra_blessing.properties["blessed"] = True
    infra_blessing.additions.mkdir()
    arguments = {"destination": str(folder), "version": version}
    Pusher.fn(model, blessing, infra_blessing, pushed, **arguments)
    told = json.loads((pushed.path / "pushed.json").read_text())
    return pushed.properties["pushed"], told["version"]


def test_what_is_measured_is_blessed_and_pushed_once(judged, make, tmp_path):
    model, rows, blessing = judged()
    assert {row.measure for row in rows} >= {"test_accuracy", "robust_accuracy"}
    assert {row.parameters["split"] for row in rows} == {"test"}
    assert {row.parameters["train_size"] for row in rows} == {224}
    assert blessing.properties["blessed"]
    assert (blessing.path / "BLESSED").exists()
    folder = tmp_path / "serving"
    assert _push(make, model, blessing, folder) == (True, 1)
    stamp = (folder / "1" / "saved_model.pb").stat().st_mtime_ns
    assert _push(make, model, blessing, folder) == (True, 1)
    assert (folder / "1" / "saved_model.pb").stat().st_mtime_ns == stamp
    program = folder / "1" / "saved_model.pb"
    whole = program.read_bytes()
    program.write_bytes(whole[:-1])
    assert _push(make, model, blessing, folder) == (True, 1)
    assert program.read_bytes() == whole
    # Another model never takes the place of what is served.
    saving.write_fingerprint(model.path / artifacts.SERVING, "another")
    model.properties["content"] = "another"
    (folder / "7").mkdir()
    assert _push(make, model, blessing, folder) == (True, 8)
    assert sorted(path.name for path in folder.iterdir()) == ["1", "7", "8"]


def _exchange(model):
    """Puts an untrained network where the SavedModel was."""
    network = artifacts.load_network(model.path)
    for weight in network.weights:
        weight.assign(-weight)
    saving.export_saved_model(network, model.path / artifacts.SERVING)


@pytest.mark.slow
def test_an_export_that_answers_otherwise_is_not_pushed(judged, make, tmp_path):
    model, _, blessing = judged(_exchange)
    assert not blessing.properties["blessed"]
    assert (blessing.path / "NOT_BLESSED").exists()
    assert _push(make, model, blessing, tmp_path / "serving") == (False, None)
    assert not (tmp_path / "serving").exists()


def test_an_export_that_does_not_load_is_not_blessed(judged):
    def damage(model):
        program = model.path / artifacts.SERVING / "saved_model.pb"
        program.write_bytes(program.read_bytes()[:50])

    _, rows, blessing = judged(damage)
    told = json.loads((blessing.path / "blessing.json").read_text())
    assert "failed in a fresh process" in told["reason"]
    assert not blessing.properties["blessed"] and rows


def test_a_subject_that_is_none_is_told(tmp_path):
    (tmp_path / "subject.json").write_text('{"dataset": 1}')
    with pytest.raises(errors.InputError, match="does not describe a classifier"):
        artifacts.load_model_info(pathlib.Path(tmp_path))


@pytest.mark.slow
def test_a_pushed_model_is_served_alike(judged, make, tmp_path):
    model, _, blessing = judged()
    _push(make, model, blessing, tmp_path / "serving")
    images = np.zeros((3, 8, 8, 1), np.uint8)
    network = artifacts.load_network(model.path)
    served = saving.compute_served_logits(tmp_path / "serving" / "1", images)
    np.testing.assert_allclose(served, keras.ops.convert_to_numpy(network(images / 255)), atol=1e-4)


def test_files_that_change_while_they_are_read_are_told(make):
    with pytest.raises(errors.InputError, match="changed while they were"):
        ExampleGen.fn(make(Examples), dataset="synthetic", source="earlier")
