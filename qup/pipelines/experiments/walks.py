"""Supplement, Figs. 2 and 3: the walk X_n, and the pipeline that learns it."""

from collections.abc import Iterable, Iterator

from qup.components.walk_meter import WalkMeter
from qup.pipelines import experiments
from qup.pipelines.experiments.augmentation import paired
from qup.pipelines.lab import Lab
from qup.scales import Network, Table


@experiments.register(order=27)
def supp_fig2(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for the walk of every network of the tables, most epochs."""
    for seed in seeds:
        for table in lab.scale.tables.values():
            for network in table.networks:
                for epochs in _wanted(lab, table, network)[-1:]:
                    of = lab.classifier(network, epochs, seed)
                    given = of.given.analysis()
                    lab.node(
                        WalkMeter, f"WalkMeter.{of.name}", model=of.model,
                        trajectory=lab.walk(of).outputs["trajectory"],
                        attack=given["attack"],
                        row_parameters=given["row_parameters"],
                    )  # fmt: skip


@experiments.register(order=45)
def supp_fig3(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for the whole pipeline of one network of each table.

    It is the residual one, as in the paper's figure, where it is wanted;
    after the fewest epochs.
    """
    for seed in seeds:
        for table in lab.scale.tables.values():
            for network, epochs in _first(lab, table):
                of = lab.classifier(network, epochs, seed)
                lab.attacked(of)
                paired(lab, of)


def _wanted(lab: Lab, table: Table, network: Network) -> list[int]:
    return [n for n in table.epochs if lab.wanted(network, n)]


def _first(lab: Lab, table: Table) -> Iterator[tuple[Network, int]]:
    """Yields the first network that is wanted, residual ones before others."""
    ordered = sorted(table.networks, key=lambda n: n.model != "resnet")
    for network in ordered:
        for epochs in _wanted(lab, table, network)[:1]:
            yield network, epochs
            return
