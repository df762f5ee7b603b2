"""What attacks found, as a table on a terminal."""

import dataclasses
import json
import logging
import pathlib
import shlex
import textwrap
from collections.abc import Iterable, Mapping

from qup.core import files, measurements
from qup.core.measurements import Row
from qup.orchestration import Channel, Execution, Node
from qup.pipelines import config as pipeline_config
from qup.pipelines import run as pipelines_run
from qup.pipelines.attack_request import AttackRequest as AttackRequest
from qup.pipelines.attack_request import hash_model_files
from qup.pipelines.components.attacker import Attacker, Diagnoser
from qup.pipelines.components.conjugates import ConjugateDrawer
from qup.pipelines.components.examples import ExampleGen, ModelImporter
from qup.pipelines.components.trainer import Trainer
from qup.pipelines.config import NodeArguments
from qup.pipelines.run import RunContext

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


# Attacks on one classifier, image by image.
#
# | step | what | component |
# | --- | --- | --- |
# | 1 | load images | ExampleGen |
# | 2 | train a classifier, or take the user's | Trainer, ModelImporter |
# | 3 | attack it, once for each attack | Attacker |
# | 4 | draw Table 4, where asked | ConjugateDrawer |
# | 5 | look for masked gradients, where asked | Diagnoser |
#
# The first two are those of the road: a classifier that it has trained is
# taken from its pipeline root.
#
# ```python
# print(run(config, Request(attacks=("autoattack", "deepfool"))))
# ```


_log = logging.getLogger("qup")


def run(config: pipeline_config.Config, request: AttackRequest) -> str:
    """Runs every attack whose result is not known yet.

    Args:
      config: The settings of configs/defaults.py.
      request: Which attacks, on which classifier.

    Returns:
      The table and where everything lies, as text.

    Raises:
      InputError: A setting, a folder, a model or the data cannot be used,
        or the disk is full; a second start goes on.
      OrchestrationError: The pipeline root cannot be used.
    """
    request.check()
    attack_specs = request.build_attack_specs(float(config.attack.epsilon), config.attack.norm)
    pipeline_config.check_config(config)
    run = _with_imported_model(pipelines_run.open_run(config), request.check_model_source())
    description = {**run.get_identity(), "versions": pipelines_run.collect_versions()}
    nodes = build_nodes(run, request, attack_specs)
    executions = pipelines_run.run_nodes(run, nodes, "attack", description)
    rows = _load_rows(executions)
    figures = _copy_figures(run, executions)
    with run.workdir.lock("to write its results"):
        run.append_measurements(rows)
    return format_attack_table(run, rows, executions, figures)


def _with_imported_model(run: RunContext, source: pathlib.Path | None) -> RunContext:
    """Returns the run, of the user's own model where there is one."""
    if source is None:
        return run
    return dataclasses.replace(run, imported=(source.stem, hash_model_files(source)))


def build_nodes(run: RunContext, request: AttackRequest, attack_specs: list[dict]) -> list[Node]:
    """Returns the nodes: the classifiers, and each under each attack."""
    arguments = NodeArguments(run.config, run.data.info, run.log_dir)
    example_gen = ExampleGen(**arguments.build_example_gen_kwargs(run.source))
    examples = example_gen.outputs["examples"]
    source = request.check_model_source()
    if source is not None:
        name, content = run.imported
        importer = ModelImporter(
            content=content,
            dataset=run.data.info.name,
            image_shape=list(run.data.info.image_shape),
            name=name,
            num_classes=run.data.info.num_classes,
            source=str(source.absolute()),
        )
        attackers = _build_attackers(
            run, request, attack_specs, examples, importer.outputs["model"], "own"
        )
        return [example_gen, importer, *attackers]
    nodes, previous = [example_gen], None
    for epochs in sorted(set(run.config.training.epochs)):
        trainer = Trainer(
            examples=examples, previous=previous, **arguments.build_trainer_kwargs(epochs)
        ).with_id(f"Trainer.epoch-{epochs}")
        previous = trainer.outputs["run"]
        model = trainer.outputs["model"]
        nodes += [
            trainer,
            *_build_attackers(run, request, attack_specs, examples, model, f"epoch-{epochs}"),
        ]
    return nodes


def _build_attackers(
    run: RunContext,
    request: AttackRequest,
    attack_specs: list[dict],
    examples: Channel,
    model: Channel,
    name: str,
) -> list[Node]:
    common = {
        "examples": examples,
        "model": model,
        "split": run.config.dataset.evaluation_split,
        "seed": run.config.seed,
    }
    epsilon = request.epsilon
    if epsilon is None:
        epsilon = float(run.config.attack.epsilon)
    diagnostics = []
    if request.conjugates:
        diagnostics.append(ConjugateDrawer(epsilon=epsilon, **common))
    if request.diagnose:
        diagnostics.append(Diagnoser(epsilon=epsilon, batch_size=request.batch_size, **common))
    diagnostics = [node.with_id(f"{node.id}.{name}") for node in diagnostics]
    return diagnostics + [
        Attacker(
            attack=attack_spec,
            num_images=request.num_images or None,
            batch_size=request.batch_size,
            precision=request.precision,
            save_images=request.save_images,
            log_dir=str(run.log_dir),
            **common,
        ).with_id(f"Attacker.{attack_spec['name']}.{name}")
        for attack_spec in attack_specs
    ]


def _copy_figures(run: RunContext, executions: Mapping[str, Execution]) -> list[pathlib.Path]:
    """Copies the figures to the working directory; returns their paths."""
    figures = []
    for node, execution in executions.items():
        for report in execution.outputs.get("report", ()):
            source = report.path / "conjugates.png"
            name = f"conjugates-{node.partition('.')[2]}.png"
            figures.append(run.get_path("figures", name))
            files.write_bytes(figures[-1], source.read_bytes())
    return figures


def _load_rows(executions: Mapping[str, Execution]) -> list[Row]:
    """Returns the rows of every attack, each once."""
    rows: dict[tuple, Row] = {}
    for execution in executions.values():
        for evaluation in execution.outputs.get("evaluation", ()):
            for row in measurements.read_rows(evaluation.path / "measurements.csv"):
                rows[row.key()] = row
    return list(rows.values())
