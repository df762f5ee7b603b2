"""Ray computes the parts of divided steps: results, killed workers, failures, wrong machines."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import pytest

from qup.core import errors, extras
from qup.core.measurements import read_rows
from qup.orchestration import Code, DividedWork
from qup.pipelines.engines import Engine, ray
from tests import environments
from tests.orchestration import parts_test

_ROOT = pathlib.Path(__file__).parents[3]


class TestWithoutRay:
    def test_the_extra_is_named(self, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(extras.MissingExtraError, match=r"pip install 'qup\[ray\]'"):
            Engine("ray").check()

    def test_the_number_of_parts_is_checked(self):
        with pytest.raises(errors.InputError, match="num_parts"):
            ray.RayParts(num_parts=0)

    @pytest.fixture
    def work(self, tmp_path):
        component = parts_test.Shards
        code = Code().compute_fingerprint(component.fn, {})
        (tmp_path / ray._TOKEN).write_text(code)
        return DividedWork("Shards", component, {}, tmp_path, code, {})

    def test_an_equal_process_may_compute(self, work):
        assert ray._find_obstacle(work, ray.collect_versions(), Code()) == ""

    @pytest.mark.parametrize("name", ["qup", "tensorflow"])
    def test_other_versions_are_refused_with_both(self, work, name):
        versions = ray.collect_versions() | {name: "0.0.1"}
        reason = ray._find_obstacle(work, versions, Code())
        assert f"{name} {ray.collect_versions()[name]} instead of 0.0.1" in reason

    def test_a_folder_that_is_not_shared_is_refused(self, work, tmp_path):
        (tmp_path / ray._TOKEN).unlink()
        reason = ray._find_obstacle(work, ray.collect_versions(), Code())
        assert f"does not see the folder {tmp_path}" in reason

    def test_other_code_is_refused(self, work, tmp_path):
        work = dataclasses.replace(work, code="other")
        (tmp_path / ray._TOKEN).write_text("other")
        assert "other code" in ray._find_obstacle(work, ray.collect_versions(), Code())

    def test_failures_are_named_together(self):
        failures = {3: "No disk.", 1: "No disk.", 7: "Other."}
        text = str(ray._build_failure("DeltaGen", 9, failures))
        assert text.startswith("DeltaGen: 3 of 9 parts failed; the others are kept.")
        assert "1, 3: No disk." in text and "7: Other." in text


_SCRIPT = """
import pathlib, sys, time, threading, os, signal, random
import psutil
from qup.orchestration import LocalRunner, Metadata
from qup.pipelines import run
from qup.pipelines.engines.ray import RayParts
from tests.orchestration import parts_test as p

root, address, num_kills = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
fails = [int(shard) for shard in sys.argv[4:]]
p._NUM_SHARDS = 7
parts = RayParts(None if address == "local" else address, 7)
killed = []

def kill():
    choose = random.Random(0)
    while len(killed) < num_kills:
        time.sleep(0.2)
        workers = [process for process in psutil.process_iter(["cmdline"])
                   if any("ray::compute_part" in word for word in process.info["cmdline"] or ())]
        if workers and (root / "computed").exists():
            worker = choose.choice(workers)
            worker.kill()
            killed.append(worker.pid)
            time.sleep(1.5)

threading.Thread(target=kill, daemon=True).start()
runner = LocalRunner(root, Metadata(root / "metadata.sqlite"), code=run.CODE, engine=parts)
try:
    executions = runner.run(p._build_nodes(pause=0.6, fails=fails))
finally:
    parts.close()
print("KILLED", len(killed))
print((executions["Sink"].outputs["copy"][0].path / "text").read_text())
"""


@pytest.mark.slow
class TestOnRay:
    @pytest.fixture(scope="class")
    def python(self, tmp_path_factory):
        return environments.create(tmp_path_factory.mktemp("ray"), "ray", "psutil")

    def _run(self, python, *arguments):
        return subprocess.run(
            [python, *map(str, arguments)],
            cwd=_ROOT,
            # Otherwise the workers would wait for every other process of the machine.
            env={**os.environ, "PYTHONPATH": str(_ROOT), "RAY_worker_niceness": "0"},
            capture_output=True,
            text=True,
        )

    def test_killed_workers_are_replaced(self, python, tmp_path):
        done = self._run(python, "-c", _SCRIPT, tmp_path, "local", 2)
        assert done.returncode == 0, done.stderr
        killed, text = done.stdout.splitlines()[-2:]
        assert killed == "KILLED 2" and text == parts_test._EXPECTED
        # A kill costs at most the shard that was being computed.
        assert len((tmp_path / "computed").read_text().split()) <= 7 + 2

    def test_parts_that_fail_are_named_and_the_others_are_kept(self, python, tmp_path):
        done = self._run(python, "-c", _SCRIPT, tmp_path, "local", 0, 2, 5)
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-2:]
        assert "2 of 7 parts failed; the others are kept" in " ".join(last)
        assert "shard 2 fails" in " ".join(last)
        computed = sorted(map(int, (tmp_path / "computed").read_text().split()))
        assert computed == [0, 1, 3, 4, 6]

    def test_an_attack_equals_that_of_one_process(self, python, tmp_path):
        flags = ["--dataset=digits", "--smoke", "--attack=pgd", "--batch_size=16"]
        serial = self._run(
            *(sys.executable, "-m", "bin.run_attack", *flags, "--fixed_batch"),
            f"--workdir={tmp_path / 'serial'}",
        )
        assert serial.returncode == 0, serial.stderr
        divided = self._run(
            *(python, "-m", "bin.run_attack", *flags, "--engine=ray", "--num_parts=3"),
            f"--workdir={tmp_path / 'ray'}",
        )
        assert divided.returncode == 0, divided.stderr
        assert " of 3 parts" in divided.stderr
        rows, expected = (
            {row.key(): row for row in read_rows(tmp_path / name / "measurements.csv")}
            for name in ("ray", "serial")
        )
        assert rows == expected

    def test_no_cluster_is_one_line(self, python, tmp_path):
        done = self._run(
            *(python, "-m", "bin.run_attack", "--dataset=digits", "--smoke", "--attack=fgsm"),
            *("--engine=ray", "--ray_address=127.0.0.1:9", f"--workdir={tmp_path / 'x'}"),
        )
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("Error: There is no Ray cluster at 127.0.0.1:9")
        assert "Traceback" not in done.stderr
