"""Iterative FGSM Augmentation: supplement, Fig. 4 and Table 1.

Of every network the classifier alone (CL) and behind its translator (ACL),
under the paper's attack, the strong ones, and the checks for masked
gradients; on the way TA and RA of the walked images X_n.
"""

from collections.abc import Iterable

from qup.components.analyzer import Analyzer
from qup.pipelines import experiments
from qup.pipelines.lab import ExperimentBuilder, NetworkHandle
from qup.scales import TablePreset


@experiments.register(order=30)
def supp_table1(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for the supplement's Table 1, MNIST."""
    _add_augmentation_table(builder, builder.scale.tables["table2"], seeds)


@experiments.register(order=40)
def supp_fig4(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for the supplement's Fig. 4, CIFAR-10."""
    _add_augmentation_table(builder, builder.scale.tables["table3"], seeds)


def _add_augmentation_table(
    builder: ExperimentBuilder, table: TablePreset, seeds: Iterable[int]
) -> None:
    for seed in seeds:
        for network in table.networks:
            for epochs in table.epochs:
                if builder.is_selected(network, epochs):
                    handle = builder.add_classifier(network, epochs, seed)
                    builder.add_evaluation(handle)
                    builder.add_strong_attacks(handle)
                    add_checked_pair(builder, handle)


def add_checked_pair(builder: ExperimentBuilder, handle: NetworkHandle) -> NetworkHandle:
    """Returns the pair of the settings, looked at from all sides."""
    pair = add_augmentation_pair(builder, handle)
    # Minutes, where AutoAttack on a pair may take an hour.
    builder.add_masking_checks(pair)
    builder.add_strong_attacks(pair)
    return pair


def add_augmentation_pair(builder: ExperimentBuilder, handle: NetworkHandle) -> NetworkHandle:
    """Returns the pair of the settings under the paper's attack."""
    deltas_node = builder.add_deltas(handle)
    translator_node = builder.add_translator(handle, deltas_node.outputs["deltas"])
    pair = builder.add_augmented_classifier(handle, translator_node.outputs["translator"])
    builder.add_evaluation(pair)
    builder.add_node(
        Analyzer,
        f"Analyzer.{handle.name}",
        **handle.inputs,
        translator=translator_node.outputs["translator"],
        deltas=deltas_node.outputs["deltas"],
        trajectory=deltas_node.outputs["trajectory"],
        **handle.arguments.build_analyzer_kwargs(),
    )
    return pair
