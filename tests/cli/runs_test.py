"""qup runs: what the runs of qup attack and the trainings of qup train were asked to do."""

import csv
import io
import json

import pytest
from absl import flags

from qup.cli import runs, settings
from qup.orchestration import Artifact, LocalRunner, Metadata, OrchestrationError, Out, component
from qup.pipelines import attack, train
from qup.pipelines.attack_request import AttackRequest
from qup.pipelines.training_folder import find_trainings


class Data(Artifact):
    pass


@component
def Source(data: Out[Data]) -> None:  # noqa: N802
    (data.path / "rows").touch()


def _list(path, file_format="text"):
    values = flags.FlagValues()
    runs.flags.DEFINE_enum("format", "text", ["text", "csv"], "", flag_values=values)
    values(["", f"--format={file_format}"])
    original, flags.FLAGS = flags.FLAGS, values
    try:
        return runs.main(str(path))
    finally:
        flags.FLAGS = original


def _record_run(root, **request):
    runner = LocalRunner(root, Metadata(root / "metadata.sqlite"))
    parameters = {"seed": 0, **({"request": request} if request else {})}
    runner.run([Source()], pipeline="attack", parameters=parameters)


def _write_training(folder, num_epochs, num_rows=None, **changes):
    """Writes the files of a training; without rows it has not ended."""
    (folder / "checkpoints").mkdir(parents=True)
    stored = {"method": "fast", "epsilon": 8 / 255, "norm": "linf", "seed": 0}
    stored |= {"model": {"name": "convnet"}, "dataset.name": "digits", **changes}
    (folder / "training.json").write_text(json.dumps(stored))
    epochs = {epoch: {"loss": 1.0} for epoch in range(1, num_epochs + 1)}
    (folder / "checkpoints/history.json").write_text(json.dumps(epochs))
    if num_rows is not None:
        (folder / "model.keras").write_bytes(b"x")
        (folder / "history.csv").write_text("epoch,loss\n" + "1,1\n" * num_rows)
    return folder


def test_a_run_says_what_it_was_asked_to_do(tmp_path):
    root = tmp_path / "run/pipeline"
    _record_run(root)
    _record_run(root, attack="pgd", epsilon="8/255", model="mine", num_images=50)
    _record_run(root, attack="deepfool", model="mine", num_images="all")
    lines = _list(tmp_path).splitlines()
    assert lines[1].split()[-2:] == ["size", "request"]
    assert lines[3].endswith("model=mine attack=pgd epsilon=8/255 num_images=50")
    assert lines[4].endswith("model=mine attack=deepfool num_images=all")
    rows = list(csv.DictReader(io.StringIO(_list(tmp_path, "csv"))))
    assert [json.loads(row["request"]).get("attack") for row in rows] == [None, "pgd", "deepfool"]
    # What was asked is not repeated among what differs.
    assert [row["differing"] for row in rows] == ["{}"] * 3


def test_an_attack_records_what_it_was_asked_to_do(tmp_path):
    config = settings.load_dataset_settings("synthetic", "full")
    config.workdir = str(tmp_path / "run")
    request = AttackRequest(
        attacks=("pgd", "deepfool"), epsilons=(0.02, 8 / 255), options=("pgd.num_steps=1",)
    )
    specs = request.build_attack_specs(0.1)
    described = attack.describe_request(attack.open_run(config), request, specs)
    assert described == {
        **{"model": "convnet", "dataset": "synthetic", "attack": "pgd,deepfool"},
        **{"epsilon": "0.02,8/255", "norm": "linf,l2", "num_images": 1000},
        "options": "pgd.num_steps=1",
    }
    # The budget of the settings, where one is used.
    run = attack.open_run(config)
    for names, epsilon in ((("standard",), "0.1"), (("deepfool",), None)):
        request = AttackRequest(attacks=names, num_images=0)
        described = attack.describe_request(run, request, request.build_attack_specs(0.1))
        assert described.get("epsilon") == epsilon and described["num_images"] == "all"


def test_trainings_are_listed(tmp_path):
    _write_training(tmp_path / "one", 3, 3)
    _write_training(tmp_path / "two", 2, method="trades", seed=7)
    # It was complete, and is trained for more epochs.
    _write_training(tmp_path / "three", 4, 3)
    _, head, *lines = _list(tmp_path).splitlines()
    assert " ".join(head.split()) == "training state started age epochs size request differing"
    lines = {line.split()[0].rpartition("/")[2]: line for line in lines}
    assert "COMPLETE" in lines["one"]
    assert "unfinished" in lines["two"] and "unfinished" in lines["three"]
    request = "model=convnet dataset=digits method=trades epsilon=8/255 norm=linf"
    assert f"{request}  seed=7" in lines["two"]
    rows = list(csv.DictReader(io.StringIO(_list(tmp_path, "csv"))))
    assert {(row["pipeline"], row["run"]) for row in rows} == {("train", "")}
    assert [training.num_epochs for training in find_trainings(tmp_path)] == [3, 2, 4]
    assert "trainings: " in _list(tmp_path / "one")


def test_trainings_and_runs_are_listed_together_and_damage_is_left_out(tmp_path):
    _record_run(tmp_path / "run/pipeline", attack="pgd")
    _write_training(tmp_path / "good", 1, 1)
    (_write_training(tmp_path / "bad", 1, 1) / "training.json").write_text("{")
    text = _list(tmp_path)
    assert "attack=pgd" in text and f"{tmp_path}/good" in text and f"{tmp_path}/bad" not in text


def test_a_folder_of_neither_is_an_error(tmp_path):
    with pytest.raises(OrchestrationError, match="no pipeline in"):
        _list(tmp_path)


def test_a_training_writes_what_is_listed(tmp_path):
    config = settings.load_dataset_settings("digits", "full")
    config.workdir = str(tmp_path / "run")
    config.model.width = 0.25
    config.dataset.train_size = 256
    config.training.epochs = (1,)
    train.run(config, train.TrainRequest(method="standard", epsilon=0.1, num_robust_images=20))
    (training,) = find_trainings(tmp_path)
    assert (training.num_epochs, training.is_complete) == (1, True)
    assert training.started <= training.updated
    assert "method=standard epsilon=0.1" in _list(tmp_path)
