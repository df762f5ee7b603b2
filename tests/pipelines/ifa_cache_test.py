"""The road over its pipeline root: what is reused, and what is not."""

import csv
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from tensorboard.backend.event_processing import event_accumulator

from qup.core import files
from qup.orchestration import MetadataReader, State

pytestmark = pytest.mark.slow
_ROOT = pathlib.Path(__file__).parents[2]
_QUICK = (
    "--dataset=synthetic",
    "--config.augmentation.num_steps=3",
    "--config.attack.check_steps=5",
)
_ROAD = {
    "ExampleGen",
    "Trainer",
    "Evaluator.CL",
    "DeltaGen",
    "TranslatorTrainer",
    "Combiner",
    "Evaluator.ACL",
    "Analyzer",
    "Reporter",
}
_VALIDATORS = {"InfraValidator.classifier", "InfraValidator.augmented_classifier"}
_ROAD |= _VALIDATORS


def _run(*flags, workdir, cwd=_ROOT):
    """Returns (nodes that were run, standard output); pushes left out."""
    done = subprocess.run(
        [sys.executable, "-m", "bin.run_ifa", *_QUICK, *flags, f"--workdir={workdir}"],
        cwd=cwd,
        text=True,
        capture_output=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    ran, reused = (
        set(re.findall(rf"^([A-Z][\w.]+?)(?:\.epoch-\d)?: {word} \d+$", done.stderr, re.MULTILINE))
        for word in ("execution", "reused execution")
    )
    assert {n for n in ran | reused if "Pusher" not in n} == _ROAD
    return {n for n in ran if "Pusher" not in n}, done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("cache") / "run"
    ran, out = _run(workdir=workdir)
    assert ran == _ROAD
    return workdir, out


@pytest.fixture
def workdir(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def project(tmp_path):
    for name in ("qup", "bin", "configs"):
        shutil.copytree(_ROOT / name, tmp_path / "project" / name)
    return tmp_path / "project"


def _rows(workdir):
    with open(workdir / "measurements.csv", newline="") as file:
        return list(csv.DictReader(file))


def _steps(workdir, run, newest=False):
    """Returns the steps of a TensorBoard curve, each as often as it is."""
    boards = sorted((workdir / "tensorboard").iterdir(), key=lambda p: p.stat().st_mtime)
    assert newest or len(boards) == 1
    events = event_accumulator.EventAccumulator(str(boards[-1] / run)).Reload()
    return [e.step for e in events.Tensors(events.Tags()["tensors"][0])]


def test_a_second_start_repeats_nothing(finished):
    workdir, first = finished
    before = sorted(workdir.glob("serving/*/*/*"))
    ran, out = _run(workdir=workdir)
    assert ran == set() and out == first
    assert sorted(workdir.glob("serving/*/*/*")) == before


def test_what_others_put_into_the_figures_stays(workdir):
    mine = workdir / "figures" / "mine.png"
    mine.touch()
    (workdir / "figures" / "images-epoch-7.png").touch()
    (board,) = (workdir / "tensorboard").iterdir()
    (board / "shown.json").write_bytes(b"\xff")
    assert _run(workdir=workdir)[0] == set()
    assert {path.name for path in mine.parent.iterdir()} == {
        "mine.png",
        "images-epoch-2.png",
        "trajectory-epoch-2.png",
    }


def test_an_export_that_was_lost_is_pushed_again(finished, workdir):
    model = workdir / "serving" / "classifier" / "2" / "saved_model.pb"
    files.remove_path(model.parents[1])
    assert _run(workdir=workdir)[0] == set()
    assert model.exists()


_CHANGES = {
    "translator.epochs=3": {
        "TranslatorTrainer",
        "Combiner",
        "Evaluator.ACL",
        "Analyzer",
        "Reporter",
        "InfraValidator.augmented_classifier",
    },
    # The walk counts RA on its way; Delta does not depend on it.
    "attack.epsilon=0.05": {"Evaluator.CL", "DeltaGen", "Evaluator.ACL", "Analyzer", "Reporter"},
    "attack.check_steps=6": {"Evaluator.CL", "Evaluator.ACL", "Reporter"},
}


@pytest.mark.parametrize(
    "change",
    [
        "translator.epochs=3",
        pytest.param("attack.epsilon=0.05", marks=pytest.mark.exhaustive),
        pytest.param("attack.check_steps=6", marks=pytest.mark.exhaustive),
    ],
)
def test_a_changed_setting_reruns_what_lies_behind_it(workdir, change):
    before = _rows(workdir)
    ran, _ = _run(f"--config.{change}", workdir=workdir)
    assert ran == _CHANGES[change]
    assert _rows(workdir) != before
    assert _run(workdir=workdir)[0] == set()
    assert _rows(workdir) == before


@pytest.mark.exhaustive
def test_other_epochs_train_on_from_those_that_are_there(workdir):
    done = subprocess.run(
        [sys.executable, "-m", "bin.run_ifa", *_QUICK, "--epochs=2,3", f"--workdir={workdir}"],
        cwd=_ROOT,
        text=True,
        capture_output=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert "Trainer.epoch-2: reused" in done.stderr
    assert "\nclassifier: epoch 2:" not in done.stderr
    assert "\nclassifier: epoch 3:" in done.stderr
    assert _steps(workdir, "train", newest=True) == [1, 2, 3]


def test_a_shared_root_shares_classifiers(finished, tmp_path):
    root = finished[0] / "pipeline"
    ran, out = _run(f"--pipeline_root={root}", workdir=tmp_path / "other")
    assert ran == set()
    assert _rows(tmp_path / "other") == _rows(finished[0])
    for run in ("train", "test", "translator/epoch-2"):
        assert _steps(tmp_path / "other", run) == [1, 2]
    assert _steps(tmp_path / "other", "trajectory/epoch-2") == [0, 1, 2, 3]
    assert str(tmp_path / "other" / "serving") in out


@pytest.mark.exhaustive
def test_without_cache_all_runs_again(workdir):
    before = _rows(workdir)
    pushed = sorted(workdir.glob("serving/*/*"))
    assert _run("--enable_cache=false", workdir=workdir)[0] == _ROAD
    assert _rows(workdir) == before
    # Equal models are equal, whatever their files' dates.
    assert sorted(workdir.glob("serving/*/*")) == pushed
    assert _steps(workdir, "train") == [1, 2]


def test_another_plug_in_or_figure_retrains_nothing(workdir, project):
    for package in ("attacks", "models"):
        plugin = project / "qup" / package / "another.py"
        plugin.write_text('"""Nothing yet."""\n\nANSWER = 42\n')
    comment = project / "qup" / "training" / "loop.py"
    comment.write_text(comment.read_text() + "\n# A remark.\n")
    assert _run(workdir=workdir, cwd=project)[0] == set()
    palette = project / "qup" / "core" / "plotting.py"
    palette.write_text(palette.read_text().replace("#0072B2", "#0072B3"))
    assert _run(workdir=workdir, cwd=project)[0] == {"Reporter"}


@pytest.mark.exhaustive
def test_an_edited_attack_attacks_anew_and_retrains_nothing(workdir, project):
    attack = project / "qup" / "attacks" / "pgd.py"
    text = attack.read_text()
    attack.write_text(text.replace("images + update", "images + 1.0 * update"))
    assert attack.read_text() != text
    ran, _ = _run(workdir=workdir, cwd=project)
    assert {"Evaluator.CL", "Evaluator.ACL", "DeltaGen"} <= ran
    assert not {"ExampleGen", "Trainer", "TranslatorTrainer"} & ran


def test_edited_and_truncated_artifacts_are_made_again(finished, workdir):
    root = workdir / "pipeline"
    (shard,) = root.glob("DeltaGen*/deltas/*/shard-00001*.npz")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    (model,) = root.glob("Trainer*/model/*/model.keras")
    model.write_bytes(model.read_bytes()[:-100])
    ran, _ = _run(workdir=workdir)
    # Made again, and equal: nothing behind them runs.
    assert ran == {"DeltaGen", "Trainer"}
    assert _rows(workdir) == _rows(finished[0])


def test_every_number_leads_back_to_its_data(finished):
    root = finished[0] / "pipeline"
    metadata = MetadataReader(root / "metadata.sqlite")
    (report,) = root.glob("Reporter/report/*")
    pending, seen = [metadata.find_artifact(report)], set()
    while pending:
        execution = metadata.find_producer(pending.pop().id)
        assert execution.state is State.COMPLETE
        seen.add(execution.component)
        pending += [a for held in execution.inputs.values() for a in held]
    assert seen == {name.partition(".")[0] for name in _ROAD - _VALIDATORS}
