"""Fig. 2 and the supplement's Fig. 1: two classes in the unit square."""

from collections.abc import Iterable
from typing import Any

from qup.binary_toy.networks import EPSILONS
from qup.components.binary_toy_analyzer import BinaryToyAnalyzer
from qup.components.binary_toy_mover import BinaryToyMover
from qup.pipelines import binary_toy, experiments
from qup.pipelines.lab import Lab


@experiments.register(order=105)
def fig2(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for the packets of networks of lower and of higher accuracy."""
    for seed in seeds:
        sizes = _sizes(lab)
        lab.node(
            BinaryToyAnalyzer, f"BinaryToyAnalyzer.seed-{seed}",
            **_training(sizes), grids=sizes.grids._asdict(), drawn=["sine"],
            seed=seed,
        )  # fmt: skip


@experiments.register(order=25)
def supp_fig1(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for points under FGSM and under its opposite."""
    for seed in seeds:
        lab.node(
            BinaryToyMover, f"BinaryToyMover.seed-{seed}",
            **_training(_sizes(lab)), epsilon=EPSILONS[0],
            num_steps=binary_toy.STEPS, seed=seed,
        )  # fmt: skip


def _sizes(lab: Lab) -> binary_toy.Sizes:
    smoke = lab.scale.name == "smoke"
    return binary_toy.SMOKE if smoke else binary_toy.FULL


def _training(sizes: binary_toy.Sizes) -> dict[str, Any]:
    return {
        "epochs": list(sizes.epochs), "train": sizes.train,
        "test": sizes.test, "shown": binary_toy.SHOWN,
    }  # fmt: skip
