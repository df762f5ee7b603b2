"""Eqs. 21 and 22: whether the gradient may stand for its sign."""

from collections.abc import Iterable

from qup.components.step_analyzer import StepAnalyzer
from qup.pipelines import experiments
from qup.pipelines.lab import Lab


@experiments.register(order=70)
def eq21(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for steps by sign and by gradient of the tables' networks."""
    for seed in seeds:
        for table in lab.scale.tables.values():
            network, epochs = table.networks[0], table.epochs[0]
            if not lab.wanted(network, epochs):
                continue
            of = lab.classifier(network, epochs, seed)
            lab.node(
                StepAnalyzer, f"StepAnalyzer.{of.name}", **of.images,
                epsilons=[of.epsilon * x for x in (0.25, 0.5, 1.0, 2.0)],
                num_steps=[1, 4], num_images=lab.scale.strong_images,
            )  # fmt: skip
