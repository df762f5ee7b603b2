"""Accuracy, robust accuracy and cost of the methods of `training.fit`.

    python -m benchmarks.training_methods --csv=docs/results/training-methods.csv \
        --speed_csv=docs/results/training-speed.csv --document=docs/training.md

Trains a ConvNet on the first images of MNIST and of CIFAR-10 by every method, with equal settings,
and attacks the first test images with PGD-40. Then it times training steps of every method in
turns, in processor seconds: a step of all methods, then the next one, after a round in which they
compile.

Networks and results are stored in --folder; an interrupted run resumes. With --draw nothing is
measured: files and tables are written from the stored results.
"""

import json
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from absl import app, flags, logging

from benchmarks import tables, timing
from qup import attacks, datasets, models, training
from qup.core import files
from qup.core.measurements import compute_accuracy
from qup.core.numbers import format_epsilon
from qup.training.adversarial import build_adversary
from qup.training.classifier import ClassifierLearner
from qup.training.precision import MixedPrecisionCall

METHODS = ("standard", "pgd_at", "trades", "mart", "free", "fast")
_TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "digits": "digits"}
_MODEL_TITLES = {"convnet": "ConvNet", "resnet": "ResNet-20"}
_BATCH_SIZE, _ATTACK_STEPS = 128, 40


class Setting(NamedTuple):
    """A data set and the settings that all methods share.

    Attributes:
      epsilon: Radius in L-inf.
      train_size: Training images, from the first.
      validation_size: Images of these that are held out.
      epochs: Number of epochs.
      warmup_epochs: See `training.fit`.
      num_attacked: Test images, from the first.
    """

    epsilon: float
    train_size: int
    validation_size: int
    epochs: int
    warmup_epochs: float
    num_attacked: int


SETTINGS = {
    "mnist": Setting(0.1, 15_000, 1000, 5, 2, 1000),
    "cifar10": Setting(8 / 255, 15_000, 1000, 8, 2, 1000),
    "digits": Setting(0.1, 1200, 100, 1, 0, 30),
}
# (data set, model, options) of the comparison of speed.
_SPEED_NETWORKS = {
    "mnist": (("convnet", {}),),
    "cifar10": (("convnet", {}), ("resnet", {"depth": 20})),
    "digits": (("convnet", {}),),
}


def main(argv: list[str]) -> None:
    """Measures what is missing, and writes the files."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}.")
    folder = pathlib.Path(flags.FLAGS.folder)
    rows, speed_rows = [], []
    for name in flags.FLAGS.settings:
        for method in METHODS:
            for seed in range(flags.FLAGS.seeds):
                path = folder / f"{name}-{method}-{seed}.json"
                rows += _load_or_measure(path, lambda a=(name, method, seed, folder): [_train(*a)])
        for model, options in _SPEED_NETWORKS[name]:
            path = folder / f"{name}-{model}-speed.json"
            speed_rows += _load_or_measure(path, lambda a=(name, model, options): _time(*a))
    texts = format_accuracies(rows), format_speeds(speed_rows)
    print(*texts, sep="\n\n")
    for path, content in ((flags.FLAGS.csv, rows), (flags.FLAGS.speed_csv, speed_rows)):
        if path and content:
            rows_with_machine = [{**row, "machine": timing.describe_machine()} for row in content]
            tables.write_csv(path, rows_with_machine)
    if flags.FLAGS.document:
        path = pathlib.Path(flags.FLAGS.document)
        text = path.read_text("utf-8")
        for title, table in zip(("accuracies", "speeds"), texts, strict=True):
            text = tables.replace_table(text, title, table)
        files.write_text(path, text)


def _load_or_measure(path: pathlib.Path, measure: Callable[[], list[dict]]) -> list[dict]:
    """Returns stored rows; measures and stores them first if they are missing."""
    if path.exists():
        return json.loads(path.read_text("utf-8"))
    if flags.FLAGS.draw:
        return []
    logging.info("%s", path.stem)
    rows = measure()
    files.write_text(path, json.dumps(rows, indent=1))
    return rows


def _train(name: str, method: str, seed: int, folder: pathlib.Path) -> dict[str, Any]:
    """Trains one network; returns its row."""
    setting = SETTINGS[name]
    data = datasets.load(
        name, train_size=setting.train_size, validation_size=setting.validation_size
    )
    model = models.build("convnet", data.info, seed=seed)
    path = folder / f"{name}-{method}-{seed}.keras"
    warmup_epochs = 0 if method == "standard" else setting.warmup_epochs
    start = time.process_time()
    history = training.fit(
        model,
        data,
        method,
        epsilon=setting.epsilon,
        epochs=setting.epochs,
        batch_size=_BATCH_SIZE,
        warmup_epochs=warmup_epochs,
        num_robust_images=200,
        seed=seed,
    )
    minutes = (time.process_time() - start) / 60
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    images, labels, _ = data.get_arrays("test")
    images = images.astype(np.float32) / 255
    correct = np.argmax(model.predict(images, batch_size=500, verbose=0), -1) == labels
    count = setting.num_attacked
    result = attacks.run(
        "pgd",
        model,
        images[:count],
        labels[:count],
        epsilon=setting.epsilon,
        num_steps=_ATTACK_STEPS,
        keep="first_adversarial",
    )
    accuracy = compute_accuracy(float(correct.sum()), len(correct))
    robust = compute_accuracy(float((~result.success).sum()), count)
    return {
        **{"dataset": name, "model": "convnet", "method": method, "seed": seed},
        **{"epsilon": setting.epsilon, "train_size": data.info.sizes["train"]},
        **{"epochs": len(history.epochs), "warmup_epochs": warmup_epochs},
        **{"test_accuracy": accuracy.value, "test_stderr": accuracy.stderr, "test_n": len(labels)},
        **{"robust_accuracy": robust.value, "robust_stderr": robust.stderr, "robust_n": count},
        "best_validation_robust_accuracy": max(history.history["val_robust_accuracy"]),
        "collapsed_epoch": history.collapsed_epoch or "",
        "processor_minutes": minutes,
    }


def _time(name: str, model_name: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Times steps of every method in turns; returns a row per method."""
    setting = SETTINGS[name]
    data = datasets.load(name, train_size=setting.train_size)
    alternatives = {(method, "float32"): method for method in METHODS}
    alternatives["pgd_at", "mixed_bfloat16"] = "pgd_at"
    batch = next(iter(data.training_batches(_BATCH_SIZE, seed=0, epoch=0)))
    steps, seconds = {}, {key: [] for key in alternatives}
    for (method, precision), _ in alternatives.items():
        model = models.build(model_name, data.info, seed=0, **options)
        logits_fn = model
        if precision != "float32":
            logits_fn = MixedPrecisionCall(model, model, precision)
        adversary = build_adversary(method, epsilon=setting.epsilon)
        adversary.build(batch["image"].shape)
        optimizer = keras.optimizers.Adam(1e-4)
        learner = ClassifierLearner(model, logits_fn, optimizer, adversary)
        steps[method, precision] = learner.train_step
    # The longest step takes about a second: shorter ones are repeated.
    repeats = 1 if model_name == "resnet" else 10
    for _ in range(flags.FLAGS.rounds + 1):
        for key, step in steps.items():
            start = time.process_time()
            for _ in range(repeats):
                step(batch).numpy()
            seconds[key].append((time.process_time() - start) / repeats)
    # The first round compiles.
    reference = np.array(seconds["pgd_at", "float32"][1:])
    num_steps = data.info.sizes["train"] // _BATCH_SIZE
    rows = []
    for (method, precision), values in seconds.items():
        times = np.array(values[1:])
        ratios = reference / times
        rows.append(
            {
                **{"dataset": name, "model": model_name, "method": method, "precision": precision},
                "processor_seconds_per_step": float(np.median(times)),
                "processor_seconds_per_epoch": float(np.median(times)) * num_steps,
                "train_size": data.info.sizes["train"],
                "speed_against_pgd_at": float(np.median(ratios)),
                "lowest_speed": float(ratios.min()),
                "highest_speed": float(ratios.max()),
                "rounds": len(times),
            }
        )
    return rows


def format_accuracies(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns a table of TA and RA, a row per data set and method; seeds as mean and range."""
    lines = ["| data | epsilon | method | TA | RA PGD-40 | processor minutes |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["dataset"], row["method"]), []).append(row)
    for (dataset, method), group in groups.items():
        stops = [str(row["collapsed_epoch"]) for row in group if row["collapsed_epoch"]]
        stop = f", stopped in epoch {', '.join(stops)}" if stops else ""
        minutes = np.mean([row["processor_minutes"] for row in group])
        lines.append(
            f"| {_TITLES[dataset]} | {format_epsilon(group[0]['epsilon'])} | {method}{stop} "
            f"| {_format_accuracy(group, 'test')} | {_format_accuracy(group, 'robust')} "
            f"| {minutes:.2f} |"
        )
    return "\n".join(lines)


def _format_accuracy(group: Sequence[Mapping[str, Any]], kind: str) -> str:
    """Returns a value and its standard error, or the mean of several seeds and their range."""
    values = [row[f"{kind}_accuracy"] for row in group]
    if len(group) == 1:
        return f"{values[0]:.1f} ± {group[0][f'{kind}_stderr']:.1f}"
    return f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f}, {len(values)} seeds)"


def format_speeds(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns a table of the speeds, a row per network and method."""
    lines = ["| data | network | method | processor seconds per epoch | speed | lowest, highest |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        precision = "" if row["precision"] == "float32" else f", {row['precision']}"
        lines.append(
            f"| {_TITLES[row['dataset']]} | {_MODEL_TITLES[row['model']]} "
            f"| {row['method']}{precision} | {row['processor_seconds_per_epoch']:.1f} "
            f"| {row['speed_against_pgd_at']:.2f} "
            f"| {row['lowest_speed']:.2f}, {row['highest_speed']:.2f} |"
        )
    return "\n".join(lines)


def define_flags() -> None:
    """Defines the flags when the module is the program; others may import it too."""
    flags.DEFINE_string(
        "folder", "runs/training-methods", "Networks and results.", flag_values=flags.FLAGS
    )
    flags.DEFINE_list(
        "settings", ["mnist", "cifar10"], "The settings, see SETTINGS.", flag_values=flags.FLAGS
    )
    flags.DEFINE_integer("seeds", 1, "Seeds of each training.", flag_values=flags.FLAGS)
    flags.DEFINE_integer("rounds", 7, "Rounds of the comparison of speed.", flag_values=flags.FLAGS)
    flags.DEFINE_string("csv", None, "CSV file of the accuracies.", flag_values=flags.FLAGS)
    flags.DEFINE_string("speed_csv", None, "CSV file of the speeds.", flag_values=flags.FLAGS)
    flags.DEFINE_string(
        "document", None, "Markdown file whose two tables are replaced.", flag_values=flags.FLAGS
    )
    flags.DEFINE_bool(
        "draw", False, "Writes the files from stored results.", flag_values=flags.FLAGS
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
