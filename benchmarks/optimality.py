"""How close the minimum-norm attacks come to the closest image that any of them finds.

    python -m benchmarks.optimality --csv=docs/results/benchmark-optimality.csv \
        --figure=docs/optimality.png --document=docs/optimality.md

Trains a ConvNet for one epoch on MNIST and on CIFAR-10 and attacks the first test images that it
classifies correctly, in four norms. Of each attack it measures the local optimality of AttackBench
(Cinà et al. 2024, arXiv 2404.19460):

    LO = sum_i max(e - d_i, 0) / sum_i (e - d*_i),

where d_i is the attack's distance for image i (infinite if it fails), d*_i the smallest distance
over all attacks and seeds, and e the largest d*_i. 1 is the best; the global optimality is the mean
over the networks. An attack with a budget enters by `attacks.minimal_epsilon`.

Networks and results are stored in --folder. An interrupted run resumes with the missing attacks.
With --draw nothing is measured: the CSV file, the figure and the table of --document, between its
two comments, are written from the stored results.
"""

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from absl import app, flags, logging
from matplotlib.figure import Figure

from benchmarks import tables, timing
from qup import attacks, datasets, models, training
from qup.core import compilation, files

_TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
_NORM_TITLES = {"linf": "L-inf", "l2": "L2", "l1": "L1", "l0": "L0"}
# An image within this factor of the smallest distance counts as near.
_NEAR = 1.05
_RESAMPLES = 1000
# Of a budget, to a precision of 1 % of the medians on CIFAR-10.
_HALVINGS = 13


@dataclasses.dataclass(frozen=True)
class Contestant:
    """An attack with its options.

    Attributes:
      title: Its name in tables.
      attack: The registered name.
      options: The options that differ from the defaults, except the norm.
      high: The largest budget of an attack with a budget; None for a minimum-norm attack.
      seeds: More than one if the attack is random.
    """

    title: str
    attack: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    high: float | None = None
    seeds: tuple[int, ...] = (0,)


def _name(*names: str) -> list[Contestant]:
    return [Contestant(name, name) for name in names]


def _bisect(attack: str, high: float, seeds: tuple[int, ...], **options: Any) -> Contestant:
    return Contestant(f"minimal_epsilon({attack})", attack, options, high, seeds)


_LOG_ODDS = {"loss": "log_odds"}
_FMN_LOG_ODDS = Contestant("fmn, log odds", "fmn", _LOG_ODDS)
_LAMBDA_3 = Contestant("sparsefool, lambda 3", "sparsefool", {"lambda_": 3.0})
_CONTESTANTS = {
    "linf": [
        *_name("minimum_norm", "fmn", "pdpgd", "fab", "deepfool", "iterative_fgsm_search"),
        _FMN_LOG_ODDS,
        _bisect("apgd_ce", 0.5, (0, 1)),
        _bisect("pgd", 0.5, (0, 1), num_steps=100),
    ],
    "l2": [
        *_name("minimum_norm", "ddn", "fmn", "pdpgd", "fab", "deepfool", "carlini_wagner"),
        Contestant("ddn, margin", "ddn", {"loss": "margin"}),
        _bisect("apgd_ce", 5.0, (0, 1)),
        _bisect("pgd", 5.0, (0, 1), num_steps=100),
    ],
    "l1": [
        *_name("minimum_norm", "fmn", "pdpgd", "fab", "fab_t", "elastic_net"),
        _FMN_LOG_ODDS,
        _bisect("apgd_ce", 40.0, (0, 1)),
    ],
    "l0": [*_name("minimum_norm", "sigma_zero", "fmn", "pdpgd", "sparsefool", "jsma"), _LAMBDA_3],
}


def main(argv: list[str]) -> None:
    """Measures what is missing, and writes the files."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}.")
    folder = pathlib.Path(flags.FLAGS.folder)
    if not flags.FLAGS.draw:
        for dataset in flags.FLAGS.datasets:
            _measure_dataset(folder / dataset, dataset)
    rows = [
        row
        for dataset in flags.FLAGS.datasets
        for norm in flags.FLAGS.norms
        for row in build_rows(dataset, norm, _read_results(folder / dataset / norm, norm))
    ]
    print(format_table(rows))
    if flags.FLAGS.csv:
        machine = timing.describe_machine()
        tables.write_csv(flags.FLAGS.csv, [{**row, "machine": machine} for row in rows])
    if flags.FLAGS.figure:
        _draw_figure(pathlib.Path(flags.FLAGS.figure), rows)
    if flags.FLAGS.document:
        path = pathlib.Path(flags.FLAGS.document)
        text = tables.replace_table(path.read_text("utf-8"), "optimality", format_table(rows))
        files.write_text(path, text)


def _measure_dataset(folder: pathlib.Path, dataset: str) -> None:
    """Attacks a network in all norms; stores the distances of each attack when it ends."""
    model, images, labels = _load_network(folder, dataset)
    for norm in flags.FLAGS.norms:
        for contestant in _CONTESTANTS[norm]:
            for seed in contestant.seeds:
                path = folder / norm / f"{contestant.title}-{seed}.npz"
                if path.exists():
                    continue
                logging.info("%s, %s, %s, seed %d", dataset, norm, contestant.title, seed)
                columns = _attack(contestant, norm, seed, model, images, labels)
                path.parent.mkdir(parents=True, exist_ok=True)
                with files.atomic_write(path) as partial, open(partial, "wb") as file:
                    np.savez(file, **columns)


def _load_network(folder: pathlib.Path, name: str):
    """Returns (model, images, labels): a ConvNet after one epoch, and images that it classifies."""
    data = datasets.load(name)
    path = folder / "convnet.keras"
    if path.exists():
        model = keras.models.load_model(path)
    else:
        model = models.build("convnet", data.info, seed=0)
        training.fit_classifier(model, data, epochs=1, recipe=models.get_recipe("convnet"))
        folder.mkdir(parents=True, exist_ok=True)
        model.save(path)
    images, labels, _ = data.get_arrays("test")
    # Enough for any classifier that is better than chance.
    images = images[: 20 * flags.FLAGS.images].astype(np.float32) / 255
    predicted = np.argmax(compilation.predict(model, images), -1)
    indices = np.flatnonzero(predicted == labels[: len(images)])[: flags.FLAGS.images]
    return model, images[indices], labels[indices].astype(np.int32)


def _attack(contestant: Contestant, norm: str, seed: int, model, images, labels) -> dict:
    """Returns the distances (infinite without success), the calls and the processor seconds."""
    options = dict(contestant.options, seed=seed, batch_size=128)
    if len(attacks.traits(contestant.attack)["norms"]) > 1:
        options["norm"] = norm
    start = time.process_time()
    if contestant.high is None:
        result = attacks.run(contestant.attack, model, images, labels, **options)
    else:
        options |= {"high": contestant.high, "halvings": _HALVINGS}
        result = attacks.minimal_epsilon(contestant.attack, model, images, labels, **options)
    return {
        "distances": np.where(result.success, result.distances[norm], np.inf),
        "gradient_calls": result.gradient_calls,
        "forward_calls": result.forward_calls,
        "seconds": (time.process_time() - start) / len(labels),
    }


def _read_results(folder: pathlib.Path, norm: str) -> dict[tuple[str, int], dict]:
    """Returns the stored results by title and seed, in the order of `_CONTESTANTS`."""
    results = {}
    for contestant in _CONTESTANTS[norm]:
        for seed in contestant.seeds:
            path = folder / f"{contestant.title}-{seed}.npz"
            if path.exists():
                with np.load(path) as columns:
                    results[contestant.title, seed] = dict(columns)
    return results


def compute_optimality(distances: np.ndarray, smallest: np.ndarray) -> float:
    """Returns the local optimality LO of distances float64 [n], given the smallest ones."""
    largest = smallest.max()
    areas = np.sum(np.maximum(largest - distances, 0)), np.sum(largest - smallest)
    return float(areas[0] / areas[1]) if areas[1] else float(np.all(distances <= smallest))


def build_rows(dataset: str, norm: str, results: Mapping[tuple[str, int], dict]) -> list[dict]:
    """Returns one row per attack and seed, the best first.

    Args:
      dataset: Its name.
      norm: The norm of the distances.
      results: By title and seed: "distances" float64 [n], "gradient_calls" and "forward_calls"
        float64 [n], "seconds" per image.
    """
    if not results:
        return []
    smallest = np.min([result["distances"] for result in results.values()], 0)
    rng = np.random.default_rng(0)
    samples = rng.integers(len(smallest), size=(_RESAMPLES, len(smallest)))
    rows = []
    for (title, seed), result in results.items():
        distances = result["distances"]
        resampled = [compute_optimality(distances[i], smallest[i]) for i in samples]
        rows.append(
            {
                "dataset": dataset,
                "norm": norm,
                "attack": title,
                "seed": seed,
                "n": len(distances),
                "local_optimality": compute_optimality(distances, smallest),
                "stderr": float(np.std(resampled)),
                "near": 100 * float(np.mean(distances <= _NEAR * smallest)),
                "success": 100 * float(np.mean(np.isfinite(distances))),
                "median": float(np.median(distances)),
                "gradient_calls": float(np.mean(result["gradient_calls"])),
                "forward_calls": float(np.mean(result["forward_calls"])),
                "seconds": float(result["seconds"]),
            }
        )
    return sorted(rows, key=lambda row: -row["local_optimality"])


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the results as Markdown: one table per norm, with the global optimality."""
    lines = []
    for norm in dict.fromkeys(row["norm"] for row in rows):
        chosen = [row for row in rows if row["norm"] == norm]
        names = list(dict.fromkeys(row["dataset"] for row in chosen))
        cells = {(row["attack"], row["seed"], row["dataset"]): row for row in chosen}
        order = {}
        for attack, seed, _ in cells:
            found = [cells.get((attack, seed, name)) for name in names]
            if all(found):
                order[attack, seed] = float(np.mean([row["local_optimality"] for row in found]))
        titles = [_TITLES.get(name, name) for name in names]
        lines += [
            f"| {_NORM_TITLES[norm]} | global | "
            + " | ".join(f"{title}: LO | near | median | gradients | ms" for title in titles)
            + " |",
            "| --- |" + " ---: |" * (1 + 5 * len(names)),
        ]
        for (attack, seed), optimality in sorted(order.items(), key=lambda item: -item[1]):
            title = f"{attack}, seed {seed}" if (attack, 1 - seed) in order else attack
            cells_of_row = [_format_cells(cells[attack, seed, name]) for name in names]
            lines.append(f"| {title} | {optimality:.3f} | " + " | ".join(cells_of_row) + " |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _format_cells(row: Mapping[str, Any]) -> str:
    return (
        f"{row['local_optimality']:.3f} ± {row['stderr']:.3f} | {row['near']:.0f}% | "
        f"{row['median']:.4g} | {row['gradient_calls']:,.0f} | {1000 * row['seconds']:.0f}"
    )


def _draw_figure(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draws the local optimality against the gradients per image, a panel per norm and data set."""
    norms = list(dict.fromkeys(row["norm"] for row in rows))
    names = list(dict.fromkeys(row["dataset"] for row in rows))
    figure = Figure(figsize=(4.4 * len(norms), 3.6 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), len(norms), squeeze=False)
    for line, name in zip(panels, names, strict=True):
        for axes, norm in zip(line, norms, strict=True):
            chosen = [row for row in rows if row["dataset"] == name and row["norm"] == norm]
            _draw_bars(axes, [row for row in chosen if row["seed"] == 0])
            axes.set_title(f"{_TITLES.get(name, name)}, {_NORM_TITLES[norm]}", fontsize=10)
    figure.supxlabel(
        f"local optimality (1: the closest image known), ± standard error, n = {rows[0]['n']}; "
        "in brackets gradients per image",
        fontsize=9,
    )
    with files.atomic_write(path) as partial:
        figure.savefig(partial, dpi=110, format=path.suffix[1:])


def _draw_bars(axes, rows: Sequence[Mapping[str, Any]]) -> None:
    rows = sorted(rows, key=lambda row: row["local_optimality"])
    labels = [f"{row['attack']} ({row['gradient_calls']:,.0f})" for row in rows]
    # The ensemble in another colour (Okabe and Ito 2008).
    colours = ["#D55E00" if row["attack"] == "minimum_norm" else "#0072B2" for row in rows]
    values = [row["local_optimality"] for row in rows]
    axes.barh(labels, values, xerr=[row["stderr"] for row in rows], color=colours, height=0.65)
    axes.set_xlim(0, 1.05)
    axes.tick_params(labelsize=7.5)
    axes.spines[["top", "right"]].set_visible(False)


def define_flags() -> None:
    """Defines the flags when the module is the program; others may import it too."""
    flags.DEFINE_string(
        "folder", "runs/optimality", "Networks and results.", flag_values=flags.FLAGS
    )
    flags.DEFINE_list("datasets", ["mnist", "cifar10"], "The data sets.", flag_values=flags.FLAGS)
    flags.DEFINE_list("norms", ["linf", "l2", "l1", "l0"], "The norms.", flag_values=flags.FLAGS)
    flags.DEFINE_integer(
        "images", 100, "Correctly classified test images.", flag_values=flags.FLAGS
    )
    flags.DEFINE_string("csv", None, "CSV file of the results.", flag_values=flags.FLAGS)
    flags.DEFINE_string("figure", None, "File of the figure.", flag_values=flags.FLAGS)
    flags.DEFINE_string(
        "document", None, "Markdown file whose table is replaced.", flag_values=flags.FLAGS
    )
    flags.DEFINE_bool(
        "draw", False, "Writes the files from stored results.", flag_values=flags.FLAGS
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
