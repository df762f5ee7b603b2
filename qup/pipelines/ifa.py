"""Iterative FGSM Augmentation as a pipeline: supplement, Fig. 3.

| step | component |
| --- | --- |
| load the images | ExampleGen |
| train a classifier | Trainer |
| attack it (TA, RA) | Evaluator |
| N steps of opposite FGSM | DeltaGen |
| train a network image -> Delta_N | TranslatorTrainer |
| put it before the classifier | Combiner |
| attack the pair | Evaluator |
| TA and RA of the iterates X_n | Analyzer |
| table and figures | Reporter |
| let runtimes answer requests to both exported models | InfraValidator |
| copy both models to a server's folder | Pusher |

```python
print(run(config))  # config as in qup/pipelines/defaults.py
```
"""

import contextlib
import json
import logging
import math
import pathlib
from collections.abc import Mapping

import numpy as np

from qup import training
from qup.core import errors, files, measurements
from qup.core.config import flatten
from qup.core.formatting import format_percent
from qup.core.measurements import Row
from qup.core.tensorboard import SummaryWriter
from qup.orchestration import Channel, Execution, Node
from qup.pipelines import figures, paper
from qup.pipelines.components.augmentation import Analyzer, Combiner, DeltaGen, TranslatorTrainer
from qup.pipelines.components.evaluator import Evaluator
from qup.pipelines.components.examples import ExampleGen
from qup.pipelines.components.infra_validator import InfraValidator
from qup.pipelines.components.pusher import Pusher
from qup.pipelines.components.reporter import Reporter
from qup.pipelines.config import Config, NodeArguments, check_config, get_config_identity
from qup.pipelines.engines import LOCAL, Engine
from qup.pipelines.run import (
    RunContext,
    build_trainers,
    collect_versions,
    format_part,
    open_run,
    run_nodes,
)
from qup.training.history import rewrite_curves

_log = logging.getLogger("qup")


def run(config: Config, engine: Engine = LOCAL) -> str:
    """Runs every step that has no result yet.

    Args:
      config: The settings of qup/pipelines/defaults.py.
      engine: What runs the steps.

    Returns:
      The final table and the paths of all results, as text; of an engine that only writes a file,
      what was written.

    Raises:
      InputError: A setting, a folder or the data cannot be used, the disk is
        full, or an exported model does not have the measured accuracy or does
        not answer as Keras does. A second call resumes.
      OrchestrationError: The pipeline root cannot be used.
    """
    check_config(config)
    # Its rows replace all but those of other programs, which are kept if they can be read.
    run = open_run(config, keeps_rows=False)
    _log_run(run)
    nodes = build_nodes(run)
    if engine.only_writes:
        return engine.load().write_specification(engine, run, nodes, "ifa")
    description = {**get_config_identity(config), "versions": collect_versions()}
    executions = run_nodes(run, nodes, "ifa", description, engine=engine)
    if text := format_part(run, engine, nodes, executions):
        return text
    report = executions["Reporter"].outputs["report"][0].path
    rows = measurements.read_rows(report / "measurements.csv")
    with run.workdir.lock("to write its results"):
        run.save_report(report)
        _update_tensorboard(run, executions, rows)
    table = _format_results_table(run, executions, rows, engine)
    _check_pushed_models(executions, table)
    return table


def build_nodes(run: RunContext) -> list[Node]:
    """Returns the nodes of the pipeline, for each number of epochs."""
    example_gen = ExampleGen(**run.arguments.build_example_gen_kwargs(run.source))
    examples = example_gen.outputs["examples"]
    nodes = [example_gen]
    for epochs, trainer in build_trainers(run, examples).items():
        nodes.append(trainer)
        model = trainer.outputs["model"]
        for node in _build_augmentation_nodes(run.arguments, epochs, examples, model):
            nodes.append(node.with_id(f"{node.id}.epoch-{epochs}"))
    report = Reporter(
        evaluations=[node.outputs["evaluation"] for node in nodes if "evaluation" in node.outputs],
        analyses=[node.outputs["analysis"] for node in nodes if "analysis" in node.outputs],
    )
    return [*nodes, report]


def _build_augmentation_nodes(
    arguments: NodeArguments, epochs: int, examples: Channel, model: Channel
) -> list[Node]:
    """Returns the nodes after the training of one classifier."""
    evaluator = Evaluator(
        examples=examples, model=model, **arguments.build_evaluator_kwargs()
    ).with_id("Evaluator.CL")
    delta_gen = DeltaGen(examples=examples, model=model, **arguments.build_delta_gen_kwargs())
    translator = TranslatorTrainer(
        examples=examples,
        model=model,
        deltas=delta_gen.outputs["deltas"],
        **arguments.build_translator_kwargs(),
    )
    combiner = Combiner(
        classifier=model,
        translator=translator.outputs["translator"],
        **arguments.build_combiner_kwargs(),
    )
    combined_evaluator = Evaluator(
        examples=examples, model=combiner.outputs["model"], **arguments.build_evaluator_kwargs()
    ).with_id("Evaluator.ACL")
    analyzer = Analyzer(
        examples=examples,
        model=model,
        translator=translator.outputs["translator"],
        deltas=delta_gen.outputs["deltas"],
        trajectory=delta_gen.outputs["trajectory"],
        **arguments.build_analyzer_kwargs(),
    )
    nodes = [evaluator, delta_gen, translator, combiner, combined_evaluator, analyzer]
    for name, exported_model, accuracy_evaluator in (
        ("classifier", model, evaluator),
        ("augmented_classifier", combiner.outputs["model"], combined_evaluator),
    ):
        validator = InfraValidator(
            examples=examples, model=exported_model, **arguments.build_infra_validator_kwargs()
        ).with_id(f"InfraValidator.{name}")
        pusher = Pusher(
            model=exported_model,
            blessing=accuracy_evaluator.outputs["blessing"],
            infra_blessing=validator.outputs["blessing"],
            **arguments.build_pusher_kwargs(name, epochs),
        ).with_id(f"Pusher.{name}")
        nodes += [validator, pusher]
    return nodes


def _log_run(run: RunContext) -> None:
    """Logs the data and the folder, and writes the settings to TensorBoard."""
    info = run.data.info
    sizes = ", ".join(f"{n} {split}" for split, n in info.sizes.items())
    _log.info("%s: %s; %d classes; %s", info.name, sizes, info.num_classes, run.workdir.path)
    text = json.dumps(get_config_identity(run.config), indent=2)
    if not run.summaries.has_run("settings"):
        run.summaries.write_text("settings", "settings", f"```\n{text}\n```")


def _check_pushed_models(executions: Mapping[str, Execution], table: str) -> None:
    for node, execution in executions.items():
        for pushed in execution.outputs.get("pushed", ()):
            if not pushed.properties["pushed"]:
                _log.warning("%s", table)
                record = json.loads((pushed.path / "pushed.json").read_text())
                raise errors.InputError(
                    f"{node} pushed nothing: {record['reason']}. All other steps are complete."
                )


def _format_results_table(
    run: RunContext, executions: Mapping[str, Execution], rows: list[Row], engine: Engine
) -> str:
    """Returns accuracies next to the paper's, and the paths of the results."""
    config, info = run.config, run.data.info
    head = (
        f"{config.model.name} on {info.name} ({info.sizes['train']} training images), epsilon "
        f"{config.attack.epsilon:.4g}, seed {config.seed}; percent ± one binomial standard error"
    )
    lines = [head, "", _format_line("", "epochs", "measure", "ours", "n", "paper")]
    lines.append("-" * len(lines[-1]))
    for row in _exclude_trajectory(rows):
        # TA on fewer images is in measurements.csv alone.
        is_full_split = row.n == info.sizes[config.dataset.evaluation_split]
        if row.measure == "robust_accuracy" or (row.measure == "test_accuracy" and is_full_split):
            lines.append(_format_row(run, row))
            if reasons := _find_reasons(row, rows):
                lines.append(f"             flagged: {', '.join(reasons)}")
    augmentation = config.augmentation
    parameters = next((r.parameters for r in rows if r.classifier == "ACL"), {})
    clipping = "clipped" if augmentation.pixel_clip else "unclipped"
    lines += [
        "",
        f"CL: the classifier; ACL: behind a translator of width {config.translator.width} "
        f"({parameters.get('translator_parameters'):,} parameters), trained on "
        f"N = {augmentation.num_steps} steps of {augmentation.step_size:.4g}, {clipping}.",
        "",
        f"Measurements  {run.get_path('measurements.csv')}",
        f"Figures       {run.get_path('figures')}",
        f"SavedModels   {run.get_path('serving')}: {', '.join(_list_pushed(executions))}",
        *run.format_locations(engine),
    ]
    return "\n".join(lines)


def _find_reasons(row: Row, rows: list[Row]) -> list[str]:
    """Returns the reasons to doubt a robust accuracy, without that of few steps.

    The paper's attack takes four steps, and a stronger one is always measured with it.
    """
    if row.measure != "robust_accuracy":
        return []
    for other in rows:
        reasons = other.parameters.get("reasons", ())
        options = {k: v for k, v in other.parameters.items() if k not in ("reasons", "messages")}
        is_same = (other.classifier, other.epochs, other.attack, other.epsilon, options) == (
            *(row.classifier, row.epochs, row.attack, row.epsilon),
            row.parameters,
        )
        if other.measure == measurements.RELIABILITY and is_same:
            return [reason for reason in reasons if reason != "few_steps"]
    return []


def _exclude_trajectory(rows: list[Row]) -> list[Row]:
    return [row for row in rows if "step" not in row.parameters]


def _list_pushed(executions: Mapping[str, Execution]) -> list[str]:
    """Returns name/version of every pushed model."""
    pushed_models = []
    for execution in executions.values():
        for pushed in execution.outputs.get("pushed", ()):
            record = json.loads((pushed.path / "pushed.json").read_text())
            name = pathlib.Path(record["destination"]).name
            pushed_models.append(f"{name}/{record['version'] or 'not pushed'}")
    return pushed_models


def _format_line(*cells: str) -> str:
    formats = ("<3", ">6", "<30", ">14", ">6", ">6")
    return "  ".join(f"{cell:{spec}}" for cell, spec in zip(cells, formats, strict=True))


def _format_row(run: RunContext, row: Row) -> str:
    published = paper.find_published_accuracy(row.dataset, row.model, row.classifier, row.epochs)
    value = "-"
    if published and _is_comparable(run.config, row):
        value = f"{getattr(published, row.measure):.2f}"
    return _format_line(
        row.classifier,
        str(row.epochs),
        "TA" if row.measure == "test_accuracy" else f"RA {_format_attack_name(row)}",
        format_percent(row.value, row.stderr),
        str(row.n),
        value,
    )


def _format_attack_name(row: Row) -> str:
    """Returns a name such as "PGD-4 random start no clip"."""
    parameters = row.parameters
    name = row.attack.upper()
    if "num_steps" in parameters:
        name += f"-{parameters['num_steps']}"
    if parameters.get("random_start"):
        name += " random start"
    return name + ("" if parameters.get("pixel_clip", True) else " no clip")


def _is_comparable(config: Config, row: Row) -> bool:
    """Returns whether the row has the conditions of the paper's tables.

    These are the full training and test sets, the published architecture and
    an attack of 4 steps without a random start. The paper does not say whether
    it clips pixels, nor the settings of opposite FGSM.
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


def _update_tensorboard(
    run: RunContext, executions: Mapping[str, Execution], rows: list[Row]
) -> None:
    """Writes TensorBoard's curves, unless they already show these results.

    Curves from the trainings themselves may have gaps, where a result was
    reused, and duplicates, where an epoch was repeated after an interruption.
    """
    digests = [
        [node, *(a.digest for artifacts in execution.outputs.values() for a in artifacts)]
        for node, execution in executions.items()
        if execution.component not in ("InfraValidator", "Pusher")
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
            # The last classifier has the epochs of all.
            histories[tag] = history.epochs
        for analysis in execution.outputs.get("analysis", ()):
            _write_trajectory(summaries, name, analysis.path)
    for tag, epochs in histories.items():
        rewrite_curves(summaries, tag, epochs)
    for epochs in sorted({row.epochs for row in rows}):
        _write_accuracies(run, [row for row in rows if row.epochs == epochs], epochs)
    files.write_text(digest_path, json.dumps(digests))


def _write_trajectory(summaries: SummaryWriter, name: str, folder: pathlib.Path) -> None:
    """Writes TA and RA of X_n, and the images of each stage."""
    rows = measurements.read_rows(folder / "measurements.csv")
    summaries.clear(f"trajectory/{name}")
    for row in rows:
        values = {f"x_n/{row.measure}": row.value}
        summaries.write_scalars(f"trajectory/{name}", row.parameters["step"], values)
    summaries.clear(f"images/{name}")
    with np.load(folder / "images.npz") as arrays:
        stages = figures.build_stage_images(arrays)
    tags = {f"{n}_{key}": x for n, (key, x) in enumerate(stages.items(), 1)}
    summaries.write_images(f"images/{name}", rows[0].epochs, tags, sheet_tag="0_all")


def _write_accuracies(run: RunContext, rows: list[Row], epochs: int) -> None:
    """Writes TA and RA with the settings as hyperparameters."""
    values = {}
    for row in _exclude_trajectory(rows):
        tag = f"{row.classifier}/{row.measure}"
        if row.attack:
            tag += f"/{_format_attack_name(row)}"
        values[tag] = row.value
    summaries, log_name = run.summaries, f"results/epoch-{epochs}"
    summaries.clear(log_name)
    summaries.write_hparams(log_name, epochs, flatten(get_config_identity(run.config)), values)
