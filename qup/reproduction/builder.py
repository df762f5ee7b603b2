"""Builds the nodes of experiments: networks, and what is measured of them.

Experiments share nodes: a network or a measurement that two experiments need is one node.

```python
builder = ExperimentBuilder(scale, load_config, {"workdir": "runs/reproduction"})
nodes = builder.build(experiments.get("table2"), seeds=(0, 1))
```
"""

import copy
import dataclasses
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from qup.orchestration import Channel, Component, Node
from qup.pipelines import config as pipeline_config
from qup.pipelines import run as pipelines_run
from qup.pipelines.components.attacker import Attacker, Diagnoser
from qup.pipelines.components.augmentation import Combiner, DeltaGen, TranslatorTrainer
from qup.pipelines.components.evaluator import Evaluator
from qup.pipelines.components.examples import ExampleGen
from qup.pipelines.components.trainer import RobustTrainer, Trainer
from qup.pipelines.config import Config, NodeArguments
from qup.pipelines.run import RunContext
from qup.reproduction.presets import NetworkPreset, Scale, TablePreset

# Registered name of a dataset -> its settings.
ConfigLoader = Callable[[str], Config]


@dataclasses.dataclass(frozen=True)
class NetworkHandle:
    """A network of an experiment.

    Attributes:
      name: Part of node ids, "mnist.convnet.seed-0.epoch-1".
      network: The architecture and the dataset.
      epochs: Epochs of the classifier.
      seed: Of its training.
      arguments: Arguments of further nodes.
      examples: The images.
      model: The network.
    """

    name: str
    network: NetworkPreset
    epochs: int
    seed: int
    arguments: NodeArguments
    examples: Channel
    model: Channel

    @property
    def inputs(self) -> dict[str, Channel]:
        """The inputs of most components."""
        return {"examples": self.examples, "model": self.model}

    @property
    def epsilon(self) -> float:
        """The budget of attacks on this dataset."""
        return float(self.arguments.config.attack.epsilon)


class ExperimentBuilder:
    """Builds nodes from settings, each node once.

    Attributes:
      scale: Sizes of the experiments.
      folders: "workdir", and folders that some experiments need.
      nodes: All nodes of the experiment that is built, by id.
    """

    def __init__(
        self,
        scale: Scale,
        load_config: ConfigLoader,
        overrides: Mapping[str, Any],
        *,
        folders: Mapping[str, Any] | None = None,
        models: Collection[str] | None = None,
        epochs: Collection[int] | None = None,
    ):
        """Creates a builder without nodes.

        Args:
          scale: Sizes of the experiments.
          load_config: Returns the settings of a dataset.
          overrides: Settings by name that replace those of all datasets, such as folders.
          folders: See the class.
          models: Selected architectures; None for all.
          epochs: Selected numbers of epochs; None for all.
        """
        self.scale = scale
        self.folders = folders or {}
        self.nodes: dict[str, Node] = {}
        self._load_config, self._overrides = load_config, dict(overrides)
        self._models, self._epochs = models, epochs
        self._all_nodes: dict[str, Node] = {}
        self._runs: dict[str, RunContext] = {}

    def build(
        self, experiment: Callable[["ExperimentBuilder", Sequence[int]], None], seeds: Sequence[int]
    ) -> dict[str, Node]:
        """Returns the nodes of an experiment by id; nodes of earlier experiments are reused.

        Raises:
          InputError: The settings, the data or a folder cannot be used.
        """
        self.nodes = {}
        experiment(self, seeds)
        return self.nodes

    # Settings and data.

    def build_config(self, network: NetworkPreset) -> Config:
        """Returns the settings of a network."""
        config = copy.deepcopy(self._load_config(network.dataset))
        config.update_from_flattened_dict(self._overrides)
        config.model.name = network.model
        config.model.update(network.options)
        return config

    def open_run(self, network: NetworkPreset) -> RunContext:
        """Returns the settings and the data of a network; each dataset is opened once.

        Raises:
          InputError: The settings, the data or a folder cannot be used.
        """
        config = self.build_config(network)
        pipeline_config.check_config(config)
        if network.dataset not in self._runs:
            self._runs[network.dataset] = pipelines_run.open_run(config)
        return dataclasses.replace(self._runs[network.dataset], config=config)

    def get_any_run(self) -> RunContext:
        """Returns a run for its folders, which are the same for all datasets."""
        if not self._runs:
            # For experiments without images: digits come with scikit-learn.
            return self.open_run(NetworkPreset("digits", "convnet", ""))
        return next(iter(self._runs.values()))

    def get_class_names(self) -> dict[str, list[str]]:
        """Returns the class names of each opened dataset."""
        return {dataset: list(run.data.info.class_names) for dataset, run in self._runs.items()}

    @property
    def scratch_dir(self) -> pathlib.Path:
        """A folder for temporary files that nodes read."""
        return pathlib.Path(self.folders["workdir"], "scratch").absolute()

    # Selection.

    def is_selected(self, network: NetworkPreset, epochs: int) -> bool:
        """Returns whether the request includes a network at a number of epochs."""
        return (self._models is None or network.model in self._models) and (
            self._epochs is None or epochs in self._epochs
        )

    def select_epochs(self, table: TablePreset, network: NetworkPreset) -> list[int]:
        """Returns the selected numbers of epochs of a network."""
        return [epochs for epochs in table.epochs if self.is_selected(network, epochs)]

    def add_table_classifiers(self, table: TablePreset, seed: int) -> Iterator[NetworkHandle]:
        """Yields the selected classifiers of a table."""
        for network in table.networks:
            for epochs in self.select_epochs(table, network):
                yield self.add_classifier(network, epochs, seed)

    def add_first_classifier(self, table: TablePreset, seed: int) -> NetworkHandle | None:
        """Returns a table's first network at its smallest number of epochs, if selected."""
        network, epochs = table.networks[0], table.epochs[0]
        if not self.is_selected(network, epochs):
            return None
        return self.add_classifier(network, epochs, seed)

    # Nodes.

    def add_node(self, component: Component, node_id: str, **arguments: Any) -> Node:
        """Returns the node with this id; a new one uses `arguments`."""
        if node_id not in self._all_nodes:
            self._all_nodes[node_id] = component(**arguments).with_id(node_id)
        node = self.nodes[node_id] = self._all_nodes[node_id]
        return node

    def add_examples(self, network: NetworkPreset) -> Channel:
        """Returns the images of a network, the same for all seeds."""
        run = self.open_run(network)
        arguments = NodeArguments(run.config, run.data.info, run.log_dir)
        node = self.add_node(
            ExampleGen,
            f"ExampleGen.{network.dataset}",
            **arguments.build_example_gen_kwargs(run.source),
        )
        return node.outputs["examples"]

    def build_arguments(self, network: NetworkPreset, seed: int) -> NodeArguments:
        """Returns the arguments of a network's nodes."""
        run = self.open_run(network)
        config = copy.deepcopy(run.config)
        config.seed = seed
        log_dir = run.get_path("tensorboard", f"{network.dataset}.{network.model}.seed-{seed}")
        return NodeArguments(config, run.data.info, log_dir.absolute())

    def add_classifier(self, network: NetworkPreset, epochs: int, seed: int) -> NetworkHandle:
        """Returns a classifier; its training continues through the smaller epochs of its table."""
        arguments, examples = self.build_arguments(network, seed), self.add_examples(network)
        label = f"{network.dataset}.{network.model}.seed-{seed}"
        table_epochs = next(
            (t.epochs for t in self.scale.tables.values() if network in t.networks), ()
        )
        previous = None
        for number in sorted({n for n in table_epochs if n < epochs} | {epochs}):
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
            name, network, epochs, seed, arguments, examples, node.outputs["model"]
        )

    def add_robust_classifier(
        self, network: NetworkPreset, epochs: int, seed: int, method: str
    ) -> NetworkHandle:
        """Returns a network from adversarial training, such as method "trades"."""
        arguments, examples = self.build_arguments(network, seed), self.add_examples(network)
        name = f"{network.dataset}.{network.model}.{method}.seed-{seed}.epoch-{epochs}"
        trainer_kwargs = arguments.build_trainer_kwargs(epochs)
        trainer_kwargs["log_dir"] = f"{trainer_kwargs['log_dir']}.{method}"
        node = self.add_node(
            RobustTrainer,
            f"RobustTrainer.{name}",
            examples=examples,
            adversary={"method": method, "epsilon": float(arguments.config.attack.epsilon)},
            **trainer_kwargs,
        )
        return NetworkHandle(
            name, network, epochs, seed, arguments, examples, node.outputs["model"]
        )

    def add_evaluation(self, handle: NetworkHandle) -> Node:
        """Returns the evaluation under the paper's attack, with and without pixel clip."""
        attack = pipeline_config.get_attack_options(handle.arguments.config) | {"check_steps": 0}
        return self.add_node(
            Evaluator,
            f"Evaluator.{handle.name}",
            **handle.inputs,
            attack=attack,
            split="test",
            seed=handle.seed,
            check_export=False,
        )

    def add_strong_attacks(self, handle: NetworkHandle) -> None:
        """Adds PGD of many steps and restarts, and AutoAttack, on the first test images."""
        scale, epsilon = self.scale, handle.epsilon
        strong_pgd = {
            "name": "pgd",
            "epsilon": epsilon,
            "num_steps": scale.strong_steps,
            "step_size": 2.5 * epsilon / scale.strong_steps,
            "random_start": True,
            "restarts": scale.strong_restarts,
            "keep": "first_adversarial",
        }
        for attack in (strong_pgd, {**scale.worst_case, "epsilon": epsilon}):
            self.add_node(
                Attacker,
                f"Attacker.{attack['name']}.{handle.name}",
                **handle.inputs,
                attack=attack,
                num_images=scale.strong_images,
                split="test",
                seed=handle.seed,
            )

    def add_masking_checks(self, handle: NetworkHandle) -> Node:
        """Returns the checks for masked gradients."""
        return self.add_node(
            Diagnoser,
            f"Diagnoser.{handle.name}",
            **handle.inputs,
            epsilon=handle.epsilon,
            seed=handle.seed,
            num_images=self.scale.checked_images,
        )

    def add_deltas(self, handle: NetworkHandle, label: str = "", **changes: Any) -> Node:
        """Returns the pairs (X_0, Delta_N) of the training images.

        Args:
          handle: The classifier.
          label: Distinguishes the node from others of the classifier.
          **changes: Options of opposite FGSM that replace the settings.
        """
        arguments = handle.arguments.build_delta_gen_kwargs()
        options = arguments["walk"] = arguments["walk"] | changes
        if "num_steps" in changes:
            last = changes["num_steps"]
            options["points"] = sorted({n for n in options["points"] if n < last} | {last})
        name = ".".join(filter(None, (label, handle.name)))
        return self.add_node(DeltaGen, f"DeltaGen.{name}", **handle.inputs, **arguments)

    def add_translator(
        self, handle: NetworkHandle, deltas: Channel, label: str = "", **changes: Any
    ) -> Channel:
        """Returns a translator that is trained on pairs (X_0, Delta_N).

        Args:
          handle: The classifier.
          deltas: The pairs.
          label: Distinguishes the node from others of the classifier.
          **changes: Options of the translator that replace the settings.
        """
        arguments = handle.arguments.build_translator_kwargs()
        arguments["options"] = arguments["options"] | changes
        name = ".".join(filter(None, (label, handle.name)))
        # A TensorBoard run of its own.
        arguments["log_dir"] = f"{arguments['log_dir']}/{name}"
        node = self.add_node(
            TranslatorTrainer,
            f"TranslatorTrainer.{name}",
            **handle.inputs,
            deltas=deltas,
            **arguments,
        )
        return node.outputs["translator"]

    def add_augmented_classifier(
        self,
        handle: NetworkHandle,
        translator: Channel,
        label: str = "",
        *,
        through: str = "both",
        **row_parameters: Any,
    ) -> NetworkHandle:
        """Returns a classifier behind a translator (ACL).

        Args:
          handle: The classifier.
          translator: The translator.
          label: Distinguishes the network from others of the classifier.
          through: Networks that attacks differentiate.
          **row_parameters: Parameters of its rows that add to, or replace, the settings.
        """
        arguments = handle.arguments.build_combiner_kwargs() | {"through": through}
        arguments["row_parameters"] = arguments["row_parameters"] | row_parameters
        name = f"ACL-{label}" if label else "ACL"
        node = self.add_node(
            Combiner,
            f"Combiner.{name}.{handle.name}",
            classifier=handle.model,
            translator=translator,
            **arguments,
        )
        return dataclasses.replace(
            handle, name=f"{handle.name}.{name}", model=node.outputs["model"]
        )
