"""What the user sees of the road: lines, curves, images, the table."""

import json
import logging
import math

import keras
import tensorflow as tf

from qup import nesting, paper
from qup.measurements import Row
from qup.pipelines import attacking, settings
from qup.pipelines.opening import Run

_log = logging.getLogger("qup")


def describe(this: Run) -> None:
    """Says what is run and where; the settings go to TensorBoard."""
    info = this.data.info
    _log.info(
        "%s: %s; %d classes; %s", info.name,
        ", ".join(f"{n} {split}" for split, n in info.sizes.items()),
        info.num_classes, this.workdir.path,
    )  # fmt: skip
    text = json.dumps(settings.identity(this.config), indent=2)
    this.board.text("settings", "settings", f"```\n{text}\n```")


def epoch(
    this: Run, what: str, folder: str, number: int, metrics: dict[str, float]
) -> None:
    """Logs one line an epoch, and the points of its curves."""
    values = ", ".join(f"{k} {v:.4g}" for k, v in metrics.items())
    _log.info("%s: epoch %d: %s", what, number, values)
    if what == "translator":
        this.board.scalars(f"{what}/{folder}", number, metrics)
        return
    for split in ("validation", "test"):
        if (key := f"{split}_accuracy") in metrics:
            this.board.scalars(split, number, {"accuracy": metrics[key]})
    own = {key: metrics[key] for key in ("loss", "accuracy")}
    this.board.scalars("train", number, own)


def images(
    this: Run, classifier: keras.Model, translator: keras.Model, epochs: int
) -> None:
    """Shows X_0, Delta_N, X_N, their translated twins, and the attacked."""
    split = this.config.dataset.evaluation_split
    batch = next(iter(this.data.evaluation_batches(split, 8)))
    start, labels = batch["image"], batch["label"]
    end = attacking.walked(this.config, classifier, batch)
    fake = translator(start, training=False)
    moved = attacking.on_trajectory(this.config)(
        classifier, start, labels, ids=batch["id"]
    )
    scale = 2.0 * tf.maximum(tf.reduce_max(tf.abs(end - start)), 1e-6)
    this.board.images(
        "images",
        epochs,
        {
            "1_x_0": start,
            "2_delta_n_around_grey": 0.5 + (end - start) / scale,
            "3_x_n": end,
            "4_translated_delta_around_grey": 0.5 + fake / scale,
            "5_x_0_plus_translated_delta": start + fake,
            "6_attacked": moved,
        },
        sheet="0_all",
    )


def results(this: Run, rows: list[Row], epochs: int) -> None:
    """Writes clean and robust accuracy to TensorBoard, with the settings."""
    values = {}
    for row in _measured(rows):
        tag = f"{row.classifier}/{row.measure}"
        if row.attack:
            tag += f"/{_attack(row)}"
        values[tag] = row.value
    this.board.scalars("results", epochs, values)
    flat = nesting.flatten(settings.identity(this.config))
    this.board.hyperparameters(f"results/epoch-{epochs}", epochs, flat, values)


def _measured(rows: list[Row]) -> list[Row]:
    """Leaves out the trajectory, whose rows are many."""
    return [row for row in rows if "step" not in row.parameters]


def _attack(row: Row) -> str:
    parameters = row.parameters
    name = row.attack.upper()
    if "num_steps" in parameters:
        name += f"-{parameters['num_steps']}"
    if parameters.get("random_start"):
        name += " random start"
    return name + ("" if parameters.get("pixel_clip", True) else " no clip")


def table(this: Run, rows: list[Row]) -> str:
    """Returns the final table, the paper's value beside ours."""
    config = this.config
    head = (
        f"{config.model.name} on {this.data.info.name} "
        f"({this.data.info.sizes['train']} training images), epsilon "
        f"{config.attack.epsilon:.4g}, seed {config.seed}; percent +- one "
        "binomial standard error"
    )
    lines = [head, "", _line("", "epochs", "measure", "ours", "n", "paper")]
    lines.append("-" * len(lines[-1]))
    for row in _measured(rows):
        # Of fewer images TA stands in the file alone.
        whole = row.n == this.data.info.sizes[config.dataset.evaluation_split]
        if row.measure == "robust_accuracy" or (
            row.measure == "test_accuracy" and whole
        ):
            lines.append(_table_line(this, row))
    walk, note = config.augmentation, next(
        (r.parameters for r in rows if r.classifier == "ACL"), {}
    )  # fmt: skip
    lines += [
        "",
        "CL: the classifier; ACL: behind a translator of width "
        f"{config.translator.width} ({note.get('translator_parameters'):,} "
        f"parameters), taught N = {walk.num_steps} steps of "
        f"{walk.step_size:.4g}, {'clipped' if walk.pixel_clip else 'unclipped'}"
        ".",
        "",
        f"Measurements  {this.path('measurements.csv')}",
        f"SavedModels   {this.path('serving')}",
        f"TensorBoard   tensorboard --logdir {this.path('tensorboard')}",
    ]
    return "\n".join(lines)


def _line(*cells: str) -> str:
    widths = (3, 6, 26, 14, 6, 6)
    left = ("<", ">", "<", ">", ">", ">")
    return "  ".join(
        f"{cell:{side}{width}}"
        for cell, side, width in zip(cells, left, widths, strict=True)
    )


def _table_line(this: Run, row: Row) -> str:
    clean = row.measure == "test_accuracy"
    known = paper.published(row.dataset, row.model, row.classifier, row.epochs)
    value = "-"
    if known and _comparable(this.config, row):
        value = f"{getattr(known, row.measure):.2f}"
    return _line(
        row.classifier,
        str(row.epochs),
        "TA" if clean else f"RA {_attack(row)}",
        f"{row.value:.2f} +- {row.stderr:.2f}",
        str(row.n),
        value,
    )


def _comparable(config: settings.Config, row: Row) -> bool:
    """Says whether the paper measured what this row did.

    Whole training and test set, the architecture as published, and its
    attack: 4 steps without a random start; whether it clipped pixels it
    does not say, and the walk's settings it leaves open.
    """
    data, model = config.dataset, config.model
    same = (
        data.evaluation_split == "test"
        and data.train_size is None
        and data.test_size is None
        and data.validation_size == 0
        and model.width == 1
        and model.depth in (None, 18)
    )
    if not row.attack:
        return same
    epsilon = paper.EPSILON[row.dataset]
    wanted = {
        "norm": "linf", "loss": "cross_entropy", "num_steps": 4,
        "random_start": False, "restarts": 1, "step_size": epsilon / 4,
    }  # fmt: skip
    return (
        same
        and row.attack == "pgd"
        and math.isclose(row.epsilon, epsilon)
        and all(row.parameters[k] == v for k, v in wanted.items())
        and row.parameters.get("through", "both") == "both"
    )
