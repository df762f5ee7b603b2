"""Attacks on one classifier as a pipeline, image by image.

| step | component |
| --- | --- |
| load the images | ExampleGen |
| train a classifier, or import the user's | Trainer, ModelImporter |
| run each attack | Attacker |
| plot Table 4, on request | ConjugateDrawer |
| check for masked gradients, in the standard protocol and on request | Diagnoser |
| write the page robustness.html | qup/pipelines/attack_report.py |

The first two steps are those of qup/pipelines/ifa.py: its classifiers in the same pipeline root are
reused.

```python
print(run(config, AttackRequest(attacks=("autoattack", "deepfool"))))
```
"""

import contextlib
import dataclasses
import json
import pathlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from qup import attacks
from qup.core import errors, files, measurements
from qup.core.classifier import wrap_classifier
from qup.core.formatting import format_count, format_percent
from qup.core.measurements import Measurement, Row, compute_accuracy
from qup.core.numbers import format_epsilon
from qup.core.types import LogitsFn
from qup.datasets import Dataset
from qup.models import user_models
from qup.orchestration import Artifact, Channel, Execution, Node
from qup.pipelines import attack_cost
from qup.pipelines.attack_report import get_dataset_name, write_pages
from qup.pipelines.attack_request import AttackRequest, hash_model_files
from qup.pipelines.components import artifacts
from qup.pipelines.components.attacker import Attacker, Diagnoser
from qup.pipelines.components.conjugates import ConjugateDrawer
from qup.pipelines.components.examples import ExampleGen, ModelImporter
from qup.pipelines.config import Config, check_config
from qup.pipelines.engines import LOCAL, Engine
from qup.pipelines.run import (
    REQUEST,
    RunContext,
    build_trainers,
    collect_versions,
    format_part,
    log_event,
    open_run,
    run_nodes,
)
from qup.robustness.report.protocol import NORM_NAMES
from qup.robustness.report.report import Report
from qup.robustness.report.run import NUM_CHECKED_IMAGES

# The components that load the images and the user's model; they are also the ids of their nodes.
_INPUT_COMPONENTS = ("ExampleGen", "ModelImporter")
# Images on which the outputs of a model are counted.
_NUM_INSPECTED_IMAGES = 128
_COLUMNS = (
    "attack",
    "epsilon",
    "robust",
    "success",
    "L0",
    "L1",
    "L2",
    "Linf",
    "forward",
    "gradient",
)
_COLUMN_WIDTHS = (30, 8, 16, 16, 8, 9, 8, 7, 9, 9)
# Columns of means, and their numbers of decimals.
_MEAN_DIGITS = {
    "mean_l0": 1,
    "mean_l1": 2,
    "mean_l2": 3,
    "mean_linf": 3,
    "mean_forward_calls": 1,
    "mean_gradient_calls": 1,
}
_LEGEND = (
    "robust: accuracy under attack, percent of all images; success: percent of the correctly "
    "classified",
    "images that the attack broke; L0 (elements) to Linf: mean distance of the adversarial images;",
    "forward, gradient: mean calls per image.",
    "",
)


def run(
    config: Config, request: AttackRequest, *, dry_run: bool = False, engine: Engine = LOCAL
) -> str:
    """Runs every attack that has no result yet.

    Args:
      config: The settings of qup/pipelines/defaults.py.
      request: Which attacks, on which classifier.
      dry_run: Attack and train nothing, and return what the request will cost.
      engine: What runs the steps.

    Returns:
      The table and the paths of all results, as text; of a part, what is left.

    Raises:
      InputError: A setting, a folder, a model or the data cannot be used, or
        the disk is full. A second call resumes.
      OrchestrationError: The pipeline root cannot be used.
    """
    request.check()
    attack_specs = request.build_attack_specs(float(config.attack.epsilon), config.attack.norm)
    check_config(config)
    run = open_run(config)
    with run.workdir.removed_if_refused():
        run = _add_request(run, request)
    description = {
        **run.get_identity(),
        "versions": collect_versions(),
        REQUEST: describe_request(run, request, attack_specs),
    }
    nodes = attack_cost.order_nodes(build_nodes(run, request, attack_specs))
    if dry_run:
        inputs = [node for node in nodes if node.component.name in _INPUT_COMPONENTS]
        executions = run_nodes(run, inputs, "attack", description)
        _check_imported_class_names(run, executions)
        return "\n".join(attack_cost.estimate_dry_run(run, nodes, executions))
    finished: dict[str, Execution] = {}

    def on_success(node: Node, execution: Execution) -> None:
        finished[node.id] = execution
        if node.component.name in _INPUT_COMPONENTS:
            _check_imported_class_names(run, finished)
        if planner is not None:
            planner.on_success(node, execution)

    with contextlib.ExitStack() as stack:
        # An estimate of the time of one process says nothing on several.
        planner = None
        if not engine.is_divided:
            planner = stack.enter_context(attack_cost.CostPlanner(run, nodes).follow())
        executions = run_nodes(
            run,
            nodes,
            "attack",
            description,
            engine=engine,
            on_event=planner.on_event if planner else log_event,
            on_success=on_success,
        )
    if text := format_part(run, engine, nodes, executions):
        return text
    rows = artifacts.read_rows(_list_outputs(executions, "evaluation"))
    rows = list({row.key(): row for row in rows}.values())
    figures = _copy_figures(run, executions)
    with run.workdir.lock("to write its results"):
        run.append_measurements(rows)
        pages = write_pages(run, request, executions)
    return format_report(run, rows, executions, figures, pages)


def _add_request(run: RunContext, request: AttackRequest) -> RunContext:
    """Returns the run with the user's model and names of classes, after checks that need no attack.

    Raises:
      InputError: The model, a name or the table of an earlier run cannot be used.
    """
    run = dataclasses.replace(run, class_names=request.class_names)
    info = run.data.info
    source = request.check_model_source()
    if source is None:
        _check_class_names(run, info.num_classes)
    else:
        options = request.build_load_options()
        imported = (source.stem, hash_model_files(source, options))
        run = dataclasses.replace(run, imported=imported)
        _check_class_names(run, info.num_classes, is_exact=False)
        if run.workdir.is_new:
            # Later, the importer checks it, if it has not done so before.
            classifier = user_models.load_user_model(source, options, info.image_shape)
            user_models.check_model(classifier, source, info.image_shape, info.num_classes)
            _check_class_names(run, _count_classes(run, run.data, classifier))
    _check_measurements(run)
    return run


def describe_request(
    run: RunContext, request: AttackRequest, attack_specs: list[dict]
) -> dict[str, str | int]:
    """Returns what a run is asked to do, for the list of runs: texts and numbers by their names."""
    budgets = request.epsilons or (float(run.config.attack.epsilon),)
    parts = [name for name in ("conjugates", "diagnose") if getattr(request, name)]
    has_budget = parts or any({"epsilon", "epsilons"} & spec.keys() for spec in attack_specs)
    norms = dict.fromkeys(attacks.get_norm(spec["name"], spec) for spec in attack_specs)
    facts = {
        "model": run.imported[0] if run.imported else run.config.model.name,
        "dataset": get_dataset_name(run),
        "attack": ",".join([*request.attacks, *parts]),
        "epsilon": ",".join(map(format_epsilon, budgets)) if has_budget else "",
        "norm": ",".join(norms),
        "num_images": request.num_images or "all",
        "options": ",".join(request.options),
        "precision": request.precision if request.precision != "float32" else "",
    }
    return {name: value for name, value in facts.items() if value}


def _check_class_names(run: RunContext, num_classes: int, *, is_exact: bool = True) -> None:
    """Raises an InputError unless the user gave no names of classes, or one per class.

    Args:
      run: The run.
      num_classes: Number of classes of the classifier; of the labels, if they alone are known.
      is_exact: Whether the classifier has no more classes.
    """
    count = len(run.class_names)
    if not count or count == num_classes or (count > num_classes and not is_exact):
        return
    owner = "the classifier has" if is_exact else "the labels have at least"
    raise errors.InputError(
        f"--class_names has {format_count(count, 'name')}, but {owner} {num_classes} classes. Name "
        "every class, in the order of the labels."
    )


def _check_imported_class_names(run: RunContext, executions: Mapping[str, Execution]) -> None:
    """Checks the names of the classes against the imported model, once it and the images exist."""
    if not run.class_names or not {*_INPUT_COMPONENTS} <= executions.keys():
        return
    (examples,) = executions["ExampleGen"].outputs["examples"]
    (model,) = executions["ModelImporter"].outputs["model"]
    inputs = artifacts.load_inputs(examples, model)
    _check_class_names(run, _count_classes(run, inputs.data, inputs.classifier))


def _count_classes(run: RunContext, data: Dataset, classifier: LogitsFn) -> int:
    """Returns the number of classes of a classifier, from its outputs for a few images."""
    images, *_ = data.get_arrays(run.config.dataset.evaluation_split)
    sample = np.asarray(images[:_NUM_INSPECTED_IMAGES]) / np.float32(255)
    return wrap_classifier(classifier).inspect(sample).num_classes


def _check_measurements(run: RunContext) -> None:
    """Raises an InputError, before the work, if rows cannot be added to measurements.csv."""
    path = run.get_path("measurements.csv")
    if path.exists():
        measurements.read_rows(path)


def build_nodes(run: RunContext, request: AttackRequest, attack_specs: list[dict]) -> list[Node]:
    """Returns the nodes of the classifiers and of each attack on each of them."""
    example_gen = ExampleGen(**run.arguments.build_example_gen_kwargs(run.source))
    examples = example_gen.outputs["examples"]
    source = request.check_model_source()
    if source is not None:
        name, content = run.imported
        options = request.build_load_options()
        importer = ModelImporter(
            content=content,
            **options.list_differences(),
            trust=options.trust,
            dataset=run.data.info.name,
            image_shape=list(run.data.info.image_shape),
            name=name,
            num_classes=run.data.info.num_classes,
            source=str(source.absolute()),
        )
        model = importer.outputs["model"]
        attackers = _build_attackers(run, request, attack_specs, examples, model, "own")
        return [example_gen, importer, *attackers]
    nodes = [example_gen]
    for epochs, trainer in build_trainers(run, examples).items():
        model, name = trainer.outputs["model"], f"epoch-{epochs}"
        nodes += [trainer, *_build_attackers(run, request, attack_specs, examples, model, name)]
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
    epsilon = max(request.epsilons or (float(run.config.attack.epsilon),))
    nodes = []
    if request.conjugates:
        nodes.append(ConjugateDrawer(epsilon=epsilon, **common).with_id(f"ConjugateDrawer.{name}"))
    nodes += [
        Attacker(
            attack=attack_spec,
            num_images=request.num_images or None,
            batch_size=request.batch_size,
            fixed_batch=request.fixed_batch,
            precision=request.precision,
            save_images=request.save_images,
            log_dir=str(run.log_dir),
            **common,
        ).with_id(f"Attacker.{attack_spec['name']}.{name}")
        for attack_spec in attack_specs
    ]
    if request.searches_masking:
        diagnoser = Diagnoser(
            epsilon=epsilon,
            norm=request.norm or run.config.attack.norm,
            num_images=min(request.num_images or NUM_CHECKED_IMAGES, NUM_CHECKED_IMAGES),
            batch_size=request.batch_size,
            **common,
        )
        nodes.append(diagnoser.with_id(f"Diagnoser.{name}"))
    return nodes


def _list_outputs(executions: Mapping[str, Execution], key: str) -> list[Artifact]:
    outputs = (execution.outputs.get(key, ()) for execution in executions.values())
    return [artifact for artifacts_of_node in outputs for artifact in artifacts_of_node]


def _copy_figures(run: RunContext, executions: Mapping[str, Execution]) -> list[pathlib.Path]:
    """Copies the figures to the working directory; returns their paths."""
    figures = []
    for node, execution in executions.items():
        for report in execution.outputs.get("report", ()):
            figures.append(run.get_path("figures", f"conjugates-{node.partition('.')[2]}.png"))
            files.write_bytes(figures[-1], (report.path / "conjugates.png").read_bytes())
    return figures


def format_report(
    run: RunContext,
    rows: list[Row],
    executions: Mapping[str, Execution],
    figures: Sequence[pathlib.Path],
    pages: Mapping[pathlib.Path, Report],
) -> str:
    """Returns the answer and the table of every classifier, and the paths of the results."""
    lines: list[str] = []
    for report in pages.values():
        for line in report.format_answer().splitlines():
            indent = len(line) - len(line.lstrip()) + 2
            lines += textwrap.wrap(line, 100, subsequent_indent=" " * indent)
        lines.append("")
    # Rows of checks alone, such as those for masked gradients, have no table.
    attacked_epochs = {r.epochs for r in rows if r.measure == "test_accuracy"}
    for epochs in sorted(attacked_epochs):
        lines += _format_classifier(run, [r for r in rows if r.epochs == epochs])
    for node, execution in executions.items():
        for diagnosis in execution.outputs.get("diagnosis", ()):
            lines += _format_diagnosis(node, diagnosis.path)
    return "\n".join(
        [
            *lines,
            *(_LEGEND if attacked_epochs else ()),
            *(f"Page          {path}" for path in pages),
            *([f"Measurements  {run.get_path('measurements.csv')}"] if rows else ()),
            *(f"Records       {records.path}" for records in _list_outputs(executions, "records")),
            *(f"Figure        {path}" for path in figures),
            *run.format_locations(),
        ]
    )


def _format_diagnosis(node: str, folder: pathlib.Path) -> list[str]:
    """Returns the lines of the checks for masked gradients."""
    report = json.loads((folder / "findings.json").read_text("utf-8"))
    budget = f"{NORM_NAMES[report['norm']]} epsilon {format_epsilon(report['epsilon'])}"
    lines = [f"{node}, {budget}: signs of masking"]
    for finding in report["findings"]:
        line = f"{finding['status']:12}{finding['name']}: {finding['words']}"
        lines += textwrap.wrap(line, 100, subsequent_indent=" " * 12)
    return [*lines, ""]


def _format_classifier(run: RunContext, rows: list[Row]) -> Iterator[str]:
    """Yields the lines of one classifier."""
    clean = next(row for row in rows if row.measure == "test_accuracy")
    after = f" after {clean.epochs} epochs" if clean.epochs else ""
    yield (
        f"{clean.model}{after} on {clean.dataset}, {clean.n} images, test "
        f"accuracy {format_percent(clean.value, clean.stderr)}, seed {run.config.seed}"
    )
    yield ""
    yield _format_line(*_COLUMNS)
    yield "-" * len(_format_line(*_COLUMNS))
    for (attack, epsilon, kind), rows_by_measure in _group_rows(rows).items():
        yield _format_attack(f"{attack} {kind}".strip(), epsilon, clean, rows_by_measure)
        for measure, row in rows_by_measure.items():
            if measure.startswith("after "):
                yield _format_line(f"  {measure}", "", format_percent(row.value, row.stderr))
            if measure == "disagreements":
                yield (
                    f"  of the saved images, {row.value:.2f} % change class "
                    "in batches of another size"
                )
            if measure == measurements.RELIABILITY and row.value:
                yield from _format_flags(row)
    yield ""


def _group_rows(rows: list[Row]) -> dict[tuple, dict[str, Row]]:
    """Returns the rows of each attack by measure, by (attack, epsilon, norm and targets)."""
    groups: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        if row.attack:
            options = row.parameters
            kind = f"{options.get('norm', '')} {options.get('targets', '')}"
            measure = row.measure
            if "after" in row.parameters:
                measure = f"after {row.parameters['after']}"
            key = (row.attack, row.epsilon, kind.strip())
            groups.setdefault(key, {})[measure] = row
    return groups


def _format_flags(row: Row) -> list[str]:
    """Returns the lines that say why the numbers of an attack cannot be relied on."""
    messages = row.parameters.get("messages") or row.parameters.get("reasons") or ["unreliable"]
    lines: list[str] = []
    for message in messages:
        lines += textwrap.wrap(f"  flagged: {message}", 100, subsequent_indent=" " * 11)
    return lines


def _format_attack(
    name: str, epsilon: float | None, clean: Row, rows_by_measure: dict[str, Row]
) -> str:
    cells = [name, "-" if epsilon is None else format_epsilon(epsilon)]
    robust, success = (rows_by_measure.get(name) for name in ("robust_accuracy", "success_rate"))
    for row in (robust, success or _compute_success(clean, robust)):
        cells.append("-" if row is None else format_percent(row.value, row.stderr))
    for measure, digits in _MEAN_DIGITS.items():
        row = rows_by_measure.get(measure)
        cells.append("-" if row is None else f"{row.value:,.{digits}f}")
    return _format_line(*cells)


def _compute_success(clean: Row, robust: Row | None) -> Measurement | None:
    """Returns the share of the correctly classified images that an attack broke; None if unknown.

    Only attacks without a budget, and targeted ones, have a row of it.

    Args:
      clean: The accuracy before the attack.
      robust: The accuracy under attack, or None.
    """
    if robust is None or robust.n != clean.n:
        return None
    num_correct = round(clean.value * clean.n / 100)
    num_robust = round(robust.value * robust.n / 100)
    return compute_accuracy(num_correct - num_robust, num_correct) if num_correct else None


def _format_line(*cells: str) -> str:
    first, *rest = zip(cells, _COLUMN_WIDTHS, strict=False)
    return first[0].ljust(first[1]) + "".join(cell.rjust(width) for cell, width in rest)
