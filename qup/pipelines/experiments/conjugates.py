"""Table 4: every attack and its conjugate, in pictures and in spectra."""

from collections.abc import Iterable

from qup.components.conjugate_drawer import ConjugateDrawer
from qup.pipelines import experiments
from qup.pipelines.lab import Lab


@experiments.register(order=75)
def table4(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for all attacks on the first network of each table."""
    for seed in seeds:
        for table in lab.scale.tables.values():
            network, epochs = table.networks[0], table.epochs[0]
            if lab.wanted(network, epochs):
                of = lab.classifier(network, epochs, seed)
                lab.node(
                    ConjugateDrawer, f"ConjugateDrawer.{of.name}", **of.images,
                    epsilon=of.epsilon, num_images=lab.scale.few_images,
                    seed=seed,
                )  # fmt: skip
