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
from qup.pipelines.opening import RunContext


def exclude_trajectory(rows: list[Row]) -> list[Row]:
    """Leaves out the trajectory, whose rows are many."""
    return [row for row in rows if "step" not in row.parameters]


def format_attack_name(row: Row) -> str:
    """Returns what the attack of a row is called."""
    parameters = row.parameters
    name = row.attack.upper()
    if "num_steps" in parameters:
        name += f"-{parameters['num_steps']}"
    if parameters.get("random_start"):
        name += " random start"
    return name + ("" if parameters.get("pixel_clip", True) else " no clip")


def format_results_table(
    run: RunContext, executions: Mapping[str, Execution], rows: list[Row]
) -> str:
    """Returns the final table, the paper's value beside ours."""
    config = run.config
    head = (
        f"{config.model.name} on {run.data.info.name} "
        f"({run.data.info.sizes['train']} training images), epsilon "
        f"{config.attack.epsilon:.4g}, seed {config.seed}; percent +- one "
        "binomial standard error"
    )
    lines = [head, "", _format_line("", "epochs", "measure", "ours", "n", "paper")]
    lines.append("-" * len(lines[-1]))
    for row in exclude_trajectory(rows):
        # Of fewer images TA stands in the file alone.
        is_full_split = row.n == run.data.info.sizes[config.dataset.evaluation_split]
        if row.measure == "robust_accuracy" or (row.measure == "test_accuracy" and is_full_split):
            lines.append(_format_row(run, row))
    root, tensorboard_dir = (
        shlex.quote(str(path)) for path in (run.pipeline_root, run.get_path("tensorboard"))
    )
    augmentation, details = (
        config.augmentation,
        next((r.parameters for r in rows if r.classifier == "ACL"), {}),
    )
    lines += [
        "",
        "CL: the classifier; ACL: behind a translator of width "
        f"{config.translator.width} ({details.get('translator_parameters'):,} "
        f"parameters), taught N = {augmentation.num_steps} steps of "
        f"{augmentation.step_size:.4g}, {'clipped' if augmentation.pixel_clip else 'unclipped'}"
        ".",
        "",
        f"Measurements  {run.get_path('measurements.csv')}",
        f"Figures       {run.get_path('figures')}",
        f"SavedModels   {run.get_path('serving')}: {', '.join(_list_pushed(executions))}",
        f"Lineage       python -m bin.show_lineage {root}",
        f"TensorBoard   tensorboard --logdir {tensorboard_dir}",
    ]
    return "\n".join(lines)


def _list_pushed(executions: Mapping[str, Execution]) -> list[str]:
    """Returns name/version of every model that was pushed."""
    pushed_models = []
    for execution in executions.values():
        for pushed in execution.outputs.get("pushed", ()):
            text = (pushed.path / "pushed.json").read_text()
            record = json.loads(text)
            name = pathlib.Path(record["destination"]).name
            pushed_models.append(f"{name}/{record['version'] or 'not pushed'}")
    return pushed_models


def _format_line(*cells: str) -> str:
    widths = (3, 6, 30, 14, 6, 6)
    alignments = ("<", ">", "<", ">", ">", ">")
    return "  ".join(
        f"{cell:{alignment}{width}}"
        for cell, alignment, width in zip(cells, alignments, widths, strict=True)
    )


def _format_row(run: RunContext, row: Row) -> str:
    clean = row.measure == "test_accuracy"
    published = paper.find_published_accuracy(row.dataset, row.model, row.classifier, row.epochs)
    value = "-"
    if published and _is_comparable(run.config, row):
        value = f"{getattr(published, row.measure):.2f}"
    return _format_line(
        row.classifier,
        str(row.epochs),
        "TA" if clean else f"RA {format_attack_name(row)}",
        f"{row.value:.2f} +- {row.stderr:.2f}",
        str(row.n),
        value,
    )


def _is_comparable(config: settings.Config, row: Row) -> bool:
    """Says whether the paper measured what this row did.

    Whole training and test set, the architecture as published, and its
    attack: 4 steps without a random start; whether it clipped pixels it
    does not say, and the walk's settings it leaves open.
    """
    data, model = config.dataset, config.model
    same_setup = (
        data.evaluation_split == "test"
        and data.train_size is None
        and data.test_size is None
        and data.validation_size == 0
        and model.width == 1
        and model.depth in (None, 18)
    )
    if not row.attack:
        return same_setup
    epsilon = paper.EPSILON[row.dataset]
    expected = {
        "norm": "linf",
        "loss": "cross_entropy",
        "num_steps": 4,
        "random_start": False,
        "restarts": 1,
        "step_size": epsilon / 4,
    }
    return (
        same_setup
        and row.attack == "pgd"
        and math.isclose(row.epsilon, epsilon)
        and all(row.parameters[k] == v for k, v in expected.items())
        and row.parameters.get("through", "both") == "both"
    )
