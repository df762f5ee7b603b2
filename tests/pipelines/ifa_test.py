"""The whole road, as a user starts it: runs, kills, errors, files."""

import csv
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import PIL.Image
import pytest

from configs import image_folder, synthetic
from qup.core import errors
from qup.pipelines import ifa
from qup.pipelines import run as pipelines_run

_ROOT = pathlib.Path(__file__).parents[2]
_QUICK = (
    "--dataset=synthetic",
    "--config.augmentation.num_steps=3",
    "--config.attack.check_steps=5",
)


def _start(*flags, cwd=_ROOT, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "bin.run_ifa", *flags],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def _run(*flags, **options):
    process = _start(*flags, **options)
    out, err = process.communicate(timeout=900)
    return process.returncode, out, err


def _rows(workdir):
    with open(workdir / "measurements.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("ifa") / "run"
    start = time.monotonic()
    code, out, err = _run(*_QUICK, f"--workdir={workdir}", "--epochs=1,2")
    assert code == 0, err
    return workdir, out, err, time.monotonic() - start


def test_table_rows_and_files(done):
    workdir, out, err, _ = done
    assert "tensorboard --logdir" in out and "RA PGD-4 no clip" in out
    rows = _rows(workdir)
    for classifier in ("CL", "ACL"):
        for epochs in ("1", "2"):
            measures = {
                row["measure"]
                for row in rows
                if (row["classifier"], row["epochs"]) == (classifier, epochs)
            }
            assert {"test_accuracy", "robust_accuracy"} <= measures
    assert all(0 <= float(row["value"]) <= 100 for row in rows)
    assert all("split" in json.loads(row["parameters"]) for row in rows)
    steps = {json.loads(row["parameters"]).get("step") for row in rows}
    assert {0, 1, 2, 3} <= steps
    for name in ("classifier", "augmented_classifier"):
        for version in ("1", "2"):
            saved = workdir / "serving" / name / version / "saved_model.pb"
            assert saved.exists()
    assert json.loads((workdir / "config.json").read_text())["seed"] == 0
    assert "tensorflow" in json.loads((workdir / "versions.json").read_text())
    said = re.compile(
        "(synthetic|classifier|translator/epoch-[12]|opposite FGSM): |"
        "A?CL, epoch|pushed to |(SavedModel|TensorFlow) in a new process: |"
        r"[A-Z][\w.-]+: (execution|complete in) |"
        # A line of progress, where the machine is slow.
        r"[\w ,/:-]+: \d+ %"
    )
    assert all(said.match(line) for line in err.splitlines()), err


def test_tensorboard_holds_what_is_promised(done):
    from tensorboard.backend.event_processing import event_accumulator

    (board,) = (done[0] / "tensorboard").iterdir()

    def tags(run):
        path = str(board / run)
        events = event_accumulator.EventAccumulator(path)
        return set(events.Reload().Tags()["tensors"])

    assert {"loss", "accuracy"} <= tags("train")
    assert "accuracy" in tags("test")
    assert {"x_n/test_accuracy", "x_n/robust_accuracy"} <= tags("trajectory/epoch-1")
    assert {"discriminator_real", "discriminator_fake", "generator_l1"} <= (
        tags("translator/epoch-1")
    )
    assert {"0_all", "1_x_0", "2_delta_n_around_grey", "3_x_n", "6_attacked"} <= tags(
        "images/epoch-1"
    )
    assert "settings" in tags("settings")
    assert {"CL/test_accuracy", "ACL/robust_accuracy/PGD-4"} <= tags("results/epoch-2")


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "kilobytes,told",
    [
        (100, "Error: Cannot use the metadata database"),
        (400, "Error: Cannot write .* File too large"),
    ],
)
def test_a_full_disk_is_told_and_costs_nothing(done, kilobytes, told, tmp_path):
    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = kilobytes * 1000
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    flags = (*_QUICK, f"--workdir={tmp_path}/run", "--epochs=1,2")
    code, _, err = _run(*flags, preexec_fn=limited)
    assert code == 1 and "Traceback" not in err
    assert re.search(told, err), err
    code, _, err = _run(*flags)
    assert code == 0, err
    assert _rows(tmp_path / "run") == _rows(done[0])


def _names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "given,message",
    [
        (["--dataset=mnits"], "Did you mean 'mnist'?"),
        (["--epoch=1"], "Did you mean: epochs"),
        (["--config.attack.epsilom=1"], "Did you mean 'attack.epsilon'?"),
        (["--config.attack.epsilon=abc"], "could not convert"),
        (["--epochs=1,x"], "takes integers"),
        (["--seed=1", "--config.seed=2"], "differ"),
        (["--config=nowhere.py"], "no file 'nowhere.py'"),
        (["--config=README.md"], "is not a file of settings"),
        (["extra"], "Not a flag"),
    ],
)
def test_a_wrong_command_is_told_without_a_traceback(given, message):
    code, out, err = _run(*given)
    assert code == 1 and message in err, out
    assert "Traceback" not in err + out


@pytest.mark.parametrize(
    "key,value,message",
    [
        ("verify", "ful", "Did you mean 'full'?"),
        ("model.name", "convet", "Did you mean 'convnet'?"),
        ("attack.name", "pgdd", "Did you mean 'pgd'?"),
        ("attack.norm", "l3", "Known: l1, l2, linf"),
        ("attack.epsilon", -0.1, "attack.epsilon must be"),
        ("attack.step_size", -0.1, "attack.step_size must be"),
        ("attack.restarts", 2, "without attack.random_start"),
        ("augmentation.points", (0, -1), "augmentation.points must be"),
        ("seed", 2**31, "seed must be"),
        ("training.epochs", (1.5,), "epochs must be an integer"),
        ("translator.beta_1", 1.0, "translator.beta_1 must be"),
        ("attack.epsilon", float("nan"), "attack.epsilon must be"),
        ("attack.num_steps", 0, "attack.num_steps must be"),
        ("training.epochs", (0,), "epochs must be"),
        ("training.epochs", (), "epochs is empty"),
        ("augmentation.num_steps", 0, "augmentation.num_steps must be"),
        ("augmentation.step_size", -1.0, "augmentation.step_size must be"),
        ("translator.width", 0, "translator.width must be"),
        ("dataset.evaluation_split", "validation", "needs validation images"),
        ("workdir", "", "workdir is empty"),
        ("workdir", "/proc/nowhere", "Cannot write"),
        ("workdir", "README.md", "is a file"),
        ("workdir", "~nobody-of-that-name/x", "cannot be used"),
        ("workdir", "x\udcff", "cannot be used"),
        ("workdir", "/tmp/" + 300 * "y", "Cannot write"),
        ("workdir", "qup", "did not write"),
    ],
)
def test_a_wrong_setting_is_told_and_nothing_written(key, value, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(_ROOT / "README.md", tmp_path)
    (tmp_path / "qup").mkdir()
    (tmp_path / "qup" / "paper.py").touch()
    before = _names(tmp_path)
    config = synthetic.get_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(errors.InputError, match=re.escape(message)):
        ifa.run(config)
    assert _names(tmp_path) == before


def _folder(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            path = tmp_path / "images" / split / name
            path.mkdir(parents=True)
            for i in range(4):
                pixels = rng.integers(256, size=(16, 16, 3), dtype=np.uint8)
                PIL.Image.fromarray(pixels).save(path / f"{i}.png")
    config = image_folder.get_config()
    config.dataset.data_dir = str(tmp_path / "images")
    config.dataset.image_size = 16
    config.workdir = str(tmp_path / "run")
    return config


def test_what_cannot_run_is_not_kept(tmp_path):
    config = _folder(tmp_path)
    config.dataset.validation_size = 8
    with pytest.raises(errors.InputError, match="leave a training image"):
        pipelines_run.open_run(config)
    config.dataset.validation_size = 0
    config.model.depth = 20
    with pytest.raises(errors.InputError, match="depth"):
        pipelines_run.open_run(config)
    config.model.depth = None
    assert pipelines_run.open_run(config).data.info.num_classes == 2


@pytest.mark.parametrize("key", ["workdir", "pipeline_root"])
def test_a_folder_that_reads_as_a_pattern_is_refused(key, tmp_path):
    config = _folder(tmp_path)
    config[key] = str(tmp_path / "run [1]")
    with pytest.raises(errors.InputError, match="read as patterns"):
        pipelines_run.open_run(config)
    (tmp_path / "run [1]").mkdir(exist_ok=True)
    (tmp_path / "link").symlink_to(tmp_path / "run [1]")
    config[key] = str(tmp_path / "link")
    with pytest.raises(errors.InputError, match="read as patterns"):
        pipelines_run.open_run(config)


def test_nobody_reading_on_is_no_error(done):
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "bin.run_ifa", *_QUICK, f"--workdir={done[0]}", "--epochs=1,2"],
            cwd=_ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
        _, err = process.communicate(timeout=900)
    assert process.returncode == 1 and "Traceback" not in err
    assert "All results are in the workdir" in err


def test_a_foreign_folder_stays_as_it_is(tmp_path):
    config = _folder(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"hidden_size": 768}')
    with pytest.raises(errors.InputError, match="not a configuration that qup"):
        pipelines_run.open_run(config)
    assert [x.name for x in (tmp_path / "run").iterdir()] == ["config.json"]


def test_a_diverging_training_is_told(tmp_path):
    config = synthetic.get_config()
    config.workdir = str(tmp_path / "run")
    config.training.optimizer, config.training.learning_rate = "sgd", 9e5
    with pytest.raises(errors.InputError, match="diverged in epoch 1"):
        ifa.run(config)
    assert not list((tmp_path / "run").rglob("*.keras"))


def _parsed(*given):
    code = (
        "import json, sys; from qup.cli import settings as c;"
        "from qup.core import config;"
        "c.define_flags(); c.parse(sys.argv);"
        "print(json.dumps(config.flatten(c.resolve())))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, *given], cwd=_ROOT, text=True, capture_output=True, check=True
    ).stdout
    return json.loads(out)


def test_flags_in_any_order_and_their_aliases():
    config = _parsed(
        "--config.attack.num_steps=7",
        "--seed",
        "5",
        "--config",
        str(_ROOT / "configs" / "cifar10.py"),
        "--epochs=1,3",
    )
    assert config["dataset.name"] == "cifar10"
    assert config["attack.num_steps"] == 7
    assert config["seed"] == 5 and config["training.epochs"] == [1, 3]


def test_the_literal_reading_and_what_overrides_it():
    config = _parsed("--config.paper_literal", "--config.attack.epsilon=0.2")
    assert not config["attack.pixel_clip"]
    assert not config["augmentation.pixel_clip"]
    assert config["augmentation.num_steps"] == 200
    assert config["augmentation.step_size"] == 0.2
    config = _parsed(
        "--config.augmentation.num_steps=50",
        "--config.paper_literal",
        "--config.attack.pixel_clip=true",
    )
    assert config["augmentation.num_steps"] == 50
    assert config["attack.pixel_clip"]
    assert not config["augmentation.pixel_clip"]


def test_help_names_every_flag_without_tensorflow():
    code = (
        "import runpy, sys\n"
        "try: runpy.run_module('bin.run_ifa', None, '__main__', True)\n"
        "finally: assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], cwd=_ROOT, text=True, capture_output=True
    )
    for flag in (
        "dataset",
        "model",
        "epochs",
        "workdir",
        "data_dir",
        "manual_dir",
        "seed",
        "smoke",
    ):
        assert f"--{flag}:" in done.stdout.replace("[no]", "")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path):
    text = (_ROOT / "README.md").read_text()
    code = re.search("```python\n(from qup.*?)```", text, re.DOTALL)[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    assert done.returncode == 0, done.stderr
    accuracies = dict(
        re.findall(r"^(\w+): robust accuracy (\d+\.\d) %$", done.stdout, re.MULTILINE)
    )
    assert list(accuracies) == ["pgd", "autoattack"], done.stdout
    assert float(accuracies["autoattack"]) <= float(accuracies["pgd"])
