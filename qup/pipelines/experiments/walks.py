"""Supplement, Figs. 2 and 3: the walk X_n, and the pipeline that learns it."""

from collections.abc import Iterable, Iterator

from qup.components.walk_meter import WalkMeter
from qup.pipelines import experiments
from qup.pipelines.experiments.augmentation import add_augmentation_pair
from qup.pipelines.lab import ExperimentBuilder
from qup.scales import NetworkPreset, TablePreset


@experiments.register(order=27)
def supp_fig2(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for the walk of every network of the tables, most epochs."""
    for seed in seeds:
        for table in builder.scale.tables.values():
            for network in table.networks:
                for epochs in _select_epochs(builder, table, network)[-1:]:
                    handle = builder.add_classifier(network, epochs, seed)
                    analysis_arguments = handle.arguments.build_analyzer_kwargs()
                    builder.add_node(
                        WalkMeter,
                        f"WalkMeter.{handle.name}",
                        model=handle.model,
                        trajectory=builder.add_deltas(handle).outputs["trajectory"],
                        attack=analysis_arguments["attack"],
                        row_parameters=analysis_arguments["row_parameters"],
                    )


@experiments.register(order=45)
def supp_fig3(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for the whole pipeline of one network of each table.

    It is the residual one, as in the paper's figure, where it is wanted;
    after the fewest epochs.
    """
    for seed in seeds:
        for table in builder.scale.tables.values():
            for network, epochs in _select_first_network(builder, table):
                handle = builder.add_classifier(network, epochs, seed)
                builder.add_evaluation(handle)
                add_augmentation_pair(builder, handle)


def _select_epochs(
    builder: ExperimentBuilder, table: TablePreset, network: NetworkPreset
) -> list[int]:
    return [n for n in table.epochs if builder.is_selected(network, n)]


def _select_first_network(
    builder: ExperimentBuilder, table: TablePreset
) -> Iterator[tuple[NetworkPreset, int]]:
    """Yields the first network that is wanted, residual ones before others."""
    ordered = sorted(table.networks, key=lambda n: n.model != "resnet")
    for network in ordered:
        for epochs in _select_epochs(builder, table, network)[:1]:
            yield network, epochs
            return
