"""What the user sees of the road: lines, curves, images, files."""

import json
import logging
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
from qup.orchestration import Execution, State
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
    execution = done["Reporter"]
    report = execution.outputs["report"][0].path
    for path in report.glob("*.png"):
        files.write_bytes(this.path("figures", path.name), path.read_bytes())
    held = report / "measurements.csv"
    files.write_bytes(this.path("measurements.csv"), held.read_bytes())
    rows = measurements.read(held)
    board = this.board
    for node, held in done.items():
        _curves(board, held)
        if "analysis" in held.outputs:
            again = held.state is not State.CACHED
            _analysis(board, node.rpartition(".")[2], held, again)
    for epochs in sorted({row.epochs for row in rows}):
        _results(this, [row for row in rows if row.epochs == epochs], epochs)
    return table.text(this, rows)


def _curves(board: Summaries, execution: Execution) -> None:
    """Shows the trainings that an earlier run has watched."""
    for run in execution.outputs.get("run", ()):
        history = training.History(run.path / "history.json")
        what = "classifier"
        if execution.component == "TranslatorTrainer":
            what = f"translator/{execution.node.rpartition('.')[2]}"
        curves.fill(board, what, history.epochs)


def _analysis(
    board: Summaries, name: str, execution: Execution, again: bool
) -> None:
    """Shows the trajectory and the images of the walk."""
    folder = execution.outputs["analysis"][0].path
    rows = measurements.read(folder / "measurements.csv")
    if again or not board.holds(f"trajectory/{name}"):
        board.clear(f"trajectory/{name}")
        for row in rows:
            tag = f"x_n/{row.measure}"
            step = row.parameters["step"]
            board.scalars(f"trajectory/{name}", step, {tag: row.value})
    if again or not board.holds(f"images/{name}"):
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
