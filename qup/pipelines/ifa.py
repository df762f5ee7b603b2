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
from qup.pipelines import (
    checking,
    opening,
    settings,
    showing,
    spine,
)
from qup.pipelines.arguments import Arguments
from qup.pipelines.opening import Run

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
    checking.check(config)
    this = opening.opened(config)
    showing.describe(this)
    told = {**settings.identity(config), "versions": versions.installed()}
    done = spine.run(this, nodes(this), "ifa", told)
    table = showing.finish(this, done)
    _check_pushed(done, table)
    return table


def nodes(this: Run) -> list[Node]:
    """Returns the road's nodes, for each of the epochs asked."""
    given = Arguments(this.config, this.data.info, this.log_dir)
    generated = ExampleGen(**given.examples(this.source))
    examples = generated.outputs["examples"]
    road, previous = [generated], None
    for epochs in sorted(set(this.config.training.epochs)):
        trainer = Trainer(
            examples=examples, previous=previous, **given.training(epochs)
        )
        previous = trainer.outputs["run"]
        model = trainer.outputs["model"]
        steps = [trainer, *_augmented(given, epochs, examples, model)]
        road += [node.with_id(f"{node.id}.epoch-{epochs}") for node in steps]
    report = Reporter(
        evaluations=_outputs(road, "evaluation"),
        analyses=_outputs(road, "analysis"),
    )
    return [*road, report]


def _augmented(
    given: Arguments, epochs: int, examples: Channel, model: Channel
) -> list[Node]:
    """Walks, translates, combines, attacks, analyses and ships one model."""
    evaluator = Evaluator(
        examples=examples, model=model, **given.evaluation()
    ).with_id("Evaluator.CL")
    delta_gen = DeltaGen(examples=examples, model=model, **given.walk())
    translator = TranslatorTrainer(
        examples=examples,
        model=model,
        deltas=delta_gen.outputs["deltas"],
        **given.translation(),
    )
    combiner = Combiner(
        classifier=model,
        translator=translator.outputs["translator"],
        **given.combination(),
    )
    augmented = Evaluator(
        examples=examples,
        model=combiner.outputs["model"],
        **given.evaluation(),
    ).with_id("Evaluator.ACL")
    analyzer = Analyzer(
        examples=examples,
        model=model,
        translator=translator.outputs["translator"],
        deltas=delta_gen.outputs["deltas"],
        trajectory=delta_gen.outputs["trajectory"],
        **given.analysis(),
    )
    pushers = [
        Pusher(
            model=shipped,
            blessing=judge.outputs["blessing"],
            **given.pushing(name, epochs),
        ).with_id(f"Pusher.{name}")
        for name, shipped, judge in (
            ("classifier", model, evaluator),
            ("augmented_classifier", combiner.outputs["model"], augmented),
        )
    ]
    return [
        evaluator, delta_gen, translator, combiner, augmented, analyzer,
        *pushers,
    ]  # fmt: skip


def _outputs(road: list[Node], key: str) -> list[Channel]:
    return [node.outputs[key] for node in road if key in node.outputs]


def _check_pushed(done: Mapping[str, Execution], table: str) -> None:
    for node, execution in done.items():
        for pushed in execution.outputs.get("pushed", ()):
            if not pushed.properties["pushed"]:
                _log.warning("%s", table)
                raise errors.InputError(
                    f"{node} pushed nothing: the exported model does not have "
                    "the test accuracy that was measured. Its Evaluator's "
                    "blessing.json tells both; everything else is finished."
                )
