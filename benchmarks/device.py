"""Attack and training throughput on whatever device is here, with and without XLA.

    python -m benchmarks.device --csv=docs/results/benchmark-device.csv

PGD-40 and training epochs of a ConvNet on images of MNIST's size and of a ResNet-20 on images of
CIFAR-10's, all drawn at random: a speed needs no data set. Each pair (XLA off, XLA on) runs in
turns, after a run that compiles and is timed apart. A measurement starts only within --minutes; the
last row says which were left out. Rows are added to those of other devices in the file.
"""

import csv
import functools
import pathlib
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging

from benchmarks import tables, timing
from qup import attacks, datasets, models, training
from qup.datasets import Dataset

# Architecture -> (options, image shape).
_NETWORKS = {"convnet": ({}, (28, 28, 1)), "resnet": ({"depth": 20}, (32, 32, 3))}
_NUM_CLASSES, _NUM_STEPS, _EPSILON = 10, 40, 8 / 255
_XLA_MODES = ("off", "on")
_KEYS = ("device", "work", "network", "batch_size", "xla")


def describe_device() -> str:
    """Returns the name of the first GPU, or that of the processor."""
    for device in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(device)
        return details.get("device_name", device.name)
    return timing.describe_machine()


def build_data(image_shape: tuple[int, int, int], num_images: int) -> Dataset:
    """Returns a data set of random images and labels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_images, *image_shape), np.uint8)
    labels = rng.integers(0, _NUM_CLASSES, num_images).astype(np.int64)
    labels[:_NUM_CLASSES] = range(_NUM_CLASSES)
    return datasets.from_arrays(images, labels, train_images=images, train_labels=labels)


def time_pair(
    alternatives: dict[str, Callable[[], None]], rounds: int
) -> Iterator[tuple[str, float, np.ndarray]]:
    """Yields (name, seconds of the first run, float64 [rounds] seconds of the others)."""
    seconds = timing.time_in_turns(alternatives, rounds=rounds + 1)
    for name, times in seconds.items():
        yield name, float(times[0]), times[1:]


def _build_attacks(kind: str, data: Dataset, batch_size: int) -> dict[str, Callable[[], None]]:
    options, _ = _NETWORKS[kind]
    images, labels, _ = data.get_arrays("test")
    images = images.astype(np.float32) / 255
    # Labels that hold, so that every image is attacked for all steps.
    model = models.build(kind, data.info, seed=0, **options)
    labels = np.argmax(model.predict(images, batch_size=batch_size, verbose=0), -1)

    def attack(model: keras.Model, xla: str) -> None:
        attacks.run(
            *("pgd", model, images, labels),
            epsilon=_EPSILON,
            num_steps=_NUM_STEPS,
            keep="last",
            xla=xla,
            batch_size=batch_size,
            fixed_batch=True,
            logs_flags=False,
        )

    return {xla: functools.partial(attack, model, xla) for xla in _XLA_MODES}


def _build_trainings(kind: str, data: Dataset, batch_size: int) -> dict[str, Callable[[], None]]:
    options, _ = _NETWORKS[kind]

    def train(xla: str) -> None:
        model = models.build(kind, data.info, seed=0, **options)
        training.fit(model, data, "standard", epochs=1, batch_size=batch_size, xla=xla)

    return {xla: functools.partial(train, xla) for xla in _XLA_MODES}


_WORK = {"PGD-40": _build_attacks, "training": _build_trainings}


def measure() -> Iterator[dict[str, object]]:
    """Yields a row per work, network, batch size and XLA mode, until the time is over."""
    values = flags.FLAGS
    deadline = time.monotonic() + 60 * values.minutes
    common = {"device": describe_device()}
    for kind in _NETWORKS:
        data = build_data(_NETWORKS[kind][1], values.images)
        for work, build in _WORK.items():
            for batch_size in map(int, values.batch_sizes):
                if time.monotonic() > deadline:
                    logging.warning("Left out: %s, %s, batch %d.", work, kind, batch_size)
                    continue
                for xla, first, times in time_pair(build(kind, data, batch_size), values.rounds):
                    rates = values.images / times
                    yield common | {
                        "work": work,
                        "network": kind,
                        "batch_size": batch_size,
                        "xla": xla,
                        "images": values.images,
                        "rounds": values.rounds,
                        "first_seconds": f"{first:.2f}",
                        "images_per_second": f"{np.median(rates):.1f}",
                        "lowest": f"{rates.min():.1f}",
                        "highest": f"{rates.max():.1f}",
                    }


def write_row(row: dict[str, object], path: pathlib.Path) -> None:
    """Writes a row; an older one of the same measurement is replaced."""
    rows = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            rows = {tuple(old[key] for key in _KEYS): old for old in csv.DictReader(file)}
    rows[tuple(str(row[key]) for key in _KEYS)] = row
    tables.write_csv(path, list(rows.values()), row)


def main(_) -> None:
    """Prints each row when it is measured, and writes it."""
    for row in measure():
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        if flags.FLAGS.csv:
            write_row(row, pathlib.Path(flags.FLAGS.csv))


def define_flags() -> None:
    """Defines the flags when the module is the program; others may import it too."""
    flags.DEFINE_string("csv", None, "CSV file.", flag_values=flags.FLAGS)
    flags.DEFINE_integer("images", 2048, "Images of each run.", flag_values=flags.FLAGS)
    flags.DEFINE_list("batch_sizes", ["128", "512"], "Batch sizes.", flag_values=flags.FLAGS)
    flags.DEFINE_integer("rounds", 3, "Runs that count.", flag_values=flags.FLAGS)
    flags.DEFINE_float("minutes", 10.0, "After which nothing is started.", flag_values=flags.FLAGS)


if __name__ == "__main__":
    define_flags()
    app.run(main)
