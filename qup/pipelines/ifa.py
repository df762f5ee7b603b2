"""What the user sees of the road: lines, curves, images, files."""

import contextlib
import json
import logging
import math
import pathlib
import shlex
from collections.abc import Mapping

import numpy as np

from qup import training
from qup.core import config as nested_config
from qup.core import errors, files, measurements
from qup.core.measurements import Row
from qup.core.tensorboard import SummaryWriter
from qup.orchestration import Channel, Execution, Node
from qup.pipelines import config as pipeline_config
from qup.pipelines import figures, paper
from qup.pipelines import run as pipelines_run
from qup.pipelines.components.augmentation import Analyzer, Combiner, DeltaGen, TranslatorTrainer
from qup.pipelines.components.evaluator import Evaluator
from qup.pipelines.components.examples import ExampleGen
from qup.pipelines.components.pusher import Pusher
from qup.pipelines.components.reporter import Reporter
from qup.pipelines.components.trainer import Trainer
from qup.pipelines.config import NodeArguments
from qup.pipelines.run import RunContext
from qup.training import history as training_history

# The final table: what was measured, the paper's value beside ours.


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


def _is_comparable(config: pipeline_config.Config, row: Row) -> bool:
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
    text = json.dumps(pipeline_config.get_config_identity(run.config), indent=2)
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
    return format_results_table(run, executions, rows)


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
        training_history.rewrite_curves(summaries, tag, epochs)
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
    for row in exclude_trajectory(rows):
        tag = f"{row.classifier}/{row.measure}"
        if row.attack:
            tag += f"/{format_attack_name(row)}"
        values[tag] = row.value
    summaries, log_name = run.summaries, f"results/epoch-{epochs}"
    summaries.clear(log_name)
    flat = nested_config.flatten(pipeline_config.get_config_identity(run.config))
    summaries.write_hparams(log_name, epochs, flat, values)


# Iterative FGSM Augmentation as one road: supplement, Fig. 3.
#
# | step | what | component |
# | --- | --- | --- |
# | 1 | load images | ExampleGen |
# | 2 | train a classifier | Trainer |
# | 3 | attack it (TA, RA) | Evaluator |
# | 4 | N opposite-FGSM steps | DeltaGen |
# | 5 | learn image -> Delta | TranslatorTrainer |
# | 6 | combine | Combiner |
# | 7 | attack the pair | Evaluator |
# | 8 | look at the walk | Analyzer |
# | 9 | table and figures | Reporter |
# | 10 | ship both | Pusher |
#
# ```python
# print(run(config))  # config as in configs/defaults.py
# ```


def run(config: pipeline_config.Config) -> str:
    """Runs every step whose result is not known yet.

    Args:
      config: The settings of configs/defaults.py.

    Returns:
      The final table and where everything lies, as text.

    Raises:
      InputError: A setting, a folder or the data cannot be used, the disk
        is full, or an exported model has not the measured accuracy; a
        second start goes on.
      OrchestrationError: The pipeline root cannot be used.
    """
    pipeline_config.check_config(config)
    run = pipelines_run.open_run(config)
    log_run(run)
    description = {
        **pipeline_config.get_config_identity(config),
        "versions": pipelines_run.collect_versions(),
    }
    executions = pipelines_run.run_nodes(run, build_nodes(run), "ifa", description)
    table = write_results(run, executions)
    _check_pushed_models(executions, table)
    return table


def build_nodes(run: RunContext) -> list[Node]:
    """Returns the road's nodes, for each of the epochs asked."""
    arguments = NodeArguments(run.config, run.data.info, run.log_dir)
    example_gen = ExampleGen(**arguments.build_example_gen_kwargs(run.source))
    examples = example_gen.outputs["examples"]
    nodes, previous = [example_gen], None
    for epochs in sorted(set(run.config.training.epochs)):
        trainer = Trainer(
            examples=examples, previous=previous, **arguments.build_trainer_kwargs(epochs)
        )
        previous = trainer.outputs["run"]
        model = trainer.outputs["model"]
        epoch_nodes = [trainer, *_build_augmentation_nodes(arguments, epochs, examples, model)]
        nodes += [node.with_id(f"{node.id}.epoch-{epochs}") for node in epoch_nodes]
    report = Reporter(
        evaluations=_collect_outputs(nodes, "evaluation"),
        analyses=_collect_outputs(nodes, "analysis"),
    )
    return [*nodes, report]


def _build_augmentation_nodes(
    arguments: NodeArguments, epochs: int, examples: Channel, model: Channel
) -> list[Node]:
    """Walks, translates, combines, attacks, analyses and ships one model."""
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
    pushers = [
        Pusher(
            model=exported_model,
            blessing=accuracy_evaluator.outputs["blessing"],
            **arguments.build_pusher_kwargs(name, epochs),
        ).with_id(f"Pusher.{name}")
        for name, exported_model, accuracy_evaluator in (
            ("classifier", model, evaluator),
            ("augmented_classifier", combiner.outputs["model"], combined_evaluator),
        )
    ]
    return [evaluator, delta_gen, translator, combiner, combined_evaluator, analyzer, *pushers]


def _collect_outputs(nodes: list[Node], key: str) -> list[Channel]:
    return [node.outputs[key] for node in nodes if key in node.outputs]


def _check_pushed_models(executions: Mapping[str, Execution], table: str) -> None:
    for node, execution in executions.items():
        for pushed in execution.outputs.get("pushed", ()):
            if not pushed.properties["pushed"]:
                _log.warning("%s", table)
                raise errors.InputError(
                    f"{node} pushed nothing: the exported model does not have "
                    "the test accuracy that was measured. Its Evaluator's "
                    "blessing.json tells both; everything else is finished."
                )
