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
from qup.pipelines.planning import Plan
from qup.pipelines.trained import Trained as Trained


class Lab(Plan):
    """A plan of networks, and of what is measured of them."""

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
