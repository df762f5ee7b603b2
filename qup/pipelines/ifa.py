"""Iterative FGSM Augmentation as one road: supplement, Fig. 3.

| step | what | component |
| --- | --- | --- |
| 1 | load images | ExampleGen |
| 2 | train a classifier | Trainer |
| 3 | attack it (TA, RA) | Evaluator |
| 4 | N opposite-FGSM steps | DeltaGen |
| 5 | learn image -> Delta | TranslatorTrainer |
| 6 | combine | Combiner |
| 7 | attack the pair | Evaluator |
| 8 | look at the walk | Analyzer |
| 9 | table and figures | Reporter |
| 10 | ship both | Pusher |

```python
print(run(config))  # config as in configs/defaults.py
```
"""

import logging
from collections.abc import Mapping

from qup import errors, versions
from qup.components.analyzer import Analyzer
from qup.components.combiner import Combiner
from qup.components.delta_gen import DeltaGen
from qup.components.evaluator import Evaluator
from qup.components.example_gen import ExampleGen
from qup.components.pusher import Pusher
from qup.components.reporter import Reporter
from qup.components.trainer import Trainer
from qup.components.translator_trainer import TranslatorTrainer
from qup.orchestration import Channel, Execution, Node
from qup.pipelines import checking, opening, settings, showing, spine
from qup.pipelines.arguments import NodeArguments
from qup.pipelines.opening import RunContext

_log = logging.getLogger("qup")


def run(config: settings.Config) -> str:
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
    checking.check_config(config)
    run = opening.open_run(config)
    showing.log_run(run)
    description = {**settings.get_config_identity(config), "versions": versions.collect_versions()}
    executions = spine.run_nodes(run, build_nodes(run), "ifa", description)
    table = showing.write_results(run, executions)
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
