"""Accuracies: Tables 2 to 4, Fig. 1, Eqs. 21 and 22, and Iterative FGSM Augmentation.

In addition to the paper's PGD of four steps (all test images, with and without pixel clip), tables
have PGD of 100 steps with 5 restarts and AutoAttack, both on the same first 1,000 test images.
"""

from collections.abc import Sequence

from qup.pipelines.components.augmentation import Analyzer
from qup.pipelines.components.conjugates import ConjugateDrawer
from qup.reproduction import experiments
from qup.reproduction.builder import ExperimentBuilder, NetworkHandle
from qup.reproduction.components.analysis import ExampleDrawer, StepAnalyzer
from qup.reproduction.components.controls import WalkMeter


@experiments.register(order=10)
def table2(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Table 2: TA and RA on MNIST."""
    _add_accuracy_table(builder, "table2", seeds)


@experiments.register(order=20)
def table3(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Table 3: TA and RA on CIFAR-10."""
    _add_accuracy_table(builder, "table3", seeds)


def _add_accuracy_table(builder: ExperimentBuilder, name: str, seeds: Sequence[int]) -> None:
    for seed in seeds:
        for handle in builder.add_table_classifiers(builder.scale.tables[name], seed):
            builder.add_evaluation(handle)
            builder.add_strong_attacks(handle)


@experiments.register(order=50)
def fig1(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Fig. 1: an image that FGSM makes misclassified, with confidences, TA and RA.

    The network is the last one of Table 3, the paper's GoogLeNet, at the second number of epochs:
    two cores reach it within hours.
    """
    table = builder.scale.tables["table3"]
    network = table.networks[-1]
    selected_epochs = [n for n in table.epochs[:2] if builder.is_selected(network, n)]
    if not selected_epochs:
        return
    for seed in seeds[:1]:
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


@experiments.register(order=30)
def supp_table1(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Supplement, Table 1: classifier (CL) and augmented classifier (ACL) on MNIST."""
    _add_augmentation_table(builder, "table2", seeds)


@experiments.register(order=40)
def supp_fig4(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Supplement, Fig. 4: classifier (CL) and augmented classifier (ACL) on CIFAR-10."""
    _add_augmentation_table(builder, "table3", seeds)


def _add_augmentation_table(builder: ExperimentBuilder, name: str, seeds: Sequence[int]) -> None:
    for seed in seeds:
        for handle in builder.add_table_classifiers(builder.scale.tables[name], seed):
            builder.add_evaluation(handle)
            builder.add_strong_attacks(handle)
            pair = _add_augmentation_pair(builder, handle)
            # Checks take minutes, AutoAttack on a pair may take an hour.
            builder.add_masking_checks(pair)
            builder.add_strong_attacks(pair)


def _add_augmentation_pair(builder: ExperimentBuilder, handle: NetworkHandle) -> NetworkHandle:
    """Returns the ACL of the settings, under the paper's attack, and TA and RA of X_n."""
    deltas_node = builder.add_deltas(handle)
    translator = builder.add_translator(handle, deltas_node.outputs["deltas"])
    pair = builder.add_augmented_classifier(handle, translator)
    builder.add_evaluation(pair)
    builder.add_node(
        Analyzer,
        f"Analyzer.{handle.name}",
        **handle.inputs,
        translator=translator,
        deltas=deltas_node.outputs["deltas"],
        trajectory=deltas_node.outputs["trajectory"],
        **handle.arguments.build_analyzer_kwargs(),
    )
    return pair


@experiments.register(order=27)
def supp_fig2(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Supplement, Fig. 2: opposite-FGSM iterates X_n of every network at its most epochs."""
    for seed in seeds:
        for table in builder.scale.tables.values():
            for network in table.networks:
                for epochs in builder.select_epochs(table, network)[-1:]:
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
def supp_fig3(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Supplement, Fig. 3: the pipeline of one network of each table at its fewest epochs.

    It is the residual network, as in the paper's figure, if it is selected.
    """
    for seed in seeds:
        for table in builder.scale.tables.values():
            networks = sorted(table.networks, key=lambda network: network.model != "resnet")
            selected = [n for n in networks if builder.select_epochs(table, n)]
            for network in selected[:1]:
                epochs = builder.select_epochs(table, network)[0]
                handle = builder.add_classifier(network, epochs, seed)
                builder.add_evaluation(handle)
                _add_augmentation_pair(builder, handle)


@experiments.register(order=75)
def table4(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Table 4: every attack and its conjugate on the first network of each table."""
    for seed in seeds:
        for table in builder.scale.tables.values():
            if handle := builder.add_first_classifier(table, seed):
                builder.add_node(
                    ConjugateDrawer,
                    f"ConjugateDrawer.{handle.name}",
                    **handle.inputs,
                    epsilon=handle.epsilon,
                    num_images=builder.scale.few_images,
                    seed=seed,
                )


@experiments.register(order=70)
def eq21(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Eqs. 21 and 22: sign steps and gradient steps on the first network of each table."""
    for seed in seeds:
        for table in builder.scale.tables.values():
            if handle := builder.add_first_classifier(table, seed):
                builder.add_node(
                    StepAnalyzer,
                    f"StepAnalyzer.{handle.name}",
                    **handle.inputs,
                    epsilons=[handle.epsilon * x for x in (0.25, 0.5, 1.0, 2.0)],
                    num_steps=[1, 4],
                    num_images=builder.scale.strong_images,
                )
