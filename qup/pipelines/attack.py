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
from qup.pipelines.arguments import Arguments
from qup.pipelines.opening import Run
from qup.pipelines.request import Request as Request
from qup.pipelines.request import digest

_log = logging.getLogger("qup")


def run(config: settings.Config, request: Request) -> str:
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
    chosen = request.chosen(float(config.attack.epsilon), config.attack.norm)
    checking.check(config)
    this = _taking(opening.opened(config), request.imported())
    told = {**this.identity(), "versions": versions.installed()}
    road = nodes(this, request, chosen)
    done = spine.run(this, road, "attack", told)
    rows = _rows(done)
    figures = _draw(this, done)
    with this.workdir.locked("to write its results"):
        this.keep_rows(rows)
    return attack_table.text(this, rows, done, figures)


def _taking(this: Run, source: pathlib.Path | None) -> Run:
    """Returns the run, of the user's own model where there is one."""
    if source is None:
        return this
    return dataclasses.replace(this, imported=(source.stem, digest(source)))


def nodes(this: Run, request: Request, chosen: list[dict]) -> list[Node]:
    """Returns the nodes: the classifiers, and each under each attack."""
    given = Arguments(this.config, this.data.info, this.log_dir)
    generated = ExampleGen(**given.examples(this.source))
    examples = generated.outputs["examples"]
    source = request.imported()
    if source is not None:
        name, content = this.imported
        importer = ModelImporter(
            content=content,
            dataset=this.data.info.name,
            image_shape=list(this.data.info.image_shape),
            name=name,
            num_classes=this.data.info.num_classes,
            source=str(source.absolute()),
        )
        attackers = _attackers(
            this, request, chosen, examples, importer.outputs["model"], "own"
        )
        return [generated, importer, *attackers]
    road, previous = [generated], None
    for epochs in sorted(set(this.config.training.epochs)):
        trainer = Trainer(
            examples=examples, previous=previous, **given.training(epochs)
        ).with_id(f"Trainer.epoch-{epochs}")
        previous = trainer.outputs["run"]
        model = trainer.outputs["model"]
        road += [trainer, *_attackers(
            this, request, chosen, examples, model, f"epoch-{epochs}"
        )]  # fmt: skip
    return road


def _attackers(
    this: Run,
    request: Request,
    chosen: list[dict],
    examples: Channel,
    model: Channel,
    name: str,
) -> list[Node]:
    common = {
        "examples": examples,
        "model": model,
        "split": this.config.dataset.evaluation_split,
        "seed": this.config.seed,
    }
    epsilon = request.epsilon
    if epsilon is None:
        epsilon = float(this.config.attack.epsilon)
    looks = []
    if request.conjugates:
        looks.append(ConjugateDrawer(epsilon=epsilon, **common))
    if request.diagnose:
        looks.append(
            Diagnoser(epsilon=epsilon, batch_size=request.batch_size, **common)
        )
    looks = [look.with_id(f"{look.id}.{name}") for look in looks]
    return looks + [
        Attacker(
            attack=options,
            num_images=request.num_images or None,
            batch_size=request.batch_size,
            precision=request.precision,
            save_images=request.save_images,
            log_dir=str(this.log_dir),
            **common,
        ).with_id(f"Attacker.{options['name']}.{name}")
        for options in chosen
    ]


def _draw(this: Run, done: Mapping[str, Execution]) -> list[pathlib.Path]:
    """Copies the figures to the working directory; returns their paths."""
    figures = []
    for node, execution in done.items():
        for report in execution.outputs.get("report", ()):
            picture = report.path / "conjugates.png"
            name = f"conjugates-{node.partition('.')[2]}.png"
            figures.append(this.path("figures", name))
            files.write_bytes(figures[-1], picture.read_bytes())
    return figures


def _rows(done: Mapping[str, Execution]) -> list[Row]:
    """Returns the rows of every attack, each once."""
    rows: dict[tuple, Row] = {}
    for execution in done.values():
        for held in execution.outputs.get("evaluation", ()):
            for row in measurements.read(held.path / "measurements.csv"):
                rows[row.key()] = row
    return list(rows.values())
