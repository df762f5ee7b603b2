"""How well `attacks.cost.estimate_cost` predicts the time and the memory of an attack.

    python -m benchmarks.cost --csv=docs/results/benchmark-cost.csv --document=docs/attacks.md

Each setting runs in a process of its own: first the estimate, then the attack on a copy of the
network, which has no compiled programs yet. Both are in processor seconds, so that other load on
the machine changes neither; the seconds of a clock on the wall are written too. Networks are
trained for one epoch on a part of the data and stored in --folder. With --draw nothing is measured:
the table of --document, between its two comments, is written from the rows of --csv.
"""

import csv
import json
import pathlib
import subprocess
import sys
import time
from typing import Any, NamedTuple

import keras
import numpy as np
from absl import app, flags, logging

from benchmarks import tables, timing
from qup import attacks, datasets, models
from qup.attacks import cost
from qup.core import files

_TITLES = {
    "convnet": "ConvNet",
    "resnet20": "ResNet-20",
    "dense": "64 hidden units",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "digits": "digits",
}
_MODELS = {"convnet": ("convnet", {}), "resnet20": ("resnet", {"depth": 20})}
_TRAIN_IMAGES = {"convnet": 20_000, "resnet20": 5_000, "dense": 1_000}


class Setting(NamedTuple):
    """An attack on a network.

    Attributes:
      dataset: The data set.
      network: ConvNet, ResNet-20, or "dense", one hidden layer of 64 units.
      attack: The attack.
      images: Number of test images.
      options: The budget and the options of the attack.
    """

    dataset: str
    network: str
    attack: str
    images: int
    options: dict[str, Any]


SETTINGS = (
    Setting("mnist", "convnet", "pgd", 1000, {"epsilons": [0.05, 0.1, 0.2], "num_steps": 40}),
    Setting("mnist", "convnet", "autoattack", 200, {"epsilon": 0.1}),
    Setting("mnist", "convnet", "square", 500, {"epsilon": 0.1, "num_queries": 1000}),
    Setting("mnist", "convnet", "carlini_wagner", 100, {"num_steps": 200}),
    Setting("cifar10", "convnet", "autoattack", 500, {"epsilon": 8 / 255}),
    Setting("cifar10", "convnet", "apgd_t", 300, {"epsilons": [1 / 255, 4 / 255]}),
    Setting("cifar10", "convnet", "fab_t", 100, {"epsilon": 1 / 255}),
    Setting("cifar10", "resnet20", "pgd", 200, {"epsilon": 2 / 255, "num_steps": 20}),
    Setting("cifar10", "resnet20", "deepfool", 200, {}),
    Setting("cifar10", "resnet20", "apgd_t", 100, {"epsilon": 8 / 255}),
    Setting("digits", "dense", "autoattack", 300, {"epsilon": 0.1}),
    Setting("digits", "dense", "fab_t", 300, {"epsilon": 0.3, "norm": "l2"}),
)


def load_arrays(name: str, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first images of a split, float32 in [0, 1], and their labels."""
    images, labels, _ = datasets.load(name).get_arrays(split)
    return np.asarray(images[:count], np.float32) / 255, np.asarray(labels[:count])


def load_network(setting: Setting, folder: pathlib.Path) -> keras.Model:
    """Returns the trained network of a setting; trains it at the first call."""
    path = folder / f"{setting.dataset}-{setting.network}.keras"
    if path.exists():
        return keras.models.load_model(path)
    keras.utils.set_random_seed(0)
    info = datasets.load(setting.dataset).info
    if setting.network == "dense":
        layers = [keras.layers.Flatten(), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
        network = keras.Sequential([keras.Input(info.image_shape), *layers])
    else:
        name, options = _MODELS[setting.network]
        network = models.build(name, info, seed=0, **options)
    images, labels = load_arrays(setting.dataset, "train", _TRAIN_IMAGES[setting.network])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss)
    epochs = 10 if setting.network == "dense" else 1
    network.fit(images, labels, batch_size=64, epochs=epochs, verbose=0)
    folder.mkdir(parents=True, exist_ok=True)
    network.save(path)
    return network


def copy_network(network: keras.Model) -> keras.Model:
    """Returns a copy without compiled programs."""
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return copy


def measure(setting: Setting, network: keras.Model) -> dict[str, Any]:
    """Returns the row of a setting: the estimate, and what the attack took."""
    images, labels = load_arrays(setting.dataset, "test", setting.images)
    copy = copy_network(network)
    wall_start = time.perf_counter()
    estimate = cost.estimate_cost(
        setting.attack, network, images, labels, clock=time.process_time, **setting.options
    )
    probe_wall_seconds = time.perf_counter() - wall_start
    start, wall_start = time.process_time(), time.perf_counter()
    results = attacks.run(setting.attack, copy, images, labels, logs_flags=False, **setting.options)
    seconds, wall_seconds = time.process_time() - start, time.perf_counter() - wall_start
    results = results if isinstance(results, list) else [results]
    budgets = setting.options.get("epsilons", [setting.options.get("epsilon")])
    return {
        "dataset": setting.dataset,
        "network": setting.network,
        "attack": setting.attack,
        "epsilon": " ".join("" if value is None else f"{value:.4f}" for value in budgets),
        "images": setting.images,
        "robust_accuracy": " ".join(f"{result.robust_accuracy:.1f}" for result in results),
        "estimated_seconds": round(estimate.seconds, 2),
        "low_seconds": round(estimate.low, 2),
        "high_seconds": round(estimate.high, 2),
        "actual_seconds": round(seconds, 2),
        "factor": round(compute_factor(estimate.seconds, seconds), 3),
        "in_range": int(estimate.low <= seconds <= estimate.high),
        "compile_seconds": round(estimate.compile_seconds, 2),
        "probe_seconds": round(estimate.probe_seconds, 2),
        "probe_wall_seconds": round(probe_wall_seconds, 2),
        "actual_wall_seconds": round(wall_seconds, 2),
        "estimated_megabytes": round(estimate.memory_bytes / 1e6),
        "actual_megabytes": round(cost.measure_peak_memory() / 1e6),
        "machine": timing.describe_machine(),
    }


def compute_factor(estimated: float, actual: float) -> float:
    """Returns by which factor an estimate is wrong, at least 1."""
    return max(estimated / actual, actual / estimated)


def run_setting(number: int) -> dict[str, Any]:
    """Measures a setting in a process of its own."""
    arguments = [f"--setting={number}", f"--folder={flags.FLAGS.folder}"]
    command = [sys.executable, "-m", "benchmarks.cost", *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def summarise(rows: list[dict[str, Any]]) -> str:
    """Returns the median factor, and how many estimates are near and in their range."""
    factors = np.array([float(row["factor"]) for row in rows])
    num_in_range = sum(int(row["in_range"]) for row in rows)
    return (
        f"Median factor {np.median(factors):.2f}, largest {factors.max():.2f}; within 1.5: "
        f"{(factors <= 1.5).sum()} of {len(rows)}; inside the range: {num_in_range} of {len(rows)}"
    )


def write_rows(rows: list[dict[str, Any]], path: str) -> None:
    """Writes the rows as CSV; their numbers are rounded already."""
    tables.write_csv(path, [{key: str(value) for key, value in row.items()} for row in rows])


def read_rows(path: str) -> list[dict[str, Any]]:
    """Reads the rows of `write_rows`."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def format_table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as a Markdown table, with their summary."""
    lines = [
        "| network | attack | images | epsilon | robust accuracy | estimate (range) | took "
        "| factor | memory: estimate, took |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        network = f"{_TITLES[row['network']]}, {_TITLES[row['dataset']]}"
        seconds = "{estimated_seconds} s ({low_seconds} to {high_seconds})".format(**row)
        memory = "{estimated_megabytes}, {actual_megabytes} MB".format(**row)
        epsilon = row["epsilon"].replace(" ", ", ") or "-"
        robust = row["robust_accuracy"].replace(" ", ", ")
        cells = [network, f"`{row['attack']}`", row["images"], epsilon, robust, seconds]
        cells += [f"{row['actual_seconds']} s", row["factor"], memory]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, "", f"({summarise(rows)}.)"])


def write_document(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Replaces the table of a document."""
    text = path.read_text(encoding="utf-8")
    files.write_text(path, tables.replace_table(text, "cost", f"\n{format_table(rows)}\n"))


def main(argv: list[str]) -> None:
    """Measures all settings, or one."""
    del argv
    if flags.FLAGS.setting is not None:
        setting = SETTINGS[flags.FLAGS.setting]
        network = load_network(setting, pathlib.Path(flags.FLAGS.folder))
        print(json.dumps(measure(setting, network)))
        return
    logging.set_verbosity(logging.INFO)
    rows = read_rows(flags.FLAGS.csv) if flags.FLAGS.draw else []
    for number in range(len(rows), len(SETTINGS)):
        rows.append(run_setting(number))
        logging.info("%s", json.dumps(rows[-1]))
        if flags.FLAGS.csv:
            write_rows(rows, flags.FLAGS.csv)
    if flags.FLAGS.document:
        write_document(rows, pathlib.Path(flags.FLAGS.document))
    print(summarise(rows))


def define_flags() -> None:
    """Defines the flags when the module is the program; others may import it too."""
    flags.DEFINE_string("folder", "runs/cost", "Trained networks.", flag_values=flags.FLAGS)
    flags.DEFINE_string("csv", None, "CSV file of the results.", flag_values=flags.FLAGS)
    flags.DEFINE_integer(
        "setting", None, "Runs this setting alone and prints its row.", flag_values=flags.FLAGS
    )
    flags.DEFINE_string(
        "document", None, "Markdown file whose table is replaced.", flag_values=flags.FLAGS
    )
    flags.DEFINE_bool("draw", False, "Writes the table from stored rows.", flag_values=flags.FLAGS)


if __name__ == "__main__":
    define_flags()
    app.run(main)
