"""Tables 2 and 3: TA and RA of networks at numbers of epochs.

Beside the paper's four steps (all test images, with and without pixel clip)
stand PGD of 100 steps with 5 restarts and AutoAttack, both on the same first
1,000 test images.
"""

from collections.abc import Iterable

from qup.pipelines import experiments
from qup.pipelines.lab import ExperimentBuilder
from qup.scales import TablePreset


@experiments.register(order=10)
def table2(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for Table 2, MNIST."""
    _add_accuracy_table(builder, builder.scale.tables["table2"], seeds)


@experiments.register(order=20)
def table3(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for Table 3, CIFAR-10."""
    _add_accuracy_table(builder, builder.scale.tables["table3"], seeds)


def _add_accuracy_table(
    builder: ExperimentBuilder, table: TablePreset, seeds: Iterable[int]
) -> None:
    for seed in seeds:
        for network in table.networks:
            for epochs in table.epochs:
                if not builder.is_selected(network, epochs):
                    continue
                handle = builder.add_classifier(network, epochs, seed)
                builder.add_evaluation(handle)
                builder.add_strong_attacks(handle)
