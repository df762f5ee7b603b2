"""Fig. 2 and the supplement's Fig. 1: two classes in the unit square."""

from collections.abc import Iterable
from typing import Any

from qup.binary_toy.networks import EPSILONS
from qup.components.binary_toy_analyzer import BinaryToyAnalyzer
from qup.components.binary_toy_mover import BinaryToyMover
from qup.pipelines import binary_toy, experiments
from qup.pipelines.lab import ExperimentBuilder


@experiments.register(order=105)
def fig2(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for the packets of networks of lower and of higher accuracy."""
    for seed in seeds:
        sizes = _choose_toy_sizes(builder)
        builder.add_node(
            BinaryToyAnalyzer,
            f"BinaryToyAnalyzer.seed-{seed}",
            **_get_toy_arguments(sizes),
            grids=sizes.grids._asdict(),
            drawn=["sine"],
            seed=seed,
        )


@experiments.register(order=25)
def supp_fig1(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for points under FGSM and under its opposite."""
    for seed in seeds:
        builder.add_node(
            BinaryToyMover,
            f"BinaryToyMover.seed-{seed}",
            **_get_toy_arguments(_choose_toy_sizes(builder)),
            epsilon=EPSILONS[0],
            num_steps=binary_toy.NUM_OPPOSITE_STEPS,
            seed=seed,
        )


def _choose_toy_sizes(builder: ExperimentBuilder) -> binary_toy.ToySizes:
    is_smoke = builder.scale.name == "smoke"
    return binary_toy.SMOKE_SIZES if is_smoke else binary_toy.FULL_SIZES


def _get_toy_arguments(sizes: binary_toy.ToySizes) -> dict[str, Any]:
    return {
        "epochs": list(sizes.epochs),
        "train": sizes.train,
        "test": sizes.test,
        "shown": binary_toy.NUM_SHOWN_POINTS,
    }
