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

from collections.abc import Mapping
from typing import Any

from qup.components.attacker import Attacker
from qup.components.combiner import Combiner
from qup.components.delta_gen import DeltaGen
from qup.components.diagnoser import Diagnoser
from qup.components.evaluator import Evaluator
from qup.components.translator_trainer import TranslatorTrainer
from qup.orchestration import Channel, Node
from qup.pipelines import settings
from qup.pipelines.planning import NodeCache
from qup.pipelines.trained import NetworkHandle as NetworkHandle


class ExperimentBuilder(NodeCache):
    """A plan of networks, and of what is measured of them."""

    def add_evaluation(self, handle: NetworkHandle, **changes: Any) -> Node:
        """Returns the paper's attack, with and without pixel clip."""
        attack = settings.get_attack_options(handle.arguments.config) | {"check_steps": 0}
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
