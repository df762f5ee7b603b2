"""Attacks on one classifier, image by image.

| step | what | component |
| --- | --- | --- |
| 1 | load images | ExampleGen |
| 2 | train a classifier, or take the user's | Trainer, ModelImporter |
| 3 | attack it, once for each attack | Attacker |
| 4 | draw Table 4, where asked | ConjugateDrawer |
| 5 | look for masked gradients, where asked | Diagnoser |

The first two are those of the road: a classifier that it has trained is
taken from its pipeline root.

```python
print(run(config, Request(attacks=("autoattack", "deepfool"))))
```
"""

import dataclasses
import logging
import pathlib
from collections.abc import Mapping

from qup import files, measurements, versions
from qup.components.attacker import Attacker
from qup.components.conjugate_drawer import ConjugateDrawer
from qup.components.diagnoser import Diagnoser
from qup.components.example_gen import ExampleGen
from qup.components.model_importer import ModelImporter
from qup.components.trainer import Trainer
from qup.measurements import Row
from qup.orchestration import Channel, Execution, Node
from qup.pipelines import attack_table, checking, opening, settings, spine
from qup.pipelines.arguments import NodeArguments
from qup.pipelines.opening import RunContext
from qup.pipelines.request import AttackRequest as AttackRequest
from qup.pipelines.request import hash_model_files

_log = logging.getLogger("qup")


def run(config: settings.Config, request: AttackRequest) -> str:
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
    checking.check_config(config)
    run = _with_imported_model(opening.open_run(config), request.check_model_source())
    description = {**run.get_identity(), "versions": versions.collect_versions()}
    nodes = build_nodes(run, request, attack_specs)
    executions = spine.run_nodes(run, nodes, "attack", description)
    rows = _load_rows(executions)
    figures = _copy_figures(run, executions)
    with run.workdir.lock("to write its results"):
        run.append_measurements(rows)
    return attack_table.format_attack_table(run, rows, executions, figures)


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
