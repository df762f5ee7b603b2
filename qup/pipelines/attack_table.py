"""What attacks found, as a table on a terminal."""

import json
import pathlib
import shlex
import textwrap
from collections.abc import Iterable, Mapping

from qup.measurements import Row
from qup.orchestration import Execution
from qup.pipelines.opening import Run

_COLUMNS = (
    "attack", "epsilon", "robust", "broken", "L0", "L1", "L2", "Linf",
    "forward", "gradient",
)  # fmt: skip
_LEGEND = (
    "robust: accuracy under attack, percent of all images; broken: percent "
    "of those that were right;",
    "L0 (elements) to Linf: mean distance of the broken; forward, gradient: "
    "mean calls an image.",
    "",
)
_WIDTHS = (30, 8, 16, 16, 7, 8, 7, 7, 9, 9)


def text(
    this: Run,
    rows: list[Row],
    done: Mapping[str, Execution],
    figures: Iterable[pathlib.Path] = (),
) -> str:
    """Returns the table of every classifier, and where the records lie.

    Args:
      this: The run.
      rows: Of this run's attacks.
      done: Its executions.
      figures: The pictures that it drew.
    """
    lines = []
    # Looks without an attack, such as those for masking, have no table.
    attacked = {r.epochs for r in rows if r.measure == "test_accuracy"}
    for epochs in sorted(attacked):
        lines += [*_classifier(this, [r for r in rows if r.epochs == epochs])]
    for node, execution in done.items():
        for held in execution.outputs.get("diagnosis", ()):
            lines += _diagnosis(node, held.path)
    root, board = (
        shlex.quote(str(path))
        for path in (this.pipeline_root, this.path("tensorboard"))
    )
    records = [
        str(held.path)
        for execution in done.values()
        for held in execution.outputs.get("records", ())
    ]
    return "\n".join(
        [
            *lines,
            *(_LEGEND if attacked else ()),
            *(
                [f"Measurements  {this.path('measurements.csv')}"]
                if rows
                else ()
            ),
            *(f"Records       {path}" for path in records),
            *(f"Figure        {path}" for path in figures),
            f"Lineage       python -m bin.show_lineage {root}",
            f"TensorBoard   tensorboard --logdir {board}",
        ]
    )


def _diagnosis(node: str, folder: pathlib.Path) -> list[str]:
    """Returns the lines of what was found of masking."""
    told = json.loads((folder / "findings.json").read_text("utf-8"))
    lines = [f"{node}, L-inf epsilon {told['epsilon']:.4g}: signs of masking"]
    for found in told["findings"]:
        text = f"{found['status']:12}{found['name']}: {found['words']}"
        lines += textwrap.wrap(text, 100, subsequent_indent=" " * 12)
    return [*lines, ""]


def _classifier(this: Run, rows: list[Row]):
    """Yields the lines of one classifier."""
    clean = next(row for row in rows if row.measure == "test_accuracy")
    after = f" after {clean.epochs} epochs" if clean.epochs else ""
    yield (
        f"{clean.model}{after} on {clean.dataset}, {clean.n} images, test "
        f"accuracy {_percent(clean)}, seed {this.config.seed}"
    )
    yield ""
    yield _line(*_COLUMNS)
    yield "-" * len(_line(*_COLUMNS))
    groups: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        if row.attack:
            given = row.parameters
            kind = f"{given.get('norm', '')} {given.get('targets', '')}"
            key = (row.attack, row.epsilon, kind.strip())
            measure = row.measure
            if "after" in row.parameters:
                measure = f"after {row.parameters['after']}"
            groups.setdefault(key, {})[measure] = row
    for (attack, epsilon, kind), found in groups.items():
        yield _attack(f"{attack} {kind}".strip(), epsilon, found)
        for measure, row in found.items():
            if measure.startswith("after "):
                yield _line(f"  {measure}", "", _percent(row))
            if measure == "disagreements":
                yield (
                    f"  of the images kept, {row.value:.2f} % change class "
                    "in batches of another size"
                )
    yield ""


def _attack(name: str, epsilon: float | None, found: dict[str, Row]) -> str:
    cells = [name, "-" if epsilon is None else f"{epsilon:.4g}"]
    for measure in ("robust_accuracy", "success_rate"):
        cells.append(_percent(found[measure]) if measure in found else "-")
    for measure, digits in (
        ("mean_l0", 1), ("mean_l1", 2), ("mean_l2", 3), ("mean_linf", 3),
        ("mean_forward_calls", 1), ("mean_gradient_calls", 1),
    ):  # fmt: skip
        row = found.get(measure)
        cells.append("-" if row is None else f"{row.value:,.{digits}f}")
    return _line(*cells)


def _percent(row: Row) -> str:
    return f"{row.value:.2f} +- {row.stderr:.2f}"


def _line(*cells: str) -> str:
    first, *rest = zip(cells, _WIDTHS, strict=False)
    return first[0].ljust(first[1]) + "".join(
        cell.rjust(width) for cell, width in rest
    )
