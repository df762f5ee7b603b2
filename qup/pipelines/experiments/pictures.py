"""Fig. 1: one image that FGSM turns, with both confidences, TA and RA."""

from collections.abc import Iterable

from qup.components.example_drawer import ExampleDrawer
from qup.pipelines import experiments
from qup.pipelines.lab import ExperimentBuilder


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
