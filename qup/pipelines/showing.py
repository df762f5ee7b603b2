"""What the user sees of the road: lines, curves, images, files."""

import contextlib
import json
import logging
import pathlib
from collections.abc import Mapping

import numpy as np

from qup import curves, figures, files, measurements, nesting, training
from qup.measurements import Row
from qup.orchestration import Execution
from qup.pipelines import settings, table
from qup.pipelines.opening import RunContext
from qup.summaries import SummaryWriter

_log = logging.getLogger("qup")


def log_run(run: RunContext) -> None:
    """Says what is run and where; the settings go to TensorBoard."""
    info = run.data.info
    _log.info(
        "%s: %s; %d classes; %s",
        info.name,
        ", ".join(f"{n} {split}" for split, n in info.sizes.items()),
        info.num_classes,
        run.workdir.path,
    )
    text = json.dumps(settings.get_config_identity(run.config), indent=2)
    if not run.summaries.has_run("settings"):
        run.summaries.write_text("settings", "settings", f"```\n{text}\n```")


def write_results(run: RunContext, executions: Mapping[str, Execution]) -> str:
    """Puts what was measured where people look for it.

    Args:
      run: The run.
      executions: Its executions.

    Returns:
      The final table.
    """
    report = executions["Reporter"].outputs["report"][0].path
    rows = measurements.read_rows(report / "measurements.csv")
    with run.workdir.lock("to write its results"):
        run.save_report(report)
        _update_tensorboard(run, executions, rows)
    return table.format_results_table(run, executions, rows)


def _update_tensorboard(
    run: RunContext, executions: Mapping[str, Execution], rows: list[Row]
) -> None:
    """Draws TensorBoard's curves, unless they are of these very results.

    What trainings drew while they ran may have gaps and doubles: of epochs
    that were repeated after a kill, or known before.
    """
    digests = [
        [node, *(a.digest for artifacts in execution.outputs.values() for a in artifacts)]
        for node, execution in executions.items()
        if execution.component != "Pusher"
    ]
    digest_path = run.log_dir / "shown.json"
    with contextlib.suppress(OSError, ValueError):
        if digest_path.read_text(encoding="utf-8") == json.dumps(digests):
            return
    summaries, histories = run.summaries, {}
    for node, execution in executions.items():
        name = node.rpartition(".")[2]
        for training_run in execution.outputs.get("run", ()):
            is_classifier = execution.component == "Trainer"
            tag = "classifier" if is_classifier else f"translator/{name}"
            history = training.History(training_run.path / "history.json")
            # Of several classifiers the last has the epochs of all.
            histories[tag] = history.epochs
        for analysis in execution.outputs.get("analysis", ()):
            _write_trajectory(summaries, name, analysis.path)
    for tag, epochs in histories.items():
        curves.rewrite_curves(summaries, tag, epochs)
    for epochs in sorted({row.epochs for row in rows}):
        _write_accuracies(run, [row for row in rows if row.epochs == epochs], epochs)
    files.write_text(digest_path, json.dumps(digests))


def _write_trajectory(summaries: SummaryWriter, name: str, folder: pathlib.Path) -> None:
    """Shows the trajectory and the images of the walk."""
    rows = measurements.read_rows(folder / "measurements.csv")
    summaries.clear(f"trajectory/{name}")
    for row in rows:
        step = row.parameters["step"]
        values = {f"x_n/{row.measure}": row.value}
        summaries.write_scalars(f"trajectory/{name}", step, values)
    summaries.clear(f"images/{name}")
    with np.load(folder / "images.npz") as arrays:
        stages = figures.build_stage_images(arrays)
    tags = {f"{n}_{key}": x for n, (key, x) in enumerate(stages.items(), 1)}
    summaries.write_images(f"images/{name}", rows[0].epochs, tags, sheet_tag="0_all")


def _write_accuracies(run: RunContext, rows: list[Row], epochs: int) -> None:
    """Writes clean and robust accuracy to TensorBoard, with the settings."""
    values = {}
    for row in table.exclude_trajectory(rows):
        tag = f"{row.classifier}/{row.measure}"
        if row.attack:
            tag += f"/{table.format_attack_name(row)}"
        values[tag] = row.value
    summaries, log_name = run.summaries, f"results/epoch-{epochs}"
    summaries.clear(log_name)
    flat = nesting.flatten(settings.get_config_identity(run.config))
    summaries.write_hparams(log_name, epochs, flat, values)
