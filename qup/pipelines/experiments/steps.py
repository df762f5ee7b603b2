"""Eqs. 21 and 22: whether the gradient may stand for its sign."""

from collections.abc import Iterable

from qup.components.step_analyzer import StepAnalyzer
from qup.pipelines import experiments
from qup.pipelines.lab import ExperimentBuilder


@experiments.register(order=70)
def eq21(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for steps by sign and by gradient of the tables' networks."""
    for seed in seeds:
        for table in builder.scale.tables.values():
            network, epochs = table.networks[0], table.epochs[0]
            if not builder.is_selected(network, epochs):
                continue
            handle = builder.add_classifier(network, epochs, seed)
            builder.add_node(
                StepAnalyzer,
                f"StepAnalyzer.{handle.name}",
                **handle.inputs,
                epsilons=[handle.epsilon * x for x in (0.25, 0.5, 1.0, 2.0)],
                num_steps=[1, 4],
                num_images=builder.scale.strong_images,
            )
