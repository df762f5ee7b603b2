"""The laboratory: what is done to the networks of an experiment.

Experiments ask it for networks and looks; what two experiments ask for is
one node, so that it is made once.

```python
lab = Lab(scale, benches, shared={})
trained = lab.classifier(network, epochs=30, seed=0)
lab.attacked(trained)
lab.nodes  # by their ids
```
"""

import copy
import dataclasses
import pathlib
from collections.abc import Callable, Collection, Mapping
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
from qup.reproduction.presets import NetworkPreset, Scale

# A network of the laboratory, and what further nodes need of it.
#
# ```python
# Evaluator(**trained.images, **trained.given.evaluation())
# ```


@dataclasses.dataclass(frozen=True)
class NetworkHandle:
    """A network of the laboratory.

    Attributes:
      name: In the ids of nodes, "mnist.convnet.seed-0.epoch-1".
      network: What it is.
      epochs: Epochs of the classifier.
      seed: Of its training.
      arguments: Arguments of further nodes.
      examples: The images.
      model: The network.
      run: Its training; None of one that has none of its own.
    """

    name: str
    network: NetworkPreset
    epochs: int
    seed: int
    arguments: NodeArguments
    examples: Channel
    model: Channel
    run: Channel | None = None

    @property
    def inputs(self) -> dict[str, Channel]:
        """What most components read."""
        return {"examples": self.examples, "model": self.model}

    @property
    def epsilon(self) -> float:
        """The budget of attacks on this dataset."""
        return float(self.arguments.config.attack.epsilon)

    def derive(self, suffix: str, model: Channel) -> "NetworkHandle":
        """Returns another network that was made of this one."""
        return dataclasses.replace(self, name=f"{self.name}.{suffix}", model=model, run=None)


# Networks of several seeds as nodes, each of which is planned once.
#
# ```python
# plan = Plan(scale, benches, shared={})
# trained = plan.classifier(network, epochs=30, seed=0)
# plan.nodes  # by their ids
# ```


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


class ExperimentBuilder(NodeCache):
    """A plan of networks, and of what is measured of them."""

    def add_evaluation(self, handle: NetworkHandle, **changes: Any) -> Node:
        """Returns the paper's attack, with and without pixel clip."""
        attack = pipeline_config.get_attack_options(handle.arguments.config) | {"check_steps": 0}
        return self.add_node(
            Evaluator,
            f"Evaluator.{_format_node_name(handle.name, changes)}",
            **handle.inputs,
            attack=attack | changes,
            split="test",
            seed=handle.seed,
            check_export=False,
        )

    def add_attack(
        self, handle: NetworkHandle, label: str, attack: Mapping[str, Any], count: int
    ) -> Node:
        """Returns one attack on the first `count` test images."""
        return self.add_node(
            Attacker,
            f"Attacker.{label}.{handle.name}",
            **handle.inputs,
            attack=dict(attack),
            num_images=count,
            split="test",
            seed=handle.seed,
        )

    def add_strong_attacks(self, handle: NetworkHandle) -> list[Node]:
        """Returns PGD of many steps and restarts, and AutoAttack."""
        scale, epsilon = self.scale, handle.epsilon
        steps = scale.strong_steps
        strong_pgd = {
            "name": "pgd",
            "epsilon": epsilon,
            "num_steps": steps,
            "step_size": 2.5 * epsilon / steps,
            "random_start": True,
            "restarts": scale.strong_restarts,
            "keep": "first_adversarial",
        }
        worst_case = {**scale.worst_case, "epsilon": epsilon}
        count = scale.strong_images
        return [
            self.add_attack(handle, "pgd", strong_pgd, count),
            self.add_attack(handle, worst_case["name"], worst_case, count),
        ]

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
        """Returns the opposite-FGSM walk of the training images."""
        arguments = handle.arguments.build_delta_gen_kwargs()
        arguments["walk"] = arguments["walk"] | changes
        if "num_steps" in changes:
            points = {n for n in arguments["walk"]["points"] if n < changes["num_steps"]}
            arguments["walk"]["points"] = sorted(points | {changes["num_steps"]})
        name = ".".join(filter(None, (label, handle.name)))
        return self.add_node(DeltaGen, f"DeltaGen.{name}", **handle.inputs, **arguments)

    def add_translator(
        self, handle: NetworkHandle, deltas: Channel, label: str = "", **changes: Any
    ) -> Node:
        """Returns a translator that learnt a walk."""
        arguments = handle.arguments.build_translator_kwargs()
        arguments["options"] = arguments["options"] | changes
        name = ".".join(filter(None, (label, handle.name)))
        # Curves of its own, apart from those of others.
        arguments["log_dir"] = f"{arguments['log_dir']}/{name}"
        return self.add_node(
            TranslatorTrainer,
            f"TranslatorTrainer.{name}",
            **handle.inputs,
            deltas=deltas,
            **arguments,
        )

    def add_augmented_classifier(
        self,
        handle: NetworkHandle,
        translator: Channel,
        label: str = "",
        *,
        through: str = "both",
        **row_parameters: Any,
    ) -> NetworkHandle:
        """Returns a classifier behind a translator.

        Args:
          handle: The classifier.
          translator: What stands before it.
          label: Tells it from other pairs.
          through: What attacks differentiate.
          **row_parameters: What its rows tell beside or instead of the settings.
        """
        arguments = handle.arguments.build_combiner_kwargs()
        arguments["row_parameters"] = arguments["row_parameters"] | row_parameters
        name = f"ACL{f'-{label}' if label else ''}"
        node = self.add_node(
            Combiner,
            f"Combiner.{name}.{handle.name}",
            classifier=handle.model,
            translator=translator,
            **arguments | {"through": through},
        )
        return handle.derive(name, node.outputs["model"])


def _format_node_name(name: str, changes: Mapping[str, Any]) -> str:
    changed_options = [f"{key}-{changes[key]}" for key in sorted(changes)]
    return ".".join([name, *changed_options])


# Networks trained on attacked images: the counter-examples of a trade-off.
#
# ```python
# robust = trained(lab, network, epochs=10, seed=0, method="trades")
# ```


def add_robust_classifier(
    builder: ExperimentBuilder, network: NetworkPreset, epochs: int, seed: int, method: str
) -> NetworkHandle:
    """Returns a network trained on attacked images."""
    arguments, examples = builder.build_arguments(network, seed), builder.add_examples(network)
    epsilon = float(arguments.config.attack.epsilon)
    label = f"{network.dataset}.{network.model}.{method}.seed-{seed}"
    name = f"{label}.epoch-{epochs}"
    training_arguments = arguments.build_trainer_kwargs(epochs)
    training_arguments["log_dir"] = f"{training_arguments['log_dir']}.{method}"
    node = builder.add_node(
        RobustTrainer,
        f"RobustTrainer.{name}",
        examples=examples,
        adversary={"method": method, "epsilon": epsilon},
        **training_arguments,
    )
    return NetworkHandle(name, network, epochs, seed, arguments, examples, node.outputs["model"])


# The settings and the data of every network of a reproduction.
#
# ```python
# benches = Benches(workdir, load=settings_of, change=overrides)
# this = benches(network)
# ```


# Registered name of a dataset -> its settings.
ConfigLoader = Callable[[str], Config]


class DatasetContexts:
    """Opens each dataset once."""

    def __init__(self, load_config: ConfigLoader, overrides: Mapping[str, Any]):
        """Sets up benches.

        Args:
          load_config: Returns the settings of a dataset.
          overrides: Settings by their names, the same for all: folders, and
            what is believed of files.
        """
        self._load_config, self._overrides = load_config, dict(overrides)
        self._runs: dict[str, RunContext] = {}

    def build_config(self, network: NetworkPreset) -> Config:
        """Returns the settings of a network."""
        config = copy.deepcopy(self._load_config(network.dataset))
        config.update_from_flattened_dict(self._overrides)
        config.model.name = network.model
        config.model.update(network.options)
        return config

    def get_class_names(self) -> dict[str, list[str]]:
        """Returns the names of the classes of each dataset opened."""
        return {dataset: list(run.data.info.class_names) for dataset, run in self._runs.items()}

    def get_any_run(self) -> RunContext:
        """Returns one of the runs opened; all have the same folders."""
        if not self._runs:
            # Some experiments need no images: these lie with a library.
            return self(NetworkPreset("digits", "convnet", ""))
        return next(iter(self._runs.values()))

    def __call__(self, network: NetworkPreset) -> RunContext:
        """Returns the settings and the data of a network.

        Raises:
          InputError: The data, or a folder, cannot be used.
        """
        config = self.build_config(network)
        pipeline_config.check_config(config)
        if network.dataset not in self._runs:
            self._runs[network.dataset] = pipelines_run.open_run(config)
        return dataclasses.replace(self._runs[network.dataset], config=config)
