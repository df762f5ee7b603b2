"""qup train: its files, resuming, what it refuses, and the command that attacks the model."""

import csv
import pathlib
import shlex
import subprocess
import sys

import keras
import numpy as np
import pytest

from qup.cli import settings
from qup.cli import train as train_command
from qup.core import errors
from qup.pipelines import train
from qup.training import adversarial, fitting

_ROOT = pathlib.Path(__file__).parents[2]


def _get_config(workdir, **changes):
    config = settings.load_dataset_settings("digits", "full")
    config.workdir = str(workdir)
    config.model.width = 0.25
    config.dataset.train_size = 256
    config.training.epochs = (1,)
    config.update_from_flattened_dict(changes)
    return config


def _request(**options):
    return train.TrainRequest(
        **{"method": "fast", "epsilon": 0.1, "num_robust_images": 20, **options}
    )


def test_the_flags_name_every_method_and_schedule():
    assert set(train_command.METHODS) == {*adversarial.METHODS, "standard"}
    assert set(train_command.SCHEDULES) == set(fitting.SCHEDULES)


def test_a_training_leaves_its_files_and_resumes(tmp_path):
    text = train.run(_get_config(tmp_path), _request())
    assert {path.name for path in tmp_path.iterdir()} == {
        *("model.keras", "history.csv", "curves.png", "training.json", "checkpoints"),
        *("tensorboard", ".qup.lock"),
    }
    assert "--dataset=digits" in text and text.endswith("--epsilon=0.1")
    first = keras.models.load_model(tmp_path / "model.keras").get_weights()
    # The same command again trains nothing; more epochs continue.
    assert train.run(_get_config(tmp_path), _request()) == text
    again = keras.models.load_model(tmp_path / "model.keras").get_weights()
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    longer = train.run(_get_config(tmp_path, **{"training.epochs": (2,)}), _request())
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert f"{float(rows[1]['val_robust_accuracy']):.2f}" in longer


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"epsilon": 0.2}, "epsilon was 0.1, now 0.2"),
        ({}, {"method": "free"}, "method was 'fast', now 'free'"),
        ({"seed": 1}, {}, "seed was 0, now 1"),
        ({"training.batch_size": 64}, {}, "batch_size was None, now 64"),
        ({"model.name": "ygcnn"}, {}, "model was"),
    ],
)
def test_a_folder_of_another_training_is_refused(changes, options, message, tmp_path):
    train._open_workdir(tmp_path, train._describe(_get_config(tmp_path), _request()))
    with pytest.raises(errors.InputError, match=f"other settings: {message}") as caught:
        train.run(_get_config(tmp_path, **changes), _request(**options))
    assert "\n" not in str(caught.value)


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(errors.InputError, match="files of something else"):
        train.run(_get_config(tmp_path), _request())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"training.epochs": (1, 3)}, {}, "one number of epochs"),
        ({}, {"model_path": "missing.keras"}, "must be a file that exists"),
        ({}, {"pixel_range": "0,255"}, "for a model of your own"),
        ({}, {"epsilon": 8.0}, "Divide by 255"),
        ({}, {"method": "fast", "num_steps": 4}, "fast has no option num_steps"),
    ],
)
def test_mistakes_are_one_line(changes, options, message, tmp_path):
    with pytest.raises(errors.InputError, match=message) as caught:
        train.run(_get_config(tmp_path / "new" / "run", **changes), _request(**options))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_refusal_after_steps_keeps_them(tmp_path, monkeypatch):
    train.run(_get_config(tmp_path), _request())
    before = set(tmp_path.rglob("*"))

    def fit(*args, **options):
        raise errors.InputError("The loss diverged.")

    monkeypatch.setattr(train.training, "fit", fit)
    with pytest.raises(errors.InputError, match="diverged"):
        train.run(_get_config(tmp_path), _request())
    assert set(tmp_path.rglob("*")) == before
    # The same in the process that began the training.
    train._remove_refused(tmp_path, [tmp_path])
    assert set(tmp_path.rglob("*")) == before


def test_the_default_epsilon_is_that_of_the_dataset(tmp_path):
    text = train.run(_get_config(tmp_path), _request(epsilon=None, method="standard"))
    assert text.endswith("--epsilon=0.1")


def _save_model(path):
    """A softmax classifier of bytes."""
    layers = [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    keras.Sequential([*layers, keras.layers.Dense(10, "softmax")]).save(path)


def test_a_model_of_ones_own_on_ones_own_images(tmp_path):
    random = np.random.default_rng(0)
    labels = np.arange(100) % 10
    images = random.integers(0, 256, (100, 8, 8, 1), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    np.save(tmp_path / "y.npy", labels)
    _save_model(tmp_path / "mine.keras")
    config = settings.load_dataset_settings("arrays", "full")
    config.workdir = str(tmp_path / "run")
    config.dataset.images, config.dataset.labels = (str(tmp_path / f"{n}.npy") for n in "xy")
    options = {"model_path": str(tmp_path / "mine.keras"), "pixel_range": "0,255"}
    text = train.run(config, _request(**options, epsilon=8 / 255, norm="l2"))
    command = shlex.split(text.splitlines()[-1])
    assert command == [
        # All images trained the model.
        *("qup", "attack", "--images=TEST_IMAGES.npz"),
        *(f"--model_path={tmp_path / 'run' / 'model.keras'}", "--pixel_range=0,255"),
        *("--epsilon=8/255", "--norm=l2"),
    ]
    probabilities = keras.models.load_model(tmp_path / "run" / "model.keras").predict(images)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    _save_model(tmp_path / "mine.keras")
    with pytest.raises(errors.InputError, match="other settings: model_path"):
        train.run(config, _request(**options, epsilon=8 / 255, norm="l2"))


@pytest.mark.slow
def test_the_command_and_the_command_that_it_names(tmp_path):
    def run(*command):
        return subprocess.run(
            [sys.executable, "-m", *command], cwd=_ROOT, capture_output=True, text=True
        )

    arguments = ["--dataset=digits", f"--workdir={tmp_path / 'run'}", "--epochs=2"]
    arguments += ["--method=fast", "--num_robust_images=20", "--config.model.width=0.5"]
    done = run("bin.train", *arguments, "--epsilon=8/255")
    assert done.returncode == 0, done.stderr
    assert "fast, epoch 2: loss" in done.stderr and "Traceback" not in done.stderr
    refused = run("bin.train", *arguments, "--epsilon=0.1")
    assert refused.returncode == 1 and refused.stderr.startswith("Error: The workdir")
    assert refused.stderr.count("\n") == 1
    wrong = run("bin.train", *arguments, "--epsilon=8/256/2")
    assert wrong.returncode == 1 and "epsilon must be a number or a fraction" in wrong.stderr
    command = shlex.split(done.stdout.splitlines()[-1])
    assert command[:3] == ["python", "-m", "bin.run_attack"]
    options = ["--attack=pgd", "--num_images=20", f"--workdir={tmp_path / 'attack'}"]
    attacked = run(*command[2:], *options)
    assert attacked.returncode == 0, attacked.stderr
    assert "8/255" in attacked.stdout or "0.03137" in attacked.stdout
