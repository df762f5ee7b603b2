"""Kills, signals, rivals, full disks and damage: the end is as undisturbed."""

import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from qup.orchestration import MetadataReader, State

_ROOT = pathlib.Path(__file__).parents[2]
# Three shards, two epochs of each network, half a minute.
_FLAGS = (
    "--smoke",
    "--config.dataset.train_size=400",
    "--config.translator.width=4",
    "--config.dataset.test_size=100",
    "--config.augmentation.batch_size=100",
    "--config.translator.epochs=2",
    "--config.attack.check_steps=0",
)
_KILL, _TERM, _INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
signal.signal(_INT, signal.default_int_handler)  # Jobs behind "&" ignore it.
# Numbers of executions and checkpoints, and names of events.
_VARYING = re.compile(r"(^pipeline(?:/[^/]+){2})/\d+|-\d\.|events\.out.*")


def _run(workdir, number=_KILL, line="\0", after=900, prefix=()):
    """Runs the command; sends `number` at a line or after some seconds."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "bin.run_ifa", *_FLAGS, f"--workdir={workdir}"],
        cwd=_ROOT,
        text=True,
        errors="replace",
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    timer, err = threading.Timer(after, os.killpg, (process.pid, number)), ""
    timer.start()
    for text in process.stderr:
        err += text
        if line in text:
            os.killpg(process.pid, number)
    timer.cancel()
    return process.wait(), process.stdout.read(), err


def _check(end, workdir, whole, tidy=True):
    """Asserts that a run ended well; with `tidy`, that nothing is left."""
    tables = [w / "measurements.csv" for w in (workdir, whole)]
    assert end[0] == 0 and len({p.read_bytes() for p in tables}) == 1, end
    if not tidy:
        return
    root, complete, live = (workdir / "pipeline").resolve(), [], set()
    metadata = MetadataReader(root / "metadata.sqlite")
    for number, (node, state) in metadata.get_node_states().items():
        if state is State.COMPLETE:
            complete += [node] * (not node.startswith("Pusher"))
            held = metadata.get_execution(number).outputs.values()
            live |= {a.path for (a,) in held if a.state.name == "LIVE"}
    assert complete and len(complete) == len(set(complete)), complete
    assert set(root.glob("[!.]*/[!.]*/*")) == live
    assert not [*root.glob("*/.system/*/*"), *root.glob(".system/*/*")]
    assert not metadata.list_unfinished() and not [*workdir.rglob(".*-*-*")]
    names, wanted = (
        {_VARYING.sub(r"\1", str(p.relative_to(w))) for p in w.rglob("*")} for w in (workdir, whole)
    )
    assert names == wanted


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Undisturbed: workdir, seconds, stderr. Two at a time, as the kills."""
    start, folder = time.monotonic(), tmp_path_factory.mktemp("whole")
    with ThreadPoolExecutor(2) as pool:
        ends = [*pool.map(_run, [folder / "a", folder / "b"])]
    _check(ends[0], folder / "a", folder / "b")
    return folder / "b", time.monotonic() - start, ends[1][2]


def _kill(workdir, moments, whole):
    """Kills the run at each moment, then lets it finish; counts the kills."""
    said = []
    for after in (*moments, 900):
        walked = {path.name for path in workdir.rglob("shard-*.npz")}
        said.append((end := _run(workdir, after=after))[2])
        told = re.findall("(.) of 3 shards to compute", end[2])
        assert told in ([], [str(3 - len(walked))])
        if end[0] != -_KILL:
            break
    _check(end, workdir, whole[0])
    # Lines of progress have "epoch 1/2".
    epochs = (r"class.*: epoch \d+:", r"trans.*: epoch \d+:")
    for line in (*epochs, r"[^P].*: execution \d+$"):
        counts = [len(re.findall(f"^{line}", e, re.M)) for e in said]
        again = sum(counts) - len(re.findall(f"^{line}", whole[2], re.M))
        assert 0 <= again < len(said), (line, said)
    return len(said) - 1


@pytest.mark.parametrize(
    "count",
    [pytest.param(3, marks=pytest.mark.slow), pytest.param(30, marks=pytest.mark.exhaustive)],
)
def test_kills_at_any_moment_cost_a_step_each(whole, count, tmp_path):
    plans = [[whole[1] * (n + 0.5) / count] for n in range(count)[::-1]]
    in_turn = min(count, 8)
    plans.insert(0, [whole[1] * (0.3 + 0.03 * n) for n in range(in_turn)])
    with ThreadPoolExecutor(2) as pool:
        folders = [tmp_path / str(n) for n in range(len(plans))]
        kills = [*pool.map(_kill, folders, plans, [whole] * len(plans))]
    assert kills[0] > 1 and sum(kills[1:]) >= count / 2, kills


def _check_told(end, code, last):
    lines = end[2].splitlines()
    told = [x for x in lines if re.match("Error:|Interrupted|Traceback", x)]
    assert (end[0], told) == (code, lines[-1:]) and re.match(last, told[0]), end


def _stop(workdir, number, what):
    """Stops a training; asserts a checkpoint from within its second epoch."""
    end = _run(workdir, number, f"{what}: epoch 1:")
    _check_told(end, 128 + number, "Interrupted. (.* kept. )?Run the same command to resume.$")
    assert f"{what}: epoch 2:" not in end[2]
    assert len([*workdir.glob("**/stateful_*/*/*/ckpt-2.index")]) == 1


@pytest.mark.slow
def test_a_stop_within_an_epoch_is_quiet_and_costs_nothing(tmp_path):
    _stop(tmp_path, _TERM, "classifier")
    end = _run(tmp_path, _INT, "Trainer.epoch-2: complete")
    _check_told(end, 128 + _INT, "Interrupted")
    assert re.findall("^classifier: epoch (.):", end[2], re.M) == ["2"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("first,second", [(_TERM, _INT), (_INT, _TERM)])
def test_stopped_trainings_end_alike(whole, first, second, tmp_path):
    _stop(tmp_path, first, "classifier")
    _stop(tmp_path, second, "translator/epoch-2")
    end = _run(tmp_path)
    _check(end, tmp_path, whole[0])
    assert re.findall("^translator.*: epoch (.):", end[2], re.M) == ["2"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("line", ["\0", "translator/epoch-2: epoch 1:"])
def test_rivals_share_the_work_and_one_may_die(whole, line, tmp_path):
    # With a line, the one ahead is killed there; the other takes over.
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(_run, tmp_path, _KILL, line)
        time.sleep(1)
        a, b = _run(tmp_path), ahead.result()
    _check(a, tmp_path, whole[0])
    assert b[:2] == (0, a[1]) or (line != "\0" and b[0] == -_KILL), b
    assert re.search("waiting for|: reused", a[2] + b[2])


@pytest.mark.exhaustive
@pytest.mark.parametrize("size", [600, 5000])
def test_a_full_disk_and_a_closed_one_cost_nothing(whole, size, tmp_path):
    disk, inside = tmp_path / "Läufe im März, 走る", []
    disk.mkdir()
    mount = f"mount -t tmpfs -o size={size}k none '{disk}' && echo && exec cat"
    with subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", mount], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        limit = ["sh", "-c", f'ulimit -f {size // 4}; exec "$@"', "-"]
        if holder.stdout.readline():  # Otherwise mounting is refused here.
            inside = [
                "nsenter",
                "-U",
                "-m",
                "--preserve-credentials",
                f"--wd={_ROOT}",
                "-t",
                str(holder.pid),
            ]
        for step in ("remount,rw", "remount,ro", "remount,rw,size=60m"):
            if inside:
                subprocess.check_call([*inside, "mount", "-o", step, disk])
            room, copy = "size" in step, tmp_path / step
            end = _run(disk, prefix=inside or ([] if room else limit))
            subprocess.check_call([*inside, "cp", "-aT", disk, copy])
            base = sqlite3.connect(copy / "pipeline" / "metadata.sqlite")
            assert [*base.execute("PRAGMA integrity_check")] == [("ok",)]
            if not room:
                _check_told(end, 1, "Error: Cannot (use|write)")
    _check(end, copy, whole[0])


@pytest.mark.exhaustive
def test_damage_is_told_and_made_good(whole, tmp_path):
    subprocess.check_call(["cp", "-aT", whole[0], tmp_path])
    root = tmp_path / "pipeline"
    for node, name in (
        ("DeltaGen.epoch-2", "deltas/4/shard-00001-of-00003.npz"),
        ("Trainer.epoch-2", "model/2/model.keras"),
    ):
        path = root / node / name
        os.truncate(path, path.stat().st_size // 2)
        end = _run(tmp_path)
        _check(end, tmp_path, whole[0], tidy=False)
        assert f"{node}: not reused: {path} has" in end[2]
        assert f"{node}: execution" in end[2]
    damaged = b"\xff" * 200 + (root / "metadata.sqlite").read_bytes()[200:]
    (root / "metadata.sqlite").write_bytes(damaged)
    _check_told(_run(tmp_path), 1, "Error: .* renamed to metadata.*corrupt-1;")
    assert (root / "metadata.sqlite.corrupt-1").read_bytes() == damaged
    _check(_run(tmp_path), tmp_path, whole[0], tidy=False)
