"""The cost of cutting an attack into parts: one process, `--part`, and Ray.

    python -m benchmarks.engines --csv=docs/results/benchmark-engines.csv --document=docs/engines.md

Attacks the first 2,560 test images of MNIST (--images) by PGD of 800 steps (--steps), 20 shards of
128, with `python -m bin.run_attack`. The alternatives:

    serial   --fixed_batch, one process
    parts    --part=k/20 for each k in turn, and `qup merge`: every part starts a process
    parts 2  --part=1/2 and --part=2/2 at the same time, and `qup merge`
    ray      --engine=ray --num_parts=20; needs Ray in this environment

Processor seconds are those of the command and of every process below it, with one thread per
process, so that other work on the machine counts little. The classifier was trained before. A row
says whether every measured row equals that of `serial`.
"""

import csv
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence

import psutil
from absl import app, flags

from benchmarks import tables, timing

_NUM_PARTS = 20
_SAMPLE_S = 0.2
_TITLES = {
    "serial": "one process, `--fixed_batch`",
    "parts": f"{_NUM_PARTS} parts, one after the other, and `qup merge`",
    "parts 2": "2 parts at once, and `qup merge`",
    "ray": f"Ray on this machine, {_NUM_PARTS} parts",
}


class ProcessTimes:
    """Processor seconds of a process and of all below it, also of those that have ended."""

    def __init__(self, pid: int):
        """Starts a thread that looks at the processes."""
        self._seconds: dict[tuple[int, float], float] = {}
        self._root = psutil.Process(pid)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopped.wait(_SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        try:
            processes = [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in processes:
            try:
                times = process.cpu_times()
                key = (process.pid, process.create_time())
            except psutil.NoSuchProcess:
                continue
            self._seconds[key] = times.user + times.system

    def stop(self) -> float:
        """Returns the sum."""
        self._stopped.set()
        self._thread.join()
        return sum(self._seconds.values())


def run_commands(commands: Sequence[Sequence[str]], *, at_once: bool) -> tuple[float, float]:
    """Runs commands one after the other or at once; returns (processor, wall) seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    start, seconds, running = time.monotonic(), 0.0, []
    for command in commands:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        running.append((process, ProcessTimes(process.pid)))
        if not at_once:
            seconds += _finish(*running.pop())
    return seconds + sum(_finish(*pair) for pair in running), time.monotonic() - start


def _finish(process: subprocess.Popen, times: ProcessTimes) -> float:
    status = process.wait()
    seconds = times.stop()
    if status:
        raise RuntimeError(f"{' '.join(process.args)} ended with status {status}.")
    return seconds


def _read_rows(workdir: pathlib.Path) -> set[tuple[str, ...]]:
    with (workdir / "measurements.csv").open(encoding="utf-8", newline="") as file:
        return set(map(tuple, csv.reader(file)))


def format_table(rows: Sequence[dict[str, object]]) -> str:
    """Returns the rows as a table of Markdown."""
    first = rows[0]
    lines = [
        f"PGD of {first['steps']} steps on {first['images']:,} test images of MNIST, {_NUM_PARTS} "
        "shards, one thread per process, one run each "
        f"({first['machine']}; `python -m benchmarks.engines`):",
        "",
        "| | processor seconds | ratio | wall seconds | rows equal |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {_TITLES[str(row['alternative'])]} | {row['processor_seconds']} | {row['ratio']} "
        f"| {row['wall_seconds']} | {'yes' if row['equal'] else '**no**'} |"
        for row in rows
    ]
    return "\n".join(lines)


def _build_alternatives(
    workdir: pathlib.Path, model_path: pathlib.Path
) -> dict[str, Callable[[], tuple[float, float]]]:
    values = flags.FLAGS
    attack = [
        *("bin.run_attack", "--dataset=mnist", f"--model_path={model_path}"),
        *("--attack=pgd", "--epsilon=0.1"),
        *(f"--options=pgd.num_steps={values.steps}", f"--num_images={values.images}"),
        f"--workdir={workdir}",
    ]
    merge = ["bin.merge", str(workdir)]

    def run_parts(count: int, at_once: bool) -> tuple[float, float]:
        commands = [[*attack, f"--part={k}/{count}"] for k in range(1, count + 1)]
        pairs = [run_commands(commands, at_once=at_once), run_commands([merge], at_once=False)]
        seconds, wall = (sum(column) for column in zip(*pairs, strict=True))
        return seconds, wall

    return {
        "serial": lambda: run_commands([[*attack, "--fixed_batch"]], at_once=False),
        "parts": lambda: run_parts(_NUM_PARTS, at_once=False),
        "parts 2": lambda: run_parts(2, at_once=True),
        "ray": lambda: run_commands(
            [[*attack, "--engine=ray", f"--num_parts={_NUM_PARTS}"]], at_once=False
        ),
    }


def main(_) -> None:
    """Runs the alternatives in turn and writes a row for each."""
    values = flags.FLAGS
    folder = pathlib.Path(tempfile.mkdtemp(prefix="qup-engines-"))
    training = ["bin.train", "--dataset=mnist", "--epochs=1", f"--workdir={folder / 'train'}"]
    run_commands([training], at_once=False)
    (model_path,) = (folder / "train").glob("*.keras")
    rows, expected, serial = [], None, None
    for name in values.alternatives:
        workdir = folder / name.replace(" ", "-")
        seconds, wall = _build_alternatives(workdir, model_path)[name]()
        measured = _read_rows(workdir)
        expected, serial = expected or measured, serial or seconds
        rows.append(
            {
                "alternative": name,
                "images": values.images,
                "steps": values.steps,
                "processor_seconds": f"{seconds:.1f}",
                "ratio": f"{seconds / serial:.3f}",
                "wall_seconds": f"{wall:.1f}",
                "equal": measured == expected,
                "machine": timing.describe_machine(),
            }
        )
        print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
        if values.csv:
            tables.write_csv(pathlib.Path(values.csv), rows, rows[0])
    if values.document:
        document = pathlib.Path(values.document)
        text = tables.replace_table(document.read_text("utf-8"), "engines", format_table(rows))
        document.write_text(text, "utf-8")
    shutil.rmtree(folder)


if __name__ == "__main__":
    flags.DEFINE_string("csv", None, "CSV file to write.")
    flags.DEFINE_string("document", None, "Document whose table is replaced.")
    flags.DEFINE_integer("images", 2560, "Number of test images.")
    flags.DEFINE_integer("steps", 800, "Steps of PGD.")
    flags.DEFINE_list(
        "alternatives", ["serial", "parts", "parts 2", "ray"], "What to measure; serial first."
    )
    app.run(main)
