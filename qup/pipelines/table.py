"""The final table: what was measured, the paper's value beside ours."""

import json
import math
import pathlib
import shlex
from collections.abc import Mapping

from qup import paper
from qup.measurements import Row
from qup.orchestration import Execution
from qup.pipelines import settings
from qup.pipelines.opening import Run


def measured(rows: list[Row]) -> list[Row]:
    """Leaves out the trajectory, whose rows are many."""
    return [row for row in rows if "step" not in row.parameters]


def attack(row: Row) -> str:
    """Returns what the attack of a row is called."""
    parameters = row.parameters
    name = row.attack.upper()
    if "num_steps" in parameters:
        name += f"-{parameters['num_steps']}"
    if parameters.get("random_start"):
        name += " random start"
    return name + ("" if parameters.get("pixel_clip", True) else " no clip")


def text(this: Run, done: Mapping[str, Execution], rows: list[Row]) -> str:
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
    for row in measured(rows):
        # Of fewer images TA stands in the file alone.
        whole = row.n == this.data.info.sizes[config.dataset.evaluation_split]
        if row.measure == "robust_accuracy" or (
            row.measure == "test_accuracy" and whole
        ):
            lines.append(_table_line(this, row))
    root, board = (
        shlex.quote(str(path))
        for path in (this.pipeline_root, this.path("tensorboard"))
    )
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
        f"Figures       {this.path('figures')}",
        f"SavedModels   {this.path('serving')}: {', '.join(_pushed(done))}",
        f"Lineage       python -m bin.show_lineage {root}",
        f"TensorBoard   tensorboard --logdir {board}",
    ]
    return "\n".join(lines)


def _pushed(done: Mapping[str, Execution]) -> list[str]:
    """Returns name/version of every model that was pushed."""
    found = []
    for execution in done.values():
        for pushed in execution.outputs.get("pushed", ()):
            text = (pushed.path / "pushed.json").read_text()
            told = json.loads(text)
            name = pathlib.Path(told["destination"]).name
            found.append(f"{name}/{told['version'] or 'not pushed'}")
    return found


def _line(*cells: str) -> str:
    widths = (3, 6, 30, 14, 6, 6)
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
        "TA" if clean else f"RA {attack(row)}",
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
