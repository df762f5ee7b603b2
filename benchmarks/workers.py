"""Test accuracy and time of a training by several workers, compared with one.

    python -m benchmarks.workers --csv=docs/results/workers.csv

Trains ResNet-20 on the first images of MNIST with `qup train`, then with `qup train-worker` in
several processes of this machine, with the same seeds, and measures the accuracy on all test
images. The workers share the processor: the times say what the exchange costs, and not what a
second machine gains. Trainings in --folder that are complete are not repeated.
"""

import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time

import keras
from absl import app, flags

from benchmarks import tables
from qup import datasets
from qup.robustness.evaluation import evaluate_accuracy

_ROOT = pathlib.Path(__file__).parents[1]
_BATCH_SIZE = 500


def main(argv: list[str]) -> None:
    """Trains what is missing, and writes the rows."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}.")
    folder = pathlib.Path(flags.FLAGS.folder)
    data = datasets.load(flags.FLAGS.dataset)
    rows = []
    for seed in range(flags.FLAGS.seeds):
        for num_workers in (1, flags.FLAGS.workers):
            workdir = folder / f"seed-{seed}-workers-{num_workers}"
            seconds = _train(workdir, seed, num_workers)
            batches = data.evaluation_batches("test", _BATCH_SIZE)
            accuracy = evaluate_accuracy(keras.models.load_model(workdir / "model.keras"), batches)
            row = {"dataset": flags.FLAGS.dataset, "train_size": flags.FLAGS.train_size}
            row |= {"epochs": flags.FLAGS.epochs, "seed": seed, "workers": num_workers}
            row |= {"test_accuracy": accuracy.value, "stderr": accuracy.stderr, "seconds": seconds}
            rows.append(row)
            print(row, flush=True)
    tables.write_csv(flags.FLAGS.csv, rows)
    print(_format_summary(rows))


def _format_summary(rows: list[dict]) -> str:
    """Returns the differences of the accuracies, and the ratios of the times."""
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    gains = [several["test_accuracy"] - one["test_accuracy"] for one, several in pairs]
    ratios = [several["seconds"] / one["seconds"] for one, several in pairs]
    spread = f" ± {statistics.stdev(gains):.2f} (one seed)" if len(gains) > 1 else ""
    return (
        f"Accuracy of {rows[1]['workers']} workers minus that of one: "
        f"{statistics.mean(gains):+.2f}{spread} points, {len(gains)} seeds; time: "
        f"{min(ratios):.1f} to {max(ratios):.1f} times."
    )


def _train(workdir: pathlib.Path, seed: int, num_workers: int) -> float:
    """Trains a network; returns the seconds that it took when it was trained."""
    timing_file = workdir / "seconds.json"
    if timing_file.exists():
        return json.loads(timing_file.read_text())
    program = "train" if num_workers == 1 else "train_worker"
    command = [sys.executable, "-m", f"bin.{program}", f"--workdir={workdir}", f"--seed={seed}"]
    command += [f"--dataset={flags.FLAGS.dataset}", f"--epochs={flags.FLAGS.epochs}"]
    command += [f"--config.dataset.train_size={flags.FLAGS.train_size}"]
    command += ["--model=resnet", "--config.model.depth=20", "--method=standard"]
    command += ["--num_robust_images=1"]
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(num_workers)]
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
    started = time.perf_counter()
    processes = []
    for index in range(num_workers):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(task)}
        processes.append(subprocess.Popen(command, cwd=_ROOT, env=environment))
    statuses = [process.wait() for process in processes]
    if any(statuses):
        raise RuntimeError(f"The training in {workdir} ended with {statuses}.")
    seconds = time.perf_counter() - started
    timing_file.write_text(json.dumps(seconds))
    return seconds


if __name__ == "__main__":
    flags.DEFINE_string("dataset", "mnist", "Data set.")
    flags.DEFINE_integer("train_size", 5000, "Training images, from the first.")
    flags.DEFINE_integer("epochs", 3, "Epochs of each training.")
    flags.DEFINE_integer("seeds", 3, "Trainings, with the seeds 0, 1 and so on.")
    flags.DEFINE_integer("workers", 2, "Number of processes.")
    flags.DEFINE_string("folder", "runs/workers", "Folder of the trainings.")
    flags.DEFINE_string("csv", "workers.csv", "File of the rows.")
    app.run(main)
