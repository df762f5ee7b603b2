"""What attacks found, as a table on a terminal."""

import json
import pathlib
import shlex
import textwrap
from collections.abc import Iterable, Mapping

from qup.measurements import Row
from qup.orchestration import Execution
from qup.pipelines.opening import RunContext

_COLUMNS = (
    "attack",
    "epsilon",
    "robust",
    "broken",
    "L0",
    "L1",
    "L2",
    "Linf",
    "forward",
    "gradient",
)
_LEGEND = (
    "robust: accuracy under attack, percent of all images; broken: percent "
    "of those that were right;",
    "L0 (elements) to Linf: mean distance of the broken; forward, gradient: mean calls an image.",
    "",
)
_COLUMN_WIDTHS = (30, 8, 16, 16, 7, 8, 7, 7, 9, 9)


def format_attack_table(
    run: RunContext,
    rows: list[Row],
    executions: Mapping[str, Execution],
    figures: Iterable[pathlib.Path] = (),
) -> str:
    """Returns the table of every classifier, and where the records lie.

    Args:
      run: The run.
      rows: Of this run's attacks.
      executions: Its executions.
      figures: The pictures that it drew.
    """
    lines = []
    # Looks without an attack, such as those for masking, have no table.
    attacked_epochs = {r.epochs for r in rows if r.measure == "test_accuracy"}
    for epochs in sorted(attacked_epochs):
        lines += [*_format_classifier(run, [r for r in rows if r.epochs == epochs])]
    for node, execution in executions.items():
        for diagnosis in execution.outputs.get("diagnosis", ()):
            lines += _format_diagnosis(node, diagnosis.path)
    root, tensorboard_dir = (
        shlex.quote(str(path)) for path in (run.pipeline_root, run.get_path("tensorboard"))
    )
    records = [
        str(record.path)
        for execution in executions.values()
        for record in execution.outputs.get("records", ())
    ]
    return "\n".join(
        [
            *lines,
            *(_LEGEND if attacked_epochs else ()),
            *([f"Measurements  {run.get_path('measurements.csv')}"] if rows else ()),
            *(f"Records       {path}" for path in records),
            *(f"Figure        {path}" for path in figures),
            f"Lineage       python -m bin.show_lineage {root}",
            f"TensorBoard   tensorboard --logdir {tensorboard_dir}",
        ]
    )


def _format_diagnosis(node: str, folder: pathlib.Path) -> list[str]:
    """Returns the lines of what was found of masking."""
    report = json.loads((folder / "findings.json").read_text("utf-8"))
    lines = [f"{node}, L-inf epsilon {report['epsilon']:.4g}: signs of masking"]
    for finding in report["findings"]:
        line = f"{finding['status']:12}{finding['name']}: {finding['words']}"
        lines += textwrap.wrap(line, 100, subsequent_indent=" " * 12)
    return [*lines, ""]


def _format_classifier(run: RunContext, rows: list[Row]):
    """Yields the lines of one classifier."""
    clean = next(row for row in rows if row.measure == "test_accuracy")
    after = f" after {clean.epochs} epochs" if clean.epochs else ""
    yield (
        f"{clean.model}{after} on {clean.dataset}, {clean.n} images, test "
        f"accuracy {_format_percent(clean)}, seed {run.config.seed}"
    )
    yield ""
    yield _format_line(*_COLUMNS)
    yield "-" * len(_format_line(*_COLUMNS))
    groups: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        if row.attack:
            options = row.parameters
            kind = f"{options.get('norm', '')} {options.get('targets', '')}"
            key = (row.attack, row.epsilon, kind.strip())
            measure = row.measure
            if "after" in row.parameters:
                measure = f"after {row.parameters['after']}"
            groups.setdefault(key, {})[measure] = row
    for (attack, epsilon, kind), rows_by_measure in groups.items():
        yield _format_attack(f"{attack} {kind}".strip(), epsilon, rows_by_measure)
        for measure, row in rows_by_measure.items():
            if measure.startswith("after "):
                yield _format_line(f"  {measure}", "", _format_percent(row))
            if measure == "disagreements":
                yield (
                    f"  of the images kept, {row.value:.2f} % change class "
                    "in batches of another size"
                )
    yield ""


def _format_attack(name: str, epsilon: float | None, rows_by_measure: dict[str, Row]) -> str:
    cells = [name, "-" if epsilon is None else f"{epsilon:.4g}"]
    for measure in ("robust_accuracy", "success_rate"):
        cells.append(
            _format_percent(rows_by_measure[measure]) if measure in rows_by_measure else "-"
        )
    for measure, digits in (
        ("mean_l0", 1),
        ("mean_l1", 2),
        ("mean_l2", 3),
        ("mean_linf", 3),
        ("mean_forward_calls", 1),
        ("mean_gradient_calls", 1),
    ):
        row = rows_by_measure.get(measure)
        cells.append("-" if row is None else f"{row.value:,.{digits}f}")
    return _format_line(*cells)


def _format_percent(row: Row) -> str:
    return f"{row.value:.2f} +- {row.stderr:.2f}"


def _format_line(*cells: str) -> str:
    first, *rest = zip(cells, _COLUMN_WIDTHS, strict=False)
    return first[0].ljust(first[1]) + "".join(cell.rjust(width) for cell, width in rest)
