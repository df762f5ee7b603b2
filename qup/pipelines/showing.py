"""What the user sees of the road: lines, curves, images, files."""

import contextlib
import json
import logging
import pathlib
from collections.abc import Mapping

import numpy as np

from qup import (
    curves,
    figures,
    files,
    measurements,
    nesting,
    training,
)
from qup.measurements import Row
from qup.orchestration import Execution
from qup.pipelines import settings, table
from qup.pipelines.opening import Run
from qup.summaries import Summaries

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
    if not this.board.holds("settings"):
        this.board.text("settings", "settings", f"```\n{text}\n```")


def finish(this: Run, done: Mapping[str, Execution]) -> str:
    """Puts what was measured where people look for it.

    Args:
      this: The run.
      done: Its executions.

    Returns:
      The final table.
    """
    report = done["Reporter"].outputs["report"][0].path
    rows = measurements.read(report / "measurements.csv")
    with this.workdir.locked("to write its results"):
        this.keep(report)
        _draw(this, done, rows)
    return table.text(this, done, rows)


def _draw(this: Run, done: Mapping[str, Execution], rows: list[Row]) -> None:
    """Draws TensorBoard's curves, unless they are of these very results.

    What trainings drew while they ran may have gaps and doubles: of epochs
    that were repeated after a kill, or known before.
    """
    shown = [
        [node, *(a.digest for held in execution.outputs.values() for a in held)]
        for node, execution in done.items()
        if execution.component != "Pusher"
    ]
    mark = this.log_dir / "shown.json"
    with contextlib.suppress(OSError, ValueError):
        if mark.read_text(encoding="utf-8") == json.dumps(shown):
            return
    board, histories = this.board, {}
    for node, execution in done.items():
        name = node.rpartition(".")[2]
        for run in execution.outputs.get("run", ()):
            trained = execution.component == "Trainer"
            what = "classifier" if trained else f"translator/{name}"
            history = training.History(run.path / "history.json")
            # Of several classifiers the last has the epochs of all.
            histories[what] = history.epochs
        for analysis in execution.outputs.get("analysis", ()):
            _analysis(board, name, analysis.path)
    for what, epochs in histories.items():
        curves.redraw(board, what, epochs)
    for epochs in sorted({row.epochs for row in rows}):
        _results(this, [row for row in rows if row.epochs == epochs], epochs)
    files.write_text(mark, json.dumps(shown))


def _analysis(board: Summaries, name: str, folder: pathlib.Path) -> None:
    """Shows the trajectory and the images of the walk."""
    rows = measurements.read(folder / "measurements.csv")
    board.clear(f"trajectory/{name}")
    for row in rows:
        step = row.parameters["step"]
        values = {f"x_n/{row.measure}": row.value}
        board.scalars(f"trajectory/{name}", step, values)
    board.clear(f"images/{name}")
    with np.load(folder / "images.npz") as arrays:
        stages = figures.stages(arrays)
    tags = {f"{n}_{key}": x for n, (key, x) in enumerate(stages.items(), 1)}
    board.images(f"images/{name}", rows[0].epochs, tags, sheet="0_all")


def _results(this: Run, rows: list[Row], epochs: int) -> None:
    """Writes clean and robust accuracy to TensorBoard, with the settings."""
    values = {}
    for row in table.measured(rows):
        tag = f"{row.classifier}/{row.measure}"
        if row.attack:
            tag += f"/{table.attack(row)}"
        values[tag] = row.value
    board, run = this.board, f"results/epoch-{epochs}"
    board.clear(run)
    flat = nesting.flatten(settings.identity(this.config))
    board.hyperparameters(run, epochs, flat, values)
