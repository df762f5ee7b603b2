"""Table 4: every attack and its conjugate, in pictures and in spectra."""

from collections.abc import Iterable

from qup.components.conjugate_drawer import ConjugateDrawer
from qup.pipelines import experiments
from qup.pipelines.lab import ExperimentBuilder


@experiments.register(order=75)
def table4(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for all attacks on the first network of each table."""
    for seed in seeds:
        for table in builder.scale.tables.values():
            network, epochs = table.networks[0], table.epochs[0]
            if builder.is_selected(network, epochs):
                handle = builder.add_classifier(network, epochs, seed)
                builder.add_node(
                    ConjugateDrawer,
                    f"ConjugateDrawer.{handle.name}",
                    **handle.inputs,
                    epsilon=handle.epsilon,
                    num_images=builder.scale.few_images,
                    seed=seed,
                )
