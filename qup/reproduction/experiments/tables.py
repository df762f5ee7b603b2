"""Tables 2 and 3: TA and RA of networks at numbers of epochs.

Beside the paper's four steps (all test images, with and without pixel clip)
stand PGD of 100 steps with 5 restarts and AutoAttack, both on the same first
1,000 test images.
"""

from collections.abc import Iterable, Iterator

from qup.pipelines.components.augmentation import Analyzer
from qup.pipelines.components.conjugates import ConjugateDrawer
from qup.reproduction import experiments
from qup.reproduction.builder import ExperimentBuilder, NetworkHandle
from qup.reproduction.components.analysis import ExampleDrawer, StepAnalyzer
from qup.reproduction.components.controls import WalkMeter
from qup.reproduction.presets import NetworkPreset, TablePreset


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


# Fig. 1: one image that FGSM turns, with both confidences, TA and RA.


@experiments.register(order=50)
def fig1(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for an image of Table 3's last network, the paper's GoogLeNet.

    Of its numbers of epochs the second, which is the last that two cores
    reach in hours.
    """
    table = builder.scale.tables["table3"]
    network = table.networks[-1]
    selected_epochs = [n for n in table.epochs[:2] if builder.is_selected(network, n)]
    for seed in list(seeds)[:1] if selected_epochs else ():
        handle = builder.add_classifier(network, selected_epochs[-1], seed)
        attack = {
            "name": "fgsm",
            "epsilon": handle.epsilon,
            "norm": "linf",
            "loss": "cross_entropy",
            "pixel_clip": True,
        }
        builder.add_node(
            ExampleDrawer, f"ExampleDrawer.{handle.name}", **handle.inputs, attack=attack, seed=seed
        )


# Iterative FGSM Augmentation: supplement, Fig. 4 and Table 1.
#
# Of every network the classifier alone (CL) and behind its translator (ACL),
# under the paper's attack, the strong ones, and the checks for masked
# gradients; on the way TA and RA of the walked images X_n.


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


# Supplement, Figs. 2 and 3: the walk X_n, and the pipeline that learns it.


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


# Table 4: every attack and its conjugate, in pictures and in spectra.


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


# Eqs. 21 and 22: whether the gradient may stand for its sign.


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
