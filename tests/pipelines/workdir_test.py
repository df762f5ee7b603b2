"""A working directory whose files are links, damaged, or cannot be written."""

import dataclasses
import json
import os
import pathlib
import re
import stat

import pytest

from configs import synthetic
from qup.core import errors
from qup.orchestration import Artifact, LocalRunner, Metadata, NodeEvent, Out, component
from qup.pipelines import attack, ifa
from qup.pipelines import run as pipelines_run
from qup.pipelines.attack_request import AttackRequest

_TEXT = "a letter of the user\n"


class Number(Artifact):
    pass


@component
def Counter(number: Out[Number], *, count: int = 1) -> None:  # noqa: N802
    (number.path / "number").write_text(str(count))


def _record_run(root, pipeline="attack", **parameters):
    metadata = Metadata(root / "metadata.sqlite")
    parameters = {"seed": 3, "model": {"name": "convnet"}, "versions": {"keras": "3"}, **parameters}
    LocalRunner(root, metadata).run([Counter()], pipeline=pipeline, parameters=parameters)


@pytest.fixture
def workdir(tmp_path):
    """The folder of a run, and its pipeline root in it."""
    folder = tmp_path / "run"
    pipelines_run.Workdir(folder, folder / "pipeline")
    _record_run(folder / "pipeline")
    return folder


def _config(workdir):
    config = synthetic.get_config()
    config.workdir = str(workdir)
    return config


def _list_files(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else os.path.islink(path)
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        *("config.json", ".qup.lock", "versions.json", "measurements.csv"),
        *("pipeline/metadata.sqlite", "pipeline/metadata.sqlite-journal"),
    ],
)
def test_a_link_to_a_file_of_the_user_is_refused(workdir, tmp_path, name, exists):
    target = tmp_path / "letter.txt"
    if exists:
        target.write_text(_TEXT)
    (workdir / name).unlink(missing_ok=True)
    (workdir / name).symlink_to(target)
    before = _list_files(workdir)
    with pytest.raises((errors.InputError, ValueError), match="is a symbolic link to") as caught:
        attack.run(_config(workdir), AttackRequest(attacks=("pgd",), num_images=4))
    assert len(str(caught.value)) < 600 and str(target) in str(caught.value)
    assert target.exists() == exists and (not exists or target.read_text() == _TEXT)
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("run", "letter.txt")] == []
    after = _list_files(workdir)
    assert {path: after.get(path) for path in before} == before


def test_a_link_to_a_folder_of_figures_is_refused(workdir, tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday/images-epoch-1.png").write_text(_TEXT)
    (workdir / "figures").symlink_to(tmp_path / "holiday")
    with pytest.raises(errors.InputError, match="figures is a symbolic link"):
        ifa.run(_config(workdir))
    assert (tmp_path / "holiday/images-epoch-1.png").read_text() == _TEXT


def test_a_workdir_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    pipelines_run.Workdir(tmp_path / "run").write_config({"seed": 1})
    assert json.loads((tmp_path / "disk/config.json").read_text())["seed"] == 1


@pytest.mark.parametrize("name", ["versions.json", "measurements.csv", "figures", "config.json"])
def test_what_is_neither_a_file_nor_a_folder_is_found_before_the_work(workdir, name):
    (workdir / name).unlink(missing_ok=True)
    os.mkfifo(workdir / name)
    with pytest.raises(errors.InputError, match=rf"{re.escape(name)} is not a"):
        pipelines_run.open_run(_config(workdir))
    assert stat.S_ISFIFO((workdir / name).stat().st_mode)


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "\x00\x01", "dataset;model\n"])
def test_measurements_that_cannot_be_continued_are_found_before_the_work(workdir, text):
    (workdir / "measurements.csv").write_text(text)
    with pytest.raises(errors.InputError, match=r"measurements\.csv"):
        pipelines_run.open_run(_config(workdir))
    # A program that replaces them does not read them.
    assert pipelines_run.open_run(_config(workdir), keeps_rows=False)


@pytest.mark.parametrize("name", ["", "figures", "elsewhere"])
def test_a_folder_without_permission_is_found_before_the_work(workdir, name, monkeypatch):
    folder = workdir / name
    folder.mkdir(exist_ok=True)
    # Modes do not bind a superuser.
    monkeypatch.setattr(os, "access", lambda path, mode: pathlib.Path(path) != folder)
    with pytest.raises(errors.InputError, match="Cannot write"):
        pipelines_run.Workdir(workdir, workdir / "elsewhere" / "deep")


@pytest.mark.parametrize("text", ["", "{}", " { }\n".replace(" ", ""), "\n\n", "null", "\0" * 300])
def test_an_empty_configuration_is_restored_from_the_metadata(workdir, text):
    (workdir / "config.json").write_text(text)
    pipelines_run.Workdir(workdir, workdir / "pipeline")
    config = json.loads((workdir / "config.json").read_text())
    assert config.pop("qup") and config == {"seed": 3, "model": {"name": "convnet"}}


def test_without_its_lock_the_folder_is_known_by_its_metadata(workdir):
    (workdir / ".qup.lock").unlink()
    (workdir / "config.json").write_text("{}")
    pipelines_run.Workdir(workdir)
    assert json.loads((workdir / "config.json").read_text())["seed"] == 3


def test_a_shared_root_restores_only_a_folder_of_qup(workdir, tmp_path):
    _record_run(tmp_path / "root", seed=8)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/config.json").write_text("{}")
    with pytest.raises(errors.InputError, match="not a configuration that qup wrote"):
        pipelines_run.Workdir(tmp_path / "foreign", tmp_path / "root")
    assert (tmp_path / "foreign/config.json").read_text() == "{}"
    (tmp_path / "foreign/.qup.lock").touch()
    pipelines_run.Workdir(tmp_path / "foreign", tmp_path / "root")
    assert json.loads((tmp_path / "foreign/config.json").read_text())["seed"] == 8


def test_the_configuration_of_a_reproduction_is_restored(tmp_path):
    folder = tmp_path / "run"
    pipelines_run.Workdir(folder)
    _record_run(folder / "pipeline", "reproduce-table2", experiment="table2", scale="cpu")
    (folder / "config.json").write_text("")
    pipelines_run.Workdir(folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["program"] == "reproduce" and config["scale"] == "cpu"


def test_a_folder_that_has_not_run_yet_needs_no_configuration(tmp_path):
    pipelines_run.Workdir(tmp_path / "run")
    (tmp_path / "run/config.json").write_text("{}")
    pipelines_run.Workdir(tmp_path / "run")
    assert not (tmp_path / "run/config.json").exists()


@pytest.mark.parametrize("text", ['{"hidden_size": 768}', "epochs: 3", '{"qu', "[1]"])
def test_any_other_content_stays(workdir, text):
    (workdir / "config.json").write_text(text)
    with pytest.raises(errors.InputError, match=r"rm .*config\.json"):
        pipelines_run.Workdir(workdir)
    assert (workdir / "config.json").read_text() == text


@pytest.mark.parametrize("key", ["workdir", "pipeline_root", "dataset.data_dir"])
@pytest.mark.parametrize("scheme", ["gs", "s3", "hdfs", "https", "file"])
def test_an_address_is_refused(key, scheme, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = _config(tmp_path / "run")
    config.update_from_flattened_dict({key: f"{scheme}://bucket/x"})
    with pytest.raises(errors.InputError, match=rf"{key}={scheme}://bucket/x is an address"):
        pipelines_run.open_run(config)
    assert not list(tmp_path.glob(f"{scheme}*"))
    with pytest.raises(errors.InputError, match="is an address"):
        pipelines_run.Workdir(pathlib.Path(f"{scheme}://bucket/x"))


def _refuse(workdir):
    with pytest.raises(errors.InputError, match="data"):
        pipelines_run.open_run(_config(workdir))


def test_a_refused_run_leaves_nothing_that_it_created(tmp_path, monkeypatch):
    def load(*args, **options):
        raise errors.InputError("There is no data.")

    monkeypatch.setattr(pipelines_run.datasets, "load", load)
    _refuse(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    # An empty folder of the user stays, without a lock file.
    (tmp_path / "empty").mkdir()
    _refuse(tmp_path / "empty")
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_a_refused_run_leaves_what_others_wrote(workdir, tmp_path, monkeypatch):
    def load(*args, scratch_dir, **options):
        (tmp_path / "new" / "note").touch()
        raise errors.InputError("There is no data.")

    monkeypatch.setattr(pipelines_run.datasets, "load", load)
    (tmp_path / "new").mkdir()
    _refuse(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {".qup.lock", "note"}
    before = set(workdir.rglob("*"))
    _refuse(workdir)
    assert set(workdir.rglob("*")) == before


def test_the_reason_of_a_refusal_is_not_logged_too(caplog, monkeypatch):
    monkeypatch.setattr(pipelines_run._log, "propagate", True)
    event = NodeEvent("ModelImporter", "failed", "failed: InputError: The model is too large.")
    pipelines_run.log_event(event)
    pipelines_run.log_event(dataclasses.replace(event, message="failed: ValueError: 3"))
    lost = "failed: InputError: No. x; not recorded: Cannot write."
    pipelines_run.log_event(dataclasses.replace(event, message=lost))
    assert caplog.messages == [
        "ModelImporter: failed",
        "ModelImporter: failed: ValueError: 3",
        f"ModelImporter: {lost}",
    ]
