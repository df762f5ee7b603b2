"""Iterative FGSM Augmentation: supplement, Fig. 4 and Table 1.

Of every network the classifier alone (CL) and behind its translator (ACL),
under the paper's attack, the strong ones, and the checks for masked
gradients; on the way TA and RA of the walked images X_n.
"""

from collections.abc import Iterable

from qup.components.analyzer import Analyzer
from qup.pipelines import experiments
from qup.pipelines.lab import Lab, Trained
from qup.scales import Table


@experiments.register(order=30)
def supp_table1(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for the supplement's Table 1, MNIST."""
    _augment(lab, lab.scale.tables["table2"], seeds)


@experiments.register(order=40)
def supp_fig4(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for the supplement's Fig. 4, CIFAR-10."""
    _augment(lab, lab.scale.tables["table3"], seeds)


def _augment(lab: Lab, table: Table, seeds: Iterable[int]) -> None:
    for seed in seeds:
        for network in table.networks:
            for epochs in table.epochs:
                if lab.wanted(network, epochs):
                    trained = lab.classifier(network, epochs, seed)
                    lab.attacked(trained)
                    lab.strongly(trained)
                    augmented(lab, trained)


def augmented(lab: Lab, of: Trained) -> Trained:
    """Returns the pair of the settings, looked at from all sides."""
    pair = paired(lab, of)
    # Minutes, where AutoAttack on a pair may take an hour.
    lab.diagnosed(pair)
    lab.strongly(pair)
    return pair


def paired(lab: Lab, of: Trained) -> Trained:
    """Returns the pair of the settings under the paper's attack."""
    walk = lab.walk(of)
    translator = lab.translator(of, walk.outputs["deltas"])
    pair = lab.augmented(of, translator.outputs["translator"])
    lab.attacked(pair)
    lab.node(
        Analyzer, f"Analyzer.{of.name}", **of.images,
        translator=translator.outputs["translator"],
        deltas=walk.outputs["deltas"],
        trajectory=walk.outputs["trajectory"],
        **of.given.analysis(),
    )  # fmt: skip
    return pair
