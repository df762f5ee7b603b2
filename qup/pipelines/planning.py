"""Networks of several seeds as nodes, each of which is planned once.

```python
plan = Plan(scale, benches, shared={})
trained = plan.classifier(network, epochs=30, seed=0)
plan.nodes  # by their ids
```
"""

import copy
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from qup.components.example_gen import ExampleGen
from qup.components.trainer import Trainer
from qup.orchestration import Channel, Component, Node
from qup.pipelines.arguments import Arguments
from qup.pipelines.opening import Run
from qup.pipelines.trained import Trained
from qup.scales import Network, Scale


class Plan:
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
        """Sets up a plan without nodes.

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
