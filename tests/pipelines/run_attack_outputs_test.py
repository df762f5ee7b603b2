"""What bin.run_attack leaves behind, of our own models and of a user's."""

import csv
import json
import logging
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

from configs import synthetic
from qup.attacks.results import ShardedImages
from qup.cli import program
from qup.core import errors
from qup.core.measurements import Measurement, ModelInfo, compute_accuracy
from qup.pipelines import attack
from qup.pipelines.attack_request import AttackRequest
from qup.pipelines.components import attacker


def _request(tmp_path, *names, **given):
    config = synthetic.get_config()
    config.workdir = str(tmp_path / "run")
    given = {"num_images": 40, "batch_size": 16, **given}
    return attack.run(config, AttackRequest(attacks=names, **given))


def _model(path, seed=0, activation="softmax"):
    keras.utils.set_random_seed(seed)
    side = synthetic.get_config().dataset.image_size
    layers = [
        keras.Input((side, side, 1)),
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation=activation),
    ]
    keras.Sequential(layers).save(path)
    return str(path)


def _boards(tmp_path):
    return list((tmp_path / "run" / "tensorboard").rglob("*tfevents*"))


def test_attacks_a_users_model(tmp_path, caplog):
    path = _model(tmp_path / "mine.keras")
    text = _request(tmp_path, "fgsm", model_path=path)
    assert text.startswith("mine on synthetic, 40 images")
    assert any("probabilities" in r.getMessage() for r in caplog.records)
    told = json.loads((tmp_path / "run" / "config.json").read_text())
    assert told["model"]["name"] == "mine"


def test_every_model_and_norm_keeps_its_pictures(tmp_path):
    for seed, name in enumerate(("one", "two")):
        path = _model(tmp_path / f"{name}.keras", seed, None)
        _request(tmp_path, "fgsm", model_path=path)
        assert len(_boards(tmp_path)) == seed + 1
    given = {"options": ("fgsm.norm=l2", "fgsm.epsilon=3")}
    _request(tmp_path, "fgsm", model_path=path, **given)
    assert len(_boards(tmp_path)) == 3
    folders = {p.name for p in (tmp_path / "run" / "tensorboard").iterdir()}
    assert {name.partition("-")[0] for name in folders} == {"one", "two"}


def test_aims_at_targets(tmp_path):
    path = _model(tmp_path / "mine.keras", activation=None)
    text = _request(
        tmp_path, "pgd", model_path=path, epsilons=(0.5,), options=("pgd.targets=least_likely",)
    )
    assert "pgd linf least_likely" in text
    with open(tmp_path / "run" / "measurements.csv", newline="") as file:
        rows = {row["measure"]: row for row in csv.DictReader(file)}
    assert "success_rate" in rows and "robust_accuracy" not in rows
    told = json.loads(rows["success_rate"]["parameters"])
    assert told["targets"] == "least_likely" and told["targeted"] is True


def test_a_stated_range_of_pixels_reaches_the_rows_and_the_cache(tmp_path):
    side = synthetic.get_config().dataset.image_size
    layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
    plain = keras.Sequential([keras.Input((side, side, 1)), *layers])
    scaled = keras.Sequential(
        [keras.Input((side, side, 1)), keras.layers.Rescaling(1 / 255), *layers]
    )
    plain.save(tmp_path / "plain.h5")
    scaled.save(tmp_path / "scaled.keras")
    with pytest.raises(errors.InputError, match="--pixel_range=0,255"):
        _request(tmp_path, "fgsm", model_path=str(tmp_path / "scaled.keras"))
    values = {}
    for path, pixel_range in (("plain.h5", None), ("scaled.keras", "0,255")):
        model_path = str(tmp_path / path)
        _request(tmp_path, "fgsm", model_path=model_path, pixel_range=pixel_range)
    with open(tmp_path / "run" / "measurements.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["measure"] == "robust_accuracy":
                values[row["model"]] = row["value"]
                stated = json.loads(row["parameters"]).get("pixel_range")
                assert stated == ([0.0, 255.0] if row["model"] == "scaled" else None)
    assert values["plain"] == values["scaled"]


def test_a_saved_model_is_attacked_on_one_image(tmp_path):
    side = synthetic.get_config().dataset.image_size
    layers = [keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((side, side, 1)), *layers, keras.layers.Dense(10)])
    model.export(tmp_path / "exported", verbose=False)
    given = {"num_images": 1, "options": ("pgd.num_steps=40",)}
    text = _request(tmp_path, "pgd", saved_model=str(tmp_path / "exported"), **given)
    assert text.startswith("exported on synthetic, 1 images")


def test_rows_that_cannot_be_extended_are_found_before_the_work(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".qup.lock").touch()
    path = tmp_path / "run" / "measurements.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(errors.InputError, match="is not a table of measurements"):
        _request(tmp_path, "fgsm", model_path=_model(tmp_path / "mine.keras"))
    assert not (tmp_path / "run" / "pipeline" / "metadata.sqlite").exists()


def test_flags_stand_below_the_line_of_their_attack():
    info = ModelInfo("synthetic", "convnet", "CL", 0, 0)
    spec = {"name": "pgd", "epsilon": 0.1, "norm": "linf"}
    rows = info.build_rows(Measurement(90.0), {"robust_accuracy": Measurement(50.0)}, spec)
    run = types.SimpleNamespace(config=types.SimpleNamespace(seed=0))

    def format_lines(value, **parameters):
        flag = info.build_row("reliability", Measurement(value), {**spec, **parameters})
        return list(attack._format_classifier(run, [*rows, flag]))

    plain = list(attack._format_classifier(run, rows))
    assert format_lines(0.0, reasons=[], messages=[]) == plain
    lines = format_lines(1.0, reasons=["zero"], messages=["The gradient is zero.", "x " * 80])
    index = next(i for i, line in enumerate(lines) if line.startswith("pgd linf"))
    assert lines[index + 1] == "  flagged: The gradient is zero."
    assert lines[index + 2].startswith("  flagged: x x") and max(map(len, lines)) <= 120
    assert "  flagged: zero" in format_lines(1.0, reasons=["zero"])


def test_the_table_has_the_success_of_attacks_with_a_budget():
    info = ModelInfo("synthetic", "convnet", "CL", 0, 0)
    run = types.SimpleNamespace(config=types.SimpleNamespace(seed=0))

    def read_cells(num_correct, num_robust, count=200):
        clean, robust = (compute_accuracy(number, count) for number in (num_correct, num_robust))
        spec = {"name": "pgd", "epsilon": 0.1, "norm": "linf"}
        rows = info.build_rows(clean, {"robust_accuracy": robust}, spec)
        lines = list(attack._format_classifier(run, rows))
        return next(line for line in lines if line.startswith("pgd")).split("0.1 ")[1]

    # 90 of 180 correctly classified images are broken: 100 * sqrt(0.5 * 0.5 / 180) = 3.73.
    assert "45.00 ± 3.52    50.00 ± 3.73" in read_cells(180, 90)
    assert "90.00 ± 2.12     0.00 ± 0.00" in read_cells(180, 180)
    assert "0.00 ± 0.00               -" in read_cells(0, 0)


def test_a_damaged_model_is_told(tmp_path):
    path = tmp_path / "mine.keras"
    path.write_bytes(b"no model")
    with pytest.raises(errors.InputError, match=r"mine\.keras"):
        _request(tmp_path, "fgsm", model_path=str(path))


@pytest.mark.slow
def test_probabilities_are_warned_of_once_on_a_command_line(tmp_path):
    path = _model(tmp_path / "mine.keras")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bin.run_attack",
            "--dataset=synthetic",
            f"--workdir={tmp_path / 'run'}",
            "--attack=fgsm,pgd",
            "--num_images=20",
            f"--model_path={path}",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("returns probabilities. The logits before") == 1


def test_only_errors_of_other_libraries_are_logged():
    log_filter = program._LogFilter()

    def record(level):
        return logging.LogRecord("absl", level, "/keras/a.py", 1, "x", (), None)

    assert not log_filter.filter(record(logging.WARNING))
    assert log_filter.filter(record(logging.ERROR))


def test_a_report_without_attacks_has_figures_and_no_legend(tmp_path):
    run = types.SimpleNamespace(
        get_path=lambda *parts: tmp_path.joinpath(*parts), format_locations=list
    )
    figure = tmp_path / "conjugates.png"
    text = attack.format_report(run, [], {}, [figure], {})
    assert f"Figure        {figure}" in text
    assert "robust:" not in text and "measurements.csv" not in text
    # The same holds for rows of the checks for masked gradients alone.
    row = ModelInfo("synthetic", "convnet", "CL", 2, 0).build_row(
        "masking", Measurement(1.0, None, 16)
    )
    text = attack.format_report(run, [row], {}, [figure], {})
    assert "robust:" not in text and "measurements.csv" in text


def test_saved_images_are_never_all_in_memory(tmp_path, monkeypatch):
    images = np.random.default_rng(0).random((10, 4, 4, 1), np.float32)
    for i in range(2):
        np.save(tmp_path / f"{i}.npy", images[5 * i : 5 * i + 5])
    shards = ShardedImages([tmp_path / "0.npy", tmp_path / "1.npy"])
    monkeypatch.delattr(ShardedImages, "__array__")
    attacker._save_images(tmp_path / "all.npy", shards, 3)
    assert np.array_equal(np.load(tmp_path / "all.npy"), images)
