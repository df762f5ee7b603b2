"""Pruning: what is removed, what never is, kills, active runs, and several processes."""

import os
import pathlib
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pytest

from qup.orchestration import (
    Artifact,
    In,
    LocalRunner,
    Metadata,
    MetadataError,
    Out,
    State,
    StatefulDir,
    StorageError,
    component,
    pruning,
)
from qup.orchestration.artifacts import ArtifactState
from qup.orchestration.executions import Execution, Owner
from qup.orchestration.lineage import graph
from qup.orchestration.lineage import text as lineage_text
from qup.orchestration.pruning import Reason, Retention

_ROOT = pathlib.Path(__file__).parents[2]
_TEXT = "a letter of the user\n"
_DEAD = Owner(socket.gethostname(), 2**22 + 1, "")


class Data(Artifact):
    pass


@component
def Source(data: Out[Data], *, count: int = 1) -> None:
    (data.path / "rows").write_text("0\n" * count * 5000)


@component
def Trainer(data: In[Data], model: Out[Data], *, epochs: int = 1, fails: bool = False) -> None:
    (model.path / "weights").write_text(str(epochs))
    if fails:
        raise RuntimeError("as requested")


def _run(root, pipeline="toy", events=None, **options):
    source = Source()
    nodes = [source, Trainer(data=source.outputs["data"], **options)]
    runner = LocalRunner(
        root,
        Metadata(root / "metadata.sqlite"),
        on_event=(lambda e: events.append(str(e))) if events is not None else None,
    )
    executions = runner.run(nodes, pipeline=pipeline)
    return Metadata(root / "metadata.sqlite").list_runs()[-1].id, executions["Trainer"]


def _pruner(root, **retention):
    return pruning.Pruner(root / "metadata.sqlite", Retention(**retention))


def _prune(root, **retention):
    pruner = _pruner(root, **retention)
    return pruner.remove(pruner.plan())


def _names(root, removals):
    return sorted(str(removal.path.relative_to(root)) for removal in removals)


def _list_published(root):
    return sorted(str(p.relative_to(root)) for p in root.glob("[!.]*/[!.]*/*"))


@pytest.fixture
def root(tmp_path):
    """Three runs: executions 1 and 2; 4, with 1 reused; 6, with 1 reused."""
    root = tmp_path / "root"
    for epochs in (1, 2, 3):
        _run(root, epochs=epochs)
    assert _list_published(root) == [
        "Source/data/1",
        *(f"Trainer/model/{number}" for number in (2, 4, 6)),
    ]
    return root


def test_without_rules_every_run_is_kept(root):
    assert _prune(root) == []
    assert len(_list_published(root)) == 4


def test_what_kept_runs_share_stays(root):
    removed = _prune(root, newest=1)
    assert _names(root, removed) == ["Trainer/model/2", "Trainer/model/4"]
    assert {r.reason for r in removed} == {Reason.NO_KEPT_RUN}
    assert _list_published(root) == ["Source/data/1", "Trainer/model/6"]


def test_runs_are_kept_by_id_and_age_and_by_any_rule(root):
    metadata = Metadata(root / "metadata.sqlite")
    first, second, third = (run.id for run in metadata.list_runs())
    plan = _pruner(root, runs=[second]).plan()
    assert _names(root, plan) == ["Trainer/model/2", "Trainer/model/6"]
    with metadata.transaction() as cursor:
        cursor.execute(
            "UPDATE Context SET last_update_time_since_epoch = 1 WHERE name IN (?, ?)",
            (first, third),
        )
    assert _names(root, _pruner(root, max_age_s=60).plan()) == [
        "Trainer/model/2",
        "Trainer/model/6",
    ]
    plan = _pruner(root, max_age_s=60, runs=[first]).plan()
    assert _names(root, plan) == ["Trainer/model/6"]
    assert _pruner(root, max_age_s=60, runs=[first], newest=1).plan() == []
    with pytest.raises(MetadataError, match=r"Unknown run 'toy\.x'"):
        _pruner(root, runs=["toy.x"]).plan()


def test_the_newest_runs_are_complete_and_of_each_pipeline(root):
    _run(root, "other", epochs=4)
    with pytest.raises(RuntimeError):
        _run(root, epochs=5, fails=True)
    # The failed run is newer than the complete one, and does not replace it.
    removed = _prune(root, newest=1)
    assert _names(root, removed) == ["Trainer/model/2", "Trainer/model/4"]
    assert "Trainer/model/8" in _list_published(root)


def test_a_removed_result_is_computed_again_and_its_lineage_says_removed(root):
    (first, *_) = Metadata(root / "metadata.sqlite").list_runs()
    _prune(root, newest=1)
    metadata = Metadata(root / "metadata.sqlite")
    (artifact,) = metadata.get_execution(2).outputs["model"]
    assert artifact.state is ArtifactState.DELETED
    text = lineage_text.format_tree(graph.trace_run(metadata, first.id))
    assert "Trainer/model/2" in text and text.count("  removed") == 1
    events = []
    _, execution = _run(root, epochs=1, events=events)
    assert execution.state is State.COMPLETE
    assert execution.outputs["model"][0].path.joinpath("weights").read_text() == "1"
    assert "Source: reused execution 1" in events
    assert not any("damaged" in event or "not reused" in event for event in events)


def test_remains_of_executions_are_removed(root):
    metadata = Metadata(root / "metadata.sqlite")
    with pytest.raises(RuntimeError):
        _run(root, epochs=9, fails=True)
    failed = max(metadata.get_node_states())
    run = metadata.begin("toy", {})
    run.owner = _DEAD
    metadata.end(run, State.RUNNING)
    abandoned = Execution(
        component="Trainer",
        node="Trainer",
        fingerprint="f" * 64,
        code="",
        parameters={},
        inputs={},
        owner=_DEAD,
    )
    metadata.register(abandoned, run)
    remains = {
        f"Trainer/model/{failed}": Reason.UNFINISHED,
        f"Trainer/model/{abandoned.id}": Reason.UNFINISHED,
        f"Trainer/.system/executor_execution/{abandoned.id}": Reason.TEMPORARY,
        "Trainer/.system/executor_execution/2": Reason.TEMPORARY,
        # The database that had it was lost.
        "Trainer/model/999": Reason.NO_EXECUTION,
    }
    for name in remains:
        (root / name).mkdir(parents=True)
        (root / name / "half").write_text("half")
    plan = _pruner(root).plan()
    assert {str(r.path.relative_to(root)): r.reason for r in plan} == remains
    assert _names(root, _prune(root)) == sorted(remains)
    assert not any((root / name).exists() for name in remains)
    assert metadata.get_execution(abandoned.id).state is State.FAILED
    assert len(_list_published(root)) == 4


def test_an_artifact_of_no_run_is_removed(root):
    metadata = Metadata(root / "metadata.sqlite")
    with metadata.transaction() as cursor:
        cursor.execute("DELETE FROM Association WHERE execution_id = 4")
    (removal,) = _prune(root)
    assert (removal.reason, removal.path) == (Reason.NO_RUN, root / "Trainer/model/4")


def test_checkpoints_are_removed_after_a_day_unless_they_are_in_use(tmp_path):
    @component
    def Interrupted(data: Out[Data], state: StatefulDir) -> None:
        (state / "epoch").write_text("1")
        raise RuntimeError("as requested")

    root = tmp_path / "root"
    with pytest.raises(RuntimeError):
        LocalRunner(root, Metadata(root / "metadata.sqlite")).run([Interrupted()])
    (folder,) = root.glob("Interrupted/.system/stateful_working_dir/*")
    assert _prune(root) == []
    yesterday = time.time() - 25 * 3600
    os.utime(folder / "epoch", (yesterday, yesterday))
    # The folder itself is newer.
    assert _prune(root) == []
    os.utime(folder, (yesterday, yesterday))
    pruner = _pruner(root)
    plan = pruner.plan()
    assert [(r.reason, r.path) for r in plan] == [(Reason.CHECKPOINTS, folder)]
    with pruner._root.hold_lock(folder.name):
        assert pruner.remove(plan) == [] and folder.exists()
    assert pruner.remove(plan) == plan and not folder.exists()


def test_only_what_was_listed_is_removed(root):
    pruner = _pruner(root, newest=1)
    plan = pruner.plan()
    _run(root, epochs=4)
    # Now two other artifacts could be removed, and 2 and 4 were confirmed.
    assert _names(root, pruner.remove(plan)) == ["Trainer/model/2", "Trainer/model/4"]
    assert "Trainer/model/6" in _list_published(root)
    plan = pruner.plan()
    assert _names(root, plan) == ["Trainer/model/6"]
    # In between, a run uses it again.
    _run(root, epochs=3)
    assert pruner.remove(plan) == []
    assert "Trainer/model/6" in _list_published(root)


def test_files_of_the_user_and_links_stay(root, tmp_path):
    outside = tmp_path / "user"
    for name in ("1", "model/2", "data/1", "7"):
        (outside / name).mkdir(parents=True)
        (outside / name / "letter.txt").write_text(_TEXT)
    own = ["notes.txt", "Trainer/letter.txt", "Trainer/model/2-backup/weights", "Other/model/3/x"]
    own += [
        "Trainer/model/letter.txt",
        "Trainer/mine/4/x",
        "Trainer/.hidden/77/x",
        "Trainer/x/07/x",
    ]
    for name in own:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(_TEXT)
    # Execution 4 is complete, and has no output "mine".
    (root / "Trainer/model/2/link").symlink_to(outside / "1")
    shutil.rmtree(root / "Trainer/model/4")
    (root / "Trainer/model/4").symlink_to(outside / "model/2")
    (root / "Trainer/model/99").symlink_to(outside / "7")
    (root / "Trainer/.system/executor_execution").mkdir(parents=True, exist_ok=True)
    (root / "Trainer/.system/executor_execution/98").symlink_to(outside / "7")
    (root / "Linked").symlink_to(outside)
    removed = _prune(root, newest=0)
    assert _names(root, removed) == ["Source/data/1", "Trainer/model/2", "Trainer/model/6"]
    assert all((root / name).read_text() == _TEXT for name in own)
    letters = [path.read_text() for path in outside.rglob("letter.txt")]
    assert letters == [_TEXT] * 4 and (root / "Linked").is_symlink()


def test_a_path_out_of_the_root_in_the_metadata_is_not_touched(root, tmp_path):
    (tmp_path / "user/model/2").mkdir(parents=True)
    metadata = Metadata(root / "metadata.sqlite")
    for uri in ("../user/model/2", str(tmp_path / "user/model/2"), "Trainer/../../user/model/2"):
        with metadata.transaction() as cursor:
            cursor.execute("UPDATE Artifact SET uri = ? WHERE uri = 'Trainer/model/2'", (uri,))
            cursor.execute("UPDATE Artifact SET uri = ? WHERE uri = 'Source/data/1'", (".",))
        assert "user" not in str(_names(root, _prune_paths(root)))
        assert (tmp_path / "user/model/2").is_dir() and (root / "metadata.sqlite").is_file()


def _prune_paths(root):
    removed = _prune(root, newest=0)
    return [r for r in removed if r.path.is_relative_to(root)]


def test_a_folder_without_our_database_is_refused(tmp_path):
    with pytest.raises(MetadataError, match="There is no metadata database"):
        _pruner(tmp_path)
    (tmp_path / "metadata.sqlite").write_bytes(b"text")
    with pytest.raises(MetadataError, match="is damaged"):
        _pruner(tmp_path)
    other = tmp_path / "other"
    path = other / "metadata.sqlite"
    Metadata(path)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO Execution (type_id) VALUES (1)")
    connection.close()
    (other / "Trainer/.system").mkdir(parents=True)
    (other / "Trainer/model/7").mkdir(parents=True)
    with pytest.raises(MetadataError, match="1 records of another program"):
        _pruner(other)
    assert (other / "Trainer/model/7").is_dir()


_SCRIPT = """
import os, pathlib, signal, sys, time
from qup.orchestration import *
from qup.orchestration import pruning

class Data(Artifact): ...

@component
def Waiter(data: Out[Data]) -> None:
    print("begun", flush=True)
    time.sleep(60)

root = pathlib.Path(sys.argv[2])
if sys.argv[1] == "wait":
    LocalRunner(root, Metadata(root / "metadata.sqlite")).run([Waiter()])
remove, done = pruning._remove_tree, []
def stop(path):
    if sys.argv[1] == "half":
        next(p for p in path.iterdir() if p.is_file()).unlink()
    if sys.argv[1] in ("half", "before") or len(done) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    remove(path)
    done.append(path)
    if sys.argv[1] == "after" and len(done) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] in ("half", "before", "after"):
    pruning._remove_tree = stop
pruner = pruning.Pruner(root / "metadata.sqlite", pruning.Retention(newest=1))
plan = pruner.plan()
print("planned", flush=True)
if sys.argv[1] == "race":
    sys.stdin.readline()
print(len(pruner.remove(plan)), flush=True)
"""


def _start(mode, root, *arguments):
    """Starts the script on a root whose runs are those of processes that have ended."""
    metadata = Metadata(root / "metadata.sqlite")
    for run in metadata.list_runs():
        run.owner = _DEAD
        metadata.end(run, run.state)
    script = root.parent / "script.py"
    script.write_text(_SCRIPT)
    return subprocess.Popen(
        [sys.executable, script, mode, root, *arguments],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("moment", ["before 0", "half 0", "after 1", "after 2"])
def test_after_a_kill_the_next_removal_completes_it(root, moment):
    process = _start(moment.split()[0], root, moment.split()[1])
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    # A run does not reuse what is half removed.
    _, execution = _run(root, epochs=1)
    assert execution.state is State.COMPLETE
    # Without rules: what was marked goes, and what was not marked yet stays.
    removed = _prune(root)
    assert all(removal.reason is Reason.MARKED for removal in removed)
    numbers = {path.name for path in (root / "Trainer/model").iterdir()}
    assert numbers == {"6", str(execution.id)}
    metadata = Metadata(root / "metadata.sqlite")
    states = [metadata.get_execution(n).outputs["model"][0].state for n in (2, 4)]
    assert states == [ArtifactState.DELETED] * 2
    assert _prune(root) == []


def test_nothing_is_removed_while_a_run_is_active(root):
    process = _start("wait", root)
    try:
        assert process.stdout.readline() == "begun\n"
        plan = [pruning.Removal(root / "Trainer/model/2", Reason.NO_KEPT_RUN, 2)]
        for call in (_pruner(root, newest=1).plan, lambda: _pruner(root).remove(plan)):
            with pytest.raises(StorageError, match=f"process {process.pid} still runs and uses"):
                call()
        assert len(_list_published(root)) == 4
    finally:
        process.kill()
        process.communicate()
    assert "Waiter/.system/executor_execution/7" in _names(root, _prune(root, newest=1))


def _end_by(root, owner, state):
    metadata = Metadata(root / "metadata.sqlite")
    run = metadata.list_runs()[-1]
    run.owner = owner
    metadata.end(run, state)
    return metadata, run


def test_a_living_process_may_read_the_results_of_a_run_that_ended(root):
    _end_by(root, Owner(socket.gethostname(), os.getppid(), ""), State.COMPLETE)
    with pytest.raises(StorageError, match=f"process {os.getppid()} still runs"):
        _pruner(root, newest=1).plan()


def test_a_run_of_another_host_is_active_for_a_day(root):
    metadata, run = _end_by(root, Owner("elsewhere", 1, ""), State.RUNNING)
    with pytest.raises(StorageError, match="process 1 on elsewhere still runs"):
        _pruner(root).plan()
    with metadata.transaction() as cursor:
        cursor.execute("UPDATE Context SET last_update_time_since_epoch = 1")
        for column in ("create", "last_update"):
            cursor.execute(f"UPDATE Execution SET {column}_time_since_epoch = 1")
    assert _pruner(root).plan() == []
    execution = Execution(
        component="Trainer",
        node="Trainer",
        fingerprint="e" * 64,
        code="",
        parameters={},
        inputs={},
        owner=run.owner,
    )
    metadata.register(execution, run)
    with metadata.transaction() as cursor:
        for column in ("create", "last_update"):
            cursor.execute(f"UPDATE Execution SET {column}_time_since_epoch = 1")
    pruner = _pruner(root)
    with (
        pruner._root.hold_lock("e" * 64),
        pytest.raises(StorageError, match="on elsewhere still runs"),
    ):
        pruner.plan()
    _pruner(root).plan()


def test_several_removals_at_once(root):
    processes = [_start("race", root) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "planned\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    counts = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3
    # Each removed it, or saw that it was removed.
    assert counts == [2] * 3
    assert _list_published(root) == ["Source/data/1", "Trainer/model/6"]


@pytest.mark.parametrize("seed", range(4))
def test_kept_runs_are_reused_after_random_removals(tmp_path, seed):
    generator = random.Random(seed)
    root, epochs_of = tmp_path / "root", {}
    for _ in range(12):
        if epochs_of and generator.random() < 0.4:
            kept = generator.sample(sorted(epochs_of), generator.randint(1, len(epochs_of)))
            _prune(root, runs=kept)
            metadata = Metadata(root / "metadata.sqlite")
            for run in kept:
                artifacts = [
                    a
                    for e in metadata.list_executions(run)
                    for group in (*e.inputs.values(), *e.outputs.values())
                    for a in group
                ]
                expected = {a.path.exists() for a in artifacts if a.state is ArtifactState.LIVE}
                assert expected <= {True}
            used = {f"{epochs_of[run]}" for run in kept}
            weights = {p.read_text() for p in root.glob("Trainer/model/*/weights")}
            assert weights <= used
            epochs_of = {run: epochs_of[run] for run in kept}
        else:
            epochs = generator.randint(1, 4)
            run, execution = _run(root, epochs=epochs)
            is_known = epochs in epochs_of.values()
            assert execution.state is (State.CACHED if is_known else State.COMPLETE)
            epochs_of[run] = epochs


def test_sizes_count_a_file_once(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/rows").write_bytes(b"x" * 100_000)
    os.link(tmp_path / "a/rows", tmp_path / "b/rows")
    one = pruning.measure_disk([tmp_path / "a"])
    assert 100_000 <= one < 130_000
    assert pruning.measure_disk([tmp_path / "a", tmp_path / "b"]) < one + 20_000
    assert pruning.measure_disk([tmp_path / "missing"]) == 0
    # The other link keeps the file.
    assert pruning.measure_freed([tmp_path / "a"]) < 20_000
    assert pruning.measure_freed([tmp_path / "a", tmp_path / "b"]) >= 100_000
