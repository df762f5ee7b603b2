"""The speed of an attack when few rows are left: sizes of batches, early stopping, AutoAttack.

    python -m benchmarks.tail --csv=docs/results/benchmark-tail.csv [--parts=sizes,early,official]

Trains a ConvNet for one epoch on 10,000 images of MNIST and of CIFAR-10 (and, with
--models=resnet20, a ResNet-20 on CIFAR-10) and attacks the first test images with budgets at which
few images withstand. The parts:

    sizes     an attack of AutoAttack on all images, with the default sizes of batches and with each
              fixed size; a fixed size is stopped at --limit times the default's seconds
    early     RA by PGD-100 that stops at the first adversarial image, and without stopping
    official  AutoAttack standard against the authors' PyTorch code, same weights, same images

Seconds are those of the process on one thread, so that other work on the machine counts little.
Alternatives run in turn, --rounds times each, each time on a new copy of the network; "compiled" is
a second run on the same copy, without compilation. `official` needs PyTorch and a checkout of
https://github.com/fra31/auto-attack in PYTHONPATH; it runs without channels_last, which that code
does not accept.
"""

import csv
import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging

from benchmarks import tables, timing
from qup import attacks, datasets, models, training

_EPSILONS = {"mnist": 0.2, "cifar10": 8 / 255, "digits": 0.3}
_TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "digits": "digits"}
_TRAIN_SIZE = 10_000
_DEFAULT, _EARLY, _ALL_STEPS, _OURS, _OFFICIAL = (
    "default",
    "stops early",
    "all steps",
    "qup",
    "official",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A network and the images to attack.

    Attributes:
      kind: The architecture.
      dataset: The name of the data set.
      model: Keras model, image to logits.
      images: float32 [n, height, width, channels] in [0, 1].
      labels: int64 [n].
    """

    kind: str
    dataset: str
    model: keras.Model
    images: np.ndarray
    labels: np.ndarray

    def copy_model(self) -> keras.Model:
        """Returns a model with the same weights, for which nothing is compiled."""
        model = keras.models.clone_model(self.model)
        model.set_weights(self.model.get_weights())
        return model


class _TooSlowError(Exception):
    """A run has taken longer than its limit."""


def train_network(kind: str, dataset: str, num_images: int) -> Network:
    """Returns a network trained for one epoch, with the first test images."""
    size = min(_TRAIN_SIZE, datasets.load(dataset).info.sizes["train"])
    data = datasets.load(dataset, train_size=size)
    name = kind.rstrip("0123456789")
    depth = {"depth": int(kind[len(name) :])} if name != kind else {}
    model = models.build(name, data.info, seed=0, **depth)
    training.fit_classifier(model, data, epochs=1, recipe=models.get_recipe(name))
    images, labels, _ = data.get_arrays("test")
    images = images[:num_images].astype(np.float32) / 255
    return Network(
        kind=kind,
        dataset=dataset,
        model=model,
        images=images,
        labels=labels[:num_images].astype(np.int64),
    )


def run_attack(network: Network, model: keras.Model, name: str, *, limit: float, **options) -> Any:
    """Attacks the images of a network.

    Args:
      network: The images and the budget.
      model: The copy to attack.
      name: The attack.
      limit: Seconds of the process after which it stops.
      **options: Of the attack.

    Returns:
      (seconds of the process, robust accuracy in percent); infinite seconds at the limit.
    """
    start = time.process_time()

    def check_time(share: float) -> None:
        if time.process_time() - start > limit:
            raise _TooSlowError

    options = {"epsilon": _EPSILONS[network.dataset], "logs_flags": False} | options
    try:
        result = attacks.run(
            name, model, network.images, network.labels, on_share=check_time, **options
        )
    except _TooSlowError:
        return np.inf, np.nan
    return time.process_time() - start, result.robust_accuracy


def time_in_turns(
    network: Network, alternatives: dict[str, Callable], rounds: int
) -> dict[str, dict[str, np.ndarray]]:
    """Times alternatives in turn, each with and without compilation.

    Args:
      network: The network.
      alternatives: Functions (model, limit) -> (seconds, robust accuracy). The first one sets the
        limit of the others.
      rounds: Number of rounds.

    Returns:
      Name to {"seconds", "compiled_seconds", "robust_accuracy"}, float64 [rounds] each.
    """
    columns = "seconds", "compiled_seconds", "robust_accuracy"
    results = {name: {column: [] for column in columns} for name in alternatives}
    for _ in range(rounds):
        limits = [np.inf, np.inf]
        for name, run in alternatives.items():
            model, values = network.copy_model(), results[name]
            seconds, robust_accuracy = run(model, limits[0])
            compiled_seconds = run(model, limits[1])[0] if np.isfinite(seconds) else np.inf
            for column, value in zip(
                columns, (seconds, compiled_seconds, robust_accuracy), strict=True
            ):
                values[column].append(value)
            if limits[0] == np.inf:
                limits = [flags.FLAGS.limit * seconds, flags.FLAGS.limit * seconds]
    return {
        name: {column: np.array(values) for column, values in columns_of_name.items()}
        for name, columns_of_name in results.items()
    }


def build_rows(
    part: str, network: Network, name: str, results: dict[str, dict[str, np.ndarray]]
) -> list[dict[str, object]]:
    """Returns one row per alternative; `ratio` is its time divided by that of the first one."""
    first = next(iter(results.values()))
    rows = []
    for alternative, values in results.items():
        row = {
            "part": part,
            "network": network.kind,
            "dataset": network.dataset,
            "attack": name,
            "epsilon": f"{_EPSILONS[network.dataset]:.4g}",
            "n": len(network.labels),
            "alternative": alternative,
            "robust_accuracy": f"{np.nanmean(values['robust_accuracy']):.2f}"
            if np.isfinite(values["robust_accuracy"]).any()
            else "",
        }
        for column in ("seconds", "compiled_seconds"):
            ratios = values[column] / first[column]
            row[column] = f"{np.median(values[column]):.2f}"
            row[f"{column}_lowest"] = f"{values[column].min():.2f}"
            row[f"{column}_highest"] = f"{values[column].max():.2f}"
            row[f"ratio_{column}"] = f"{np.median(ratios):.3g}"
        rows.append(row | {"rounds": len(values["seconds"]), "machine": timing.describe_machine()})
    return rows


def _compare_sizes(network: Network) -> Iterator[dict[str, object]]:
    for name in flags.FLAGS.attacks:
        norm = {"norm": "linf"} if name == "fab_t" else {}

        def build(name=name, **options) -> Callable:
            return lambda model, limit: run_attack(network, model, name, limit=limit, **options)

        alternatives = {_DEFAULT: build(**norm)}
        for size in map(int, flags.FLAGS.sizes):
            alternatives[f"fixed {size}"] = build(batch_size=size, fixed_batch=True, **norm)
        yield from build_rows(
            "sizes", network, name, time_in_turns(network, alternatives, flags.FLAGS.rounds)
        )


def _time_early_stopping(network: Network) -> Iterator[dict[str, object]]:
    options = {"num_steps": 100, "step_size": 0.01, "random_start": False}

    def build(keep: str) -> Callable:
        # The limit is for fixed sizes.
        return lambda model, limit: run_attack(
            network, model, "pgd", limit=np.inf, keep=keep, **options
        )

    alternatives = {_EARLY: build("first_adversarial"), _ALL_STEPS: build("last")}
    yield from build_rows(
        "early", network, "pgd", time_in_turns(network, alternatives, flags.FLAGS.rounds)
    )


def _compare_with_official(network: Network) -> Iterator[dict[str, object]]:
    import torch
    from autoattack import AutoAttack

    from benchmarks.attacks import plain_torch

    torch.set_num_threads(1)
    torch_network = plain_torch.build_network(network.kind, network.model)
    images = torch.from_numpy(network.images).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(network.labels)
    epsilon = _EPSILONS[network.dataset]

    def run_official(model, limit) -> tuple[float, float]:
        start = time.process_time()
        attack = AutoAttack(
            torch_network, norm="Linf", eps=epsilon, device="cpu", verbose=False, seed=0
        )
        attacked = attack.run_standard_evaluation(images, labels, bs=128)
        seconds = time.process_time() - start
        with torch.no_grad():
            correct = torch_network(attacked).argmax(1) == labels
        return seconds, 100 * float(correct.float().mean())

    def run_ours(model, limit) -> tuple[float, float]:
        return run_attack(network, model, "autoattack", limit=np.inf)

    alternatives = {_OURS: run_ours, _OFFICIAL: run_official}
    yield from build_rows(
        "official", network, "autoattack", time_in_turns(network, alternatives, flags.FLAGS.rounds)
    )


_FUNCTIONS = {
    "sizes": _compare_sizes,
    "early": _time_early_stopping,
    "official": _compare_with_official,
}


def write_rows(rows: list[dict[str, object]], path: pathlib.Path) -> None:
    """Writes rows as CSV; an older row of the same measurement is replaced, others stay."""
    keys = "part", "network", "dataset", "attack", "n", "alternative"
    merged = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            merged = {tuple(row[key] for key in keys): row for row in csv.DictReader(file)}
    merged |= {tuple(str(row[key]) for key in keys): row for row in rows}
    tables.write_csv(path, list(merged.values()), rows[0])


def main(_) -> None:
    """Runs the parts and writes each row when it is measured."""
    logging.set_verbosity(logging.ERROR)
    for kind in flags.FLAGS.models:
        for dataset in flags.FLAGS.datasets:
            network = train_network(kind, dataset, flags.FLAGS.images)
            for part in flags.FLAGS.parts:
                for row in _FUNCTIONS[part](network):
                    print(", ".join(f"{key} {row[key]}" for key in list(row)[:-1]), flush=True)
                    if flags.FLAGS.csv:
                        write_rows([row], pathlib.Path(flags.FLAGS.csv))


def define_flags() -> None:
    """Defines the flags when the module is the program; others may import it too."""
    flags.DEFINE_string(
        "csv", None, "CSV file; rows of parts that are not run stay.", flag_values=flags.FLAGS
    )
    flags.DEFINE_list(
        "parts", ["sizes", "early", "official"], "The parts.", flag_values=flags.FLAGS
    )
    flags.DEFINE_list("models", ["convnet"], "The networks.", flag_values=flags.FLAGS)
    flags.DEFINE_list("datasets", ["mnist", "cifar10"], "The data sets.", flag_values=flags.FLAGS)
    flags.DEFINE_list(
        "attacks", ["apgd_t", "fab_t", "square"], "The attacks of sizes.", flag_values=flags.FLAGS
    )
    flags.DEFINE_integer("images", 200, "Number of test images.", flag_values=flags.FLAGS)
    flags.DEFINE_list(
        "sizes", ["4", "8", "16", "32", "64", "128", "256"], "Fixed sizes.", flag_values=flags.FLAGS
    )
    flags.DEFINE_integer("rounds", 2, "Runs of each alternative.", flag_values=flags.FLAGS)
    flags.DEFINE_float(
        "limit", 2.0, "Of a fixed size, in seconds of the default.", flag_values=flags.FLAGS
    )


if __name__ == "__main__":
    define_flags()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    app.run(main)
