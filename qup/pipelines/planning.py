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
from qup.pipelines.arguments import NodeArguments
from qup.pipelines.opening import RunContext
from qup.pipelines.trained import NetworkHandle
from qup.scales import NetworkPreset, Scale


class NodeCache:
    """Makes nodes, each once.

    Attributes:
      scale: How much is computed.
      nodes: All nodes that this experiment needs, by their ids.
      folders: Folders by name.
    """

    def __init__(
        self,
        scale: Scale,
        contexts: Callable[[NetworkPreset], RunContext],
        *,
        shared: dict[str, Node],
        folders: Mapping[str, Any] | None = None,
        models: Collection[str] | None = None,
        epochs: Collection[int] | None = None,
    ):
        """Sets up a plan without nodes.

        Args:
          scale: How much is computed.
          contexts: Returns the settings and the data of a network.
          shared: Nodes that other experiments have asked for.
          folders: "workdir", and folders that some experiments need.
          models: Only these architectures; None for all.
          epochs: Only these numbers of epochs; None for all.
        """
        self.scale = scale
        self.nodes: dict[str, Node] = {}
        self._contexts, self._shared = contexts, shared
        self._models, self._epochs = models, epochs
        self.folders = folders or {}

    @property
    def scratch_dir(self) -> pathlib.Path:
        """A folder for files that nodes read and nobody keeps."""
        return pathlib.Path(self.folders["workdir"], "scratch").absolute()

    def is_selected(self, network: NetworkPreset, epochs: int) -> bool:
        """Says whether a network at some epochs was asked for."""
        return (self._models is None or network.model in self._models) and (
            self._epochs is None or epochs in self._epochs
        )

    def add_node(self, component: Component, node_id: str, **arguments: Any) -> Node:
        """Returns the node of that id, made with `arguments` if it is new."""
        if node_id not in self._shared:
            self._shared[node_id] = component(**arguments).with_id(node_id)
        node = self.nodes[node_id] = self._shared[node_id]
        return node

    def add_examples(self, network: NetworkPreset) -> Channel:
        """Returns the images of a network, the same ones for all seeds."""
        run = self._contexts(network)
        arguments = NodeArguments(run.config, run.data.info, run.log_dir)
        node = self.add_node(
            ExampleGen,
            f"ExampleGen.{network.dataset}",
            **arguments.build_example_gen_kwargs(run.source),
        )
        return node.outputs["examples"]

    def build_arguments(self, network: NetworkPreset, seed: int) -> NodeArguments:
        """Returns what nodes of a network are given."""
        run = self._contexts(network)
        config = copy.deepcopy(run.config)
        config.seed = seed
        log_dir = run.get_path("tensorboard", f"{network.dataset}.{network.model}.seed-{seed}")
        return NodeArguments(config, run.data.info, log_dir.absolute())

    def add_classifier(self, network: NetworkPreset, epochs: int, seed: int) -> NetworkHandle:
        """Returns a classifier, trained through all epochs of its table."""
        arguments, examples = self.build_arguments(network, seed), self.add_examples(network)
        label = f"{network.dataset}.{network.model}.seed-{seed}"
        previous = None
        checkpoint_epochs = {n for n in self._get_table_epochs(network) if n < epochs} | {epochs}
        for number in sorted(checkpoint_epochs):
            name = f"{label}.epoch-{number}"
            node = self.add_node(
                Trainer,
                f"Trainer.{name}",
                examples=examples,
                previous=previous,
                **arguments.build_trainer_kwargs(number),
            )
            previous = node.outputs["run"]
        return NetworkHandle(
            name,
            network,
            epochs,
            seed,
            arguments,
            examples,
            node.outputs["model"],
            node.outputs["run"],
        )

    def _get_table_epochs(self, network: NetworkPreset) -> tuple[int, ...]:
        for table in self.scale.tables.values():
            if network in table.networks:
                return table.epochs
        return ()
