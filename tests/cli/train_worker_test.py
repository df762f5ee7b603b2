"""qup train-worker: two processes, what ends them, how they resume, and what is refused."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from tests.training.workers_test import build_tasks

_ROOT = pathlib.Path(__file__).parents[2]
_ARGUMENTS = ("--dataset=digits", "--config.dataset.train_size=384", "--config.model.width=0.25")
_ARGUMENTS += ("--config.training.batch_size=32", "--num_robust_images=20", "--epsilon=0.1")
_WAIT_S = 200


def _start(workdir, tasks, *arguments, others=()):
    """Starts a process per task; `others` are further arguments of the last one."""
    processes = []
    for index, task in enumerate(tasks):
        environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1"}
        environment.pop("TF_CONFIG", None)
        if task is not None:
            environment["TF_CONFIG"] = task if isinstance(task, str) else json.dumps(task)
        command = [sys.executable, "-m", "bin.train_worker", *_ARGUMENTS, f"--workdir={workdir}"]
        command += [*arguments, *(others if index == len(tasks) - 1 else ())]
        with open(f"{workdir}-{index}.log", "w") as log:
            process = subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=log, stderr=log)
        processes.append(process)
    return processes


def _wait(processes, workdir):
    """Returns the exit statuses and the outputs."""
    try:
        statuses = [process.wait(_WAIT_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return statuses, [
        pathlib.Path(f"{workdir}-{index}.log").read_text() for index in range(len(processes))
    ]


def _wait_for_epoch(workdir, epoch):
    limit = time.monotonic() + _WAIT_S
    log = pathlib.Path(f"{workdir}-0.log")
    while f"epoch {epoch}: " not in log.read_text():
        assert time.monotonic() < limit, log.read_text()
        time.sleep(0.05)


def _read_weights(workdir):
    return keras.models.load_model(workdir / "model.keras").get_weights()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Returns the folder of a training of two workers that was not interrupted."""
    workdir = tmp_path_factory.mktemp("workers") / "whole"
    processes = _start(workdir, build_tasks(), "--method=pgd_at", "--epochs=6")
    statuses, logs = _wait(processes, workdir)
    assert statuses == [0, 0], logs
    return workdir


@pytest.mark.slow
def test_the_chief_writes_the_results(whole):
    assert {path.name for path in whole.iterdir()} == {
        *("model.keras", "history.csv", "curves.png", "training.json", "checkpoints"),
        *("tensorboard", ".qup.lock"),
    }
    worker = whole / "checkpoints" / "worker-1"
    assert {path.suffix for path in worker.iterdir()} <= {"", ".index", ".json", *_DATA_SUFFIXES}
    chief, other = (pathlib.Path(f"{whole}-{index}.log").read_text() for index in range(2))
    assert f"--model_path={whole}/model.keras" in chief and "Model " not in other
    assert "Worker 1 has trained; the results are those of worker 0." in other


_DATA_SUFFIXES = (".data-00000-of-00001",)


@pytest.mark.slow
def test_one_process_trains_nearly_the_same_network(whole, tmp_path):
    command = [sys.executable, "-m", "bin.train", *_ARGUMENTS, "--method=pgd_at", "--epochs=6"]
    command += [f"--workdir={tmp_path / 'one'}"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [
        np.genfromtxt(folder / "history.csv", delimiter=",", names=True)
        for folder in (whole, tmp_path / "one")
    ]
    np.testing.assert_allclose(rows[0]["loss"], rows[1]["loss"], rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "victim"), [(signal.SIGKILL, 1), (signal.SIGKILL, 0), (signal.SIGSTOP, 1)]
)
def test_a_lost_worker_ends_all_and_the_same_command_resumes(whole, tmp_path, number, victim):
    workdir = tmp_path / "run"
    arguments = ("--method=pgd_at", "--epochs=6")
    processes = _start(workdir, build_tasks(), *arguments)
    try:
        _wait_for_epoch(workdir, 2)
        processes[victim].send_signal(number)
        lost = time.monotonic()
        assert processes[1 - victim].wait(60) == 1
        assert time.monotonic() - lost < 30
    finally:
        processes[victim].kill()
        _, logs = _wait(processes, workdir)
    last = logs[1 - victim].splitlines()[-1]
    assert re.match(r"Error: (A worker|Worker \d) has ended or does not answer", last), last
    assert f"python -m bin.train_worker {' '.join(_ARGUMENTS)} --workdir={workdir}" in last
    assert "Traceback" not in logs[1 - victim]
    assert not (workdir / "model.keras").exists()

    processes = _start(workdir, build_tasks(), *arguments)
    statuses, logs = _wait(processes, workdir)
    assert statuses == [0, 0], logs
    assert "epoch 1: " not in logs[0]
    for one, other in zip(_read_weights(workdir), _read_weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (workdir / "history.csv").read_text() == (whole / "history.csv").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_one_worker_stops_all(whole, tmp_path, number, status):
    workdir = tmp_path / "run"
    arguments = ("--method=pgd_at", "--epochs=6")
    processes = _start(workdir, build_tasks(), *arguments)
    try:
        _wait_for_epoch(workdir, 1)
        processes[1].send_signal(number)
    finally:
        statuses, logs = _wait(processes, workdir)
    assert statuses == [status, status]
    assert all(log.endswith("Interrupted. Run the same command to resume.\n") for log in logs)
    statuses, logs = _wait(_start(workdir, build_tasks(), *arguments), workdir)
    assert statuses == [0, 0], logs
    for one, other in zip(_read_weights(workdir), _read_weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("others", "message"),
    [
        (["--seed=1"], "Worker 1 has another setting seed than worker 0: '1', '0'."),
        (["--epochs=2"], "Worker 1 has another setting epochs than worker 0: "),
        (["--method=trades"], "Worker 1 has another setting method than worker 0: "),
    ],
)
def test_other_settings_are_one_line(tmp_path, others, message):
    workdir = tmp_path / "run"
    statuses, logs = _wait(_start(workdir, build_tasks(), "--epochs=1", others=others), workdir)
    assert statuses == [1, 1]
    for log in logs:
        assert log.splitlines()[-1].startswith(f"Error: {message}"), log
        assert "Traceback" not in log
    assert not workdir.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        (None, [], "The environment variable TF_CONFIG is not set."),
        ("{", [], "TF_CONFIG cannot be used: it is not JSON"),
        (0, ["--start_timeout=1"], "Worker 1 at 127.0.0.1:.* has not started in time."),
        (1, ["--start_timeout=1"], "Worker 0 cannot be reached at 127.0.0.1:.*"),
        (0, ["--strategy=mirrored"], "train-worker connects processes; .*--strategy=mirrored."),
    ],
)
def test_workers_that_cannot_start_say_so_in_one_line(tmp_path, task, arguments, message):
    workdir = tmp_path / "run"
    task = build_tasks()[task] if isinstance(task, int) else task
    statuses, (log,) = _wait(_start(workdir, [task], *arguments), workdir)
    assert statuses == [1]
    assert re.match(f"Error: {message}", log.splitlines()[-1]), log
    assert "Traceback" not in log and not workdir.exists()
