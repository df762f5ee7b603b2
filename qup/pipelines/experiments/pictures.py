"""Fig. 1: one image that FGSM turns, with both confidences, TA and RA."""

from collections.abc import Iterable

from qup.components.example_drawer import ExampleDrawer
from qup.pipelines import experiments
from qup.pipelines.lab import Lab


@experiments.register(order=50)
def fig1(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for an image of Table 3's last network, the paper's GoogLeNet.

    Of its numbers of epochs the second, which is the last that two cores
    reach in hours.
    """
    table = lab.scale.tables["table3"]
    network = table.networks[-1]
    run = [n for n in table.epochs[:2] if lab.wanted(network, n)]
    for seed in list(seeds)[:1] if run else ():
        of = lab.classifier(network, run[-1], seed)
        attack = {
            "name": "fgsm", "epsilon": of.epsilon, "norm": "linf",
            "loss": "cross_entropy", "pixel_clip": True,
        }  # fmt: skip
        lab.node(
            ExampleDrawer, f"ExampleDrawer.{of.name}", **of.images,
            attack=attack, seed=seed,
        )  # fmt: skip
