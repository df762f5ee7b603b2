"""`--part` and `qup merge`: processes in one folder, kills, and the files for schedulers."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import yaml

from qup.cli import engines, merge
from qup.core import errors
from qup.pipelines.engines import Engine

_ROOT = pathlib.Path(__file__).parents[2]
_CLUSTER = _ROOT / "configs" / "cluster"
_FLAGS = ("--dataset=digits", "--smoke")


def _start(name, *arguments, **variables):
    return subprocess.Popen(
        [sys.executable, "-m", f"bin.{name}", *map(str, arguments)],
        cwd=_ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out, err


def _read_rows(workdir):
    with open(workdir / "measurements.csv", newline="") as file:
        return sorted(map(tuple, csv.reader(file)))


@pytest.mark.slow
def test_two_processes_with_kills_give_the_results_of_one(tmp_path):
    attack = (*_FLAGS, "--attack=apgd_ce,deepfool", "--batch_size=8")
    _finish(_start("run_attack", *attack, "--fixed_batch", f"--workdir={tmp_path / 'one'}"))
    shared = (*attack, f"--workdir={tmp_path / 'shared'}")
    killed, other = (_start("run_attack", *shared, f"--part={k}/2") for k in (1, 2))
    shards = tmp_path / "shared" / "pipeline"
    deadline = time.monotonic() + 300
    # Killed while it attacks: some shards are there, others not.
    while len(list(shards.glob("*/.system/stateful_working_dir/*/shards/*.npz"))) < 3:
        assert time.monotonic() < deadline and killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    out, _ = _finish(other)
    assert "Part 2/2 is complete" in out and f"bin.merge {tmp_path / 'shared'}" in out
    # What the killed one has left is computed by its second start, or by the merge.
    out, _ = _finish(_start("run_attack", *shared, "--part=auto/2", JOB_COMPLETION_INDEX="0"))
    assert "Part 1/2 is complete" in out
    _finish(_start("merge", tmp_path / "shared"))
    assert _read_rows(tmp_path / "shared") == _read_rows(tmp_path / "one")
    result = json.loads((tmp_path / "shared" / "result.json").read_text("utf-8"))
    assert "--part" not in result["command"] and "--fixed_batch" in result["command"]
    # A part that comes too late has nothing left to compute.
    out, _ = _finish(_start("run_attack", *shared, "--part=1/2"))
    assert "robust accuracy" in out


@pytest.mark.slow
def test_the_pipeline_of_the_paper_in_two_parts(tmp_path):
    _finish(_start("run_ifa", *_FLAGS, f"--workdir={tmp_path / 'one'}"))
    shared = (*_FLAGS, f"--workdir={tmp_path / 'shared'}")
    for process in [_start("run_ifa", *shared, f"--part={k}/2") for k in (1, 2)]:
        out, _ = _finish(process)
        assert "is complete" in out
    _finish(_start("merge", tmp_path / "shared"))
    assert _read_rows(tmp_path / "shared") == _read_rows(tmp_path / "one")


class TestFlags:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--part=4/3"], "1 <= k <= n"),
            (["--part=auto"], "SLURM_ARRAY_TASK_ID"),
            (["--part=1/2", "--engine=ray"], "--part is an option of --engine=local"),
            (["--num_parts=3"], "--num_parts is an option of --engine=ray"),
            (["--engine=tfx-local"], "value should be one of <local|ray>"),
        ],
    )
    def test_wrong_flags_are_one_line(self, arguments, message, tmp_path):
        process = _start("run_attack", *_FLAGS, *arguments, f"--workdir={tmp_path / 'x'}")
        _, err = process.communicate(timeout=120)
        assert process.returncode == 1 and message in err and "Traceback" not in err
        assert not (tmp_path / "x").exists()

    def test_the_command_of_the_whole_has_no_part(self, monkeypatch):
        for arguments in (["--part=1/3", "--x"], ["--part", "1/3", "--x"], ["--x", "-part=1/3"]):
            monkeypatch.setattr(sys, "argv", ["qup ifa", *arguments])
            assert engines._format_whole_command() == "qup ifa --x"

    def test_a_part_is_stored_as_numbers(self):
        assert Engine("local", {"part": "2/3"}).part.number == 2
        assert Engine("local", {"part": "2/3"}).is_divided
        assert not Engine("local").is_divided and Engine("ray").is_divided


class TestMerge:
    def test_a_folder_without_parts_is_refused(self, tmp_path):
        with pytest.raises(errors.InputError, match=r"has no parts\.json"):
            merge._choose_record(tmp_path, None)

    @pytest.mark.parametrize(
        "content", ["", "[]", "{}", '{"commands": []}', '{"commands": [{"command": "x"}]}', "\x00"]
    )
    def test_a_damaged_record_is_refused(self, content, tmp_path):
        (tmp_path / "parts.json").write_text(content)
        with pytest.raises(errors.InputError, match=r"is damaged.*without --part"):
            merge._choose_record(tmp_path, None)

    def test_one_of_several_commands_must_be_chosen(self, tmp_path):
        records = [
            {"command": f"qup attack --attack={name}", "folder": "/", "environment": {}}
            for name in ("pgd", "fab")
        ]
        (tmp_path / "parts.json").write_text(json.dumps({"commands": records}))
        with pytest.raises(errors.InputError, match=r"2 commands.*--attack=pgd.*--attack=fab"):
            merge._choose_record(tmp_path, None)
        assert merge._choose_record(tmp_path, "qup attack --attack=fab") == records[1]

    @pytest.mark.parametrize(
        ("words", "name"),
        [
            (["qup", "attack", "--x"], "attack"),
            (["python", "-m", "bin.run_attack"], "attack"),
            (["python", "-m", "bin.reproduce"], "reproduce"),
        ],
    )
    def test_the_command_is_found(self, words, name):
        assert merge._find_command(words) == name

    @pytest.mark.parametrize("words", [["rm", "-r", "x"], ["qup", "other"], ["qup"]])
    def test_another_program_is_never_run(self, words):
        with pytest.raises(errors.InputError, match="unknown command"):
            merge._find_command(words)


class TestSchedulers:
    def test_the_kubernetes_job_has_as_many_parts_as_indices(self):
        (job,) = yaml.safe_load_all((_CLUSTER / "attack-job.yaml").read_text("utf-8"))
        assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
        spec = job["spec"]
        assert spec["completionMode"] == "Indexed"
        (container,) = spec["template"]["spec"]["containers"]
        assert f"--part=auto/{spec['completions']}" in container["args"]
        assert container["command"] == ["qup", "attack"]
        # Every pod writes into the volume.
        (mount,) = container["volumeMounts"]
        workdir = next(a for a in container["args"] if a.startswith("--workdir="))
        assert workdir.removeprefix("--workdir=").startswith(mount["mountPath"])

    def test_the_array_of_slurm_runs_every_part_once(self, tmp_path):
        fake = tmp_path / "qup"
        fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        fake.chmod(0o755)
        script = _CLUSTER / "attack.sbatch"
        (array,) = [
            line for line in script.read_text("utf-8").splitlines() if "SBATCH --array=" in line
        ]
        first, last = map(int, array.partition("=")[2].split("-"))
        numbers = set()
        for index in (first, last):
            environment = {**os.environ, "QUP": str(fake), "SLURM_ARRAY_TASK_ID": str(index)}
            done = subprocess.run(
                ["bash", str(script), "--batch_size=64"],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            arguments = done.stdout.split()
            assert arguments[0] == "attack" and arguments[-1] == "--batch_size=64"
            part = next(a for a in arguments if a.startswith("--part=")).partition("=")[2]
            assert part == f"auto/{last - first + 1}"
            numbers.add(index % (last - first + 1) + 1)
        assert numbers == {1, last - first + 1}
