"""The laboratory: networks of several seeds, and what is done to them.

Experiments ask it for networks and looks; what two experiments ask for is
one node, so that it is made once.

```python
lab = Lab(scale, benches)
trained = lab.classifier(network, epochs=30, seed=0)
lab.attacked(trained)
lab.nodes  # by their ids
```
"""

import copy
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from qup.components.attacker import Attacker
from qup.components.combiner import Combiner
from qup.components.delta_gen import DeltaGen
from qup.components.diagnoser import Diagnoser
from qup.components.evaluator import Evaluator
from qup.components.example_gen import ExampleGen
from qup.components.trainer import Trainer
from qup.components.translator_trainer import TranslatorTrainer
from qup.orchestration import Channel, Component, Node
from qup.pipelines import settings
from qup.pipelines.arguments import Arguments
from qup.pipelines.opening import Run
from qup.pipelines.trained import Trained as Trained
from qup.scales import Network, Scale


class Lab:
    """Makes nodes, each once.

    Attributes:
      scale: How much is computed.
      nodes: All nodes that this experiment needs, by their ids.
      places: Folders by name.
    """

    def __init__(
        self,
        scale: Scale,
        bench: Callable[[Network], Run],
        *,
        shared: dict[str, Node],
        places: Mapping[str, Any] | None = None,
        models: Collection[str] | None = None,
        epochs: Collection[int] | None = None,
    ):
        """Sets up a laboratory.

        Args:
          scale: How much is computed.
          bench: Returns the settings and the data of a network.
          shared: Nodes that other experiments have asked for.
          places: "workdir", and folders that some experiments need.
          models: Only these architectures; None for all.
          epochs: Only these numbers of epochs; None for all.
        """
        self.scale = scale
        self.nodes: dict[str, Node] = {}
        self._bench, self._shared = bench, shared
        self._models, self._epochs = models, epochs
        self.places = places or {}

    @property
    def scratch(self) -> pathlib.Path:
        """A folder for files that nodes read and nobody keeps."""
        return pathlib.Path(self.places["workdir"], "scratch").absolute()

    def wanted(self, network: Network, epochs: int) -> bool:
        """Says whether a network at some epochs was asked for."""
        return (self._models is None or network.model in self._models) and (
            self._epochs is None or epochs in self._epochs
        )

    def node(self, component: Component, node_id: str, **given: Any) -> Node:
        """Returns the node of that id, made with `given` if it is new."""
        if node_id not in self._shared:
            self._shared[node_id] = component(**given).with_id(node_id)
        node = self.nodes[node_id] = self._shared[node_id]
        return node

    def examples(self, network: Network) -> Channel:
        """Returns the images of a network, the same ones for all seeds."""
        this = self._bench(network)
        given = Arguments(this.config, this.data.info, this.log_dir)
        node = self.node(
            ExampleGen, f"ExampleGen.{network.dataset}",
            **given.examples(this.source),
        )  # fmt: skip
        return node.outputs["examples"]

    def arguments(self, network: Network, seed: int) -> Arguments:
        """Returns what nodes of a network are given."""
        this = self._bench(network)
        config = copy.deepcopy(this.config)
        config.seed = seed
        board = this.path(
            "tensorboard", f"{network.dataset}.{network.model}.seed-{seed}"
        )
        return Arguments(config, this.data.info, board.absolute())

    def classifier(self, network: Network, epochs: int, seed: int) -> Trained:
        """Returns a classifier, trained through all epochs of its table."""
        given, examples = self.arguments(network, seed), self.examples(network)
        label = f"{network.dataset}.{network.model}.seed-{seed}"
        previous = None
        stops = {n for n in self._stops(network) if n < epochs} | {epochs}
        for number in sorted(stops):
            name = f"{label}.epoch-{number}"
            node = self.node(
                Trainer, f"Trainer.{name}", examples=examples,
                previous=previous, **given.training(number),
            )  # fmt: skip
            previous = node.outputs["run"]
        return Trained(
            name, network, epochs, seed, given, examples,
            node.outputs["model"], node.outputs["run"],
        )  # fmt: skip

    def _stops(self, network: Network) -> tuple[int, ...]:
        for table in self.scale.tables.values():
            if network in table.networks:
                return table.epochs
        return ()

    def attacked(self, of: Trained, **changes: Any) -> Node:
        """Returns the paper's attack, with and without pixel clip."""
        attack = settings.attack(of.given.config) | {"check_steps": 0}
        return self.node(
            Evaluator, f"Evaluator.{_named(of.name, changes)}", **of.images,
            attack=attack | changes, split="test", seed=of.seed,
            check_export=False,
        )  # fmt: skip

    def attack(
        self, of: Trained, label: str, attack: Mapping[str, Any], count: int
    ) -> Node:
        """Returns one attack on the first `count` test images."""
        return self.node(
            Attacker, f"Attacker.{label}.{of.name}", **of.images,
            attack=dict(attack), num_images=count, split="test", seed=of.seed,
        )  # fmt: skip

    def strongly(self, of: Trained) -> list[Node]:
        """Returns PGD of many steps and restarts, and AutoAttack."""
        scale, epsilon = self.scale, of.epsilon
        steps = scale.strong_steps
        climbing = {
            "name": "pgd", "epsilon": epsilon, "num_steps": steps,
            "step_size": 2.5 * epsilon / steps, "random_start": True,
            "restarts": scale.strong_restarts, "keep": "first_adversarial",
        }  # fmt: skip
        worst = {**scale.worst, "epsilon": epsilon}
        count = scale.strong_images
        return [
            self.attack(of, "pgd", climbing, count),
            self.attack(of, worst["name"], worst, count),
        ]

    def diagnosed(self, of: Trained) -> Node:
        """Returns the checks for masked gradients."""
        return self.node(
            Diagnoser, f"Diagnoser.{of.name}", **of.images,
            epsilon=of.epsilon, seed=of.seed,
            num_images=self.scale.checked_images,
        )  # fmt: skip

    def walk(self, of: Trained, label: str = "", **changes: Any) -> Node:
        """Returns the opposite-FGSM walk of the training images."""
        given = of.given.walk()
        given["walk"] = given["walk"] | changes
        if "num_steps" in changes:
            points = {
                n for n in given["walk"]["points"] if n < changes["num_steps"]
            }
            given["walk"]["points"] = sorted(points | {changes["num_steps"]})
        name = ".".join(filter(None, (label, of.name)))
        return self.node(DeltaGen, f"DeltaGen.{name}", **of.images, **given)

    def translator(
        self, of: Trained, deltas: Channel, label: str = "", **changes: Any
    ) -> Node:
        """Returns a translator that learnt a walk."""
        given = of.given.translation()
        given["options"] = given["options"] | changes
        name = ".".join(filter(None, (label, of.name)))
        # Curves of its own, apart from those of others.
        given["log_dir"] = f"{given['log_dir']}/{name}"
        return self.node(
            TranslatorTrainer, f"TranslatorTrainer.{name}", **of.images,
            deltas=deltas, **given,
        )  # fmt: skip

    def augmented(
        self,
        of: Trained,
        translator: Channel,
        label: str = "",
        *,
        through: str = "both",
        **rows: Any,
    ) -> Trained:
        """Returns a classifier behind a translator.

        Args:
          of: The classifier.
          translator: What stands before it.
          label: Tells it from other pairs.
          through: What attacks differentiate.
          **rows: What its rows tell beside or instead of the settings.
        """
        given = of.given.combination()
        given["row_parameters"] = given["row_parameters"] | rows
        name = f"ACL{f'-{label}' if label else ''}"
        node = self.node(
            Combiner, f"Combiner.{name}.{of.name}", classifier=of.model,
            translator=translator, **given | {"through": through},
        )  # fmt: skip
        return of.become(name, node.outputs["model"])


def _named(name: str, changes: Mapping[str, Any]) -> str:
    told = [f"{key}-{changes[key]}" for key in sorted(changes)]
    return ".".join([name, *told])
