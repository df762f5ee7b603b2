"""Several working directories with one pipeline root, by QUP_PIPELINE_ROOT, and one cache."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from configs import synthetic
from qup import datasets
from qup.core import errors, shared_files
from qup.orchestration import Metadata, State
from qup.pipelines import config as pipeline_config
from qup.pipelines.components.artifacts import Examples
from qup.pipelines.components.examples import ExampleGen, LabelShuffler

_ROOT = pathlib.Path(__file__).parents[2]


def test_the_variable_is_the_default_of_the_root(tmp_path, monkeypatch):
    config = synthetic.get_config()
    config.workdir = str(tmp_path / "run")
    monkeypatch.setenv("QUP_PIPELINE_ROOT", str(tmp_path / "shared"))
    assert pipeline_config.get_pipeline_root(config) == tmp_path / "shared"
    config.pipeline_root = str(tmp_path / "own")
    assert pipeline_config.get_pipeline_root(config) == tmp_path / "own"
    config.pipeline_root = None
    for value in ("", None):
        if value is None:
            monkeypatch.delenv("QUP_PIPELINE_ROOT")
        else:
            monkeypatch.setenv("QUP_PIPELINE_ROOT", value)
        assert pipeline_config.get_pipeline_root(config) == tmp_path / "run/pipeline"
    monkeypatch.setenv("QUP_PIPELINE_ROOT", "gs://bucket/x")
    with pytest.raises(errors.InputError, match="QUP_PIPELINE_ROOT=gs://bucket/x is an address"):
        pipeline_config.get_pipeline_root(config)


def _start(program, *flags, **variables):
    return subprocess.Popen(
        [sys.executable, "-m", f"bin.{program}", *map(str, flags)],
        cwd=_ROOT,
        env={**os.environ, **variables},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
def test_two_workdirs_at_once_share_examples_and_classifiers(tmp_path):
    root = tmp_path / "shared"
    variables = {"QUP_PIPELINE_ROOT": str(root), "QUP_CACHE_DIR": ""}
    flags = ["--dataset=synthetic", "--epochs=1", "--config.dataset.train_size=200"]
    processes = [
        _start(
            "run_attack",
            *flags,
            f"--attack={attack}",
            f"--workdir={tmp_path / attack}",
            **variables,
        )
        for attack in ("fgsm", "pgd4")
    ]
    outputs = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    for attack in ("fgsm", "pgd4"):
        assert not (tmp_path / attack / "pipeline").exists()
        assert attack in (tmp_path / attack / "measurements.csv").read_text()
    # Each of the shared steps was executed once.
    assert len(list(root.glob("ExampleGen/examples/*"))) == 1
    assert len(list(root.glob("Trainer*/model/*"))) == 1
    metadata = Metadata(root / "metadata.sqlite")
    runs = metadata.list_runs()
    assert [run.state for run in runs] == [State.COMPLETE] * 2
    states = [{e.node: e.state for e in metadata.list_executions(run.id)} for run in runs]
    shared = [node for node in states[0] if node.startswith(("ExampleGen", "Trainer"))]
    assert len(shared) == 2
    for node in shared:
        assert {found[node] for found in states} == {State.COMPLETE, State.CACHED}
    out, error = _start("list_runs", **variables).communicate(timeout=60)
    assert len(out.splitlines()) == 4, (out, error)
    # What one of the runs needs stays, and it is reused.
    newest = runs[-1]
    out, error = _start("prune", root, f"--keep_runs={newest.id}", "--yes").communicate(timeout=60)
    assert re.search(r"Removed \d artifacts?, ", out), (out, error)
    attack = next(a for a in ("fgsm", "pgd4") if a in str(states[-1]))
    flags += [f"--attack={attack}", f"--workdir={tmp_path / attack}"]
    process = _start("run_attack", *flags, **variables)
    out, error = process.communicate(timeout=600)
    assert process.returncode == 0 and ": execution " not in error, error


def test_equal_images_are_one_file_in_all_roots(tmp_path, monkeypatch):
    monkeypatch.setenv("QUP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(shared_files, "_MIN_BYTES", 1000)
    folders = []
    for seed in (0, 1):
        folders.append(tmp_path / f"examples-{seed}")
        folders[-1].mkdir()
        artifact = Examples(uri=str(folders[-1]))
        # The seed chooses the validation images; without them the content is the same.
        options = {"seed": seed}
        source = datasets.load("digits", **options).compute_source_digest()
        ExampleGen.fn(artifact, dataset="digits", source=source, **options)
    folders.append(tmp_path / "shuffled")
    folders[-1].mkdir()
    LabelShuffler.fn(Examples(uri=str(folders[0])), Examples(uri=str(folders[-1])))
    for split in ("train", "test"):
        inodes = {(f / f"Split-{split}/images.npy").stat().st_ino for f in folders}
        assert len(inodes) == 1, split
    labels = [(f / "Split-train/labels.npy").read_bytes() for f in folders]
    assert labels[0] == labels[1] != labels[2]
