"""Tables 2 and 3: TA and RA of networks at numbers of epochs.

Beside the paper's four steps (all test images, with and without pixel clip)
stand PGD of 100 steps with 5 restarts and AutoAttack, both on the same first
1,000 test images.
"""

from collections.abc import Iterable

from qup.pipelines import experiments
from qup.pipelines.lab import Lab
from qup.scales import Table


@experiments.register(order=10)
def table2(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for Table 2, MNIST."""
    _table(lab, lab.scale.tables["table2"], seeds)


@experiments.register(order=20)
def table3(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for Table 3, CIFAR-10."""
    _table(lab, lab.scale.tables["table3"], seeds)


def _table(lab: Lab, table: Table, seeds: Iterable[int]) -> None:
    for seed in seeds:
        for network in table.networks:
            for epochs in table.epochs:
                if not lab.wanted(network, epochs):
                    continue
                trained = lab.classifier(network, epochs, seed)
                lab.attacked(trained)
                lab.strongly(trained)
