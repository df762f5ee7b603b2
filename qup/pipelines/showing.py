"""What the user sees of the road: lines, curves, images, the table."""

import json
import logging

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
            value = metrics.pop(key)
            this.board.scalars(split, number, {"accuracy": value})
    this.board.scalars("train", number, metrics)


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
    return name + ("" if parameters["pixel_clip"] else " no clip")


def table(this: Run, rows: list[Row]) -> str:
    """Returns the final table, the paper's value beside ours."""
    config = this.config
    head = (
        f"{config.model.name} on {this.data.info.name}, epsilon "
        f"{config.attack.epsilon:.4g}, seed {config.seed}; percent +- one "
        "binomial standard error"
    )
    lines = [head, "", _line("", "epochs", "measure", "ours", "n", "paper")]
    lines.append("-" * len(lines[-1]))
    for row in _measured(rows):
        if row.measure in ("test_accuracy", "robust_accuracy"):
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
    # The paper attacks with 4 steps and does not say whether it clips.
    same = clean or (
        row.parameters.get("num_steps") == 4
        and not row.parameters["random_start"]
        and this.config.attack.loss == "cross_entropy"
    )
    value = getattr(known, row.measure) if known and same else None
    return _line(
        row.classifier,
        str(row.epochs),
        "TA" if clean else f"RA {_attack(row)}",
        f"{row.value:.2f} +- {row.stderr:.2f}",
        str(row.n),
        "-" if value is None else f"{value:.2f}",
    )
