"""Supplement, Fig. 5 and section 4: image frequencies, and response's.

The high-frequency ratio of Delta_1 against TA is the paper's; the spectra of
gradient, walk and translator's error, the sensitivity to Fourier vectors,
and the convergence of response frequencies stand beside it.
"""

from collections.abc import Iterable
from typing import Any

from qup.core import errors
from qup.reproduction import experiments
from qup.reproduction.binary_toy import pipeline
from qup.reproduction.binary_toy.packets import EPSILONS
from qup.reproduction.builder import ExperimentBuilder, NetworkHandle
from qup.reproduction.components.binary_toy import BinaryToyAnalyzer, BinaryToyMover
from qup.reproduction.components.frequency import FourierSensitivity, SpectrumAnalyzer
from qup.reproduction.components.imagenet import ImageNetAnalyzer
from qup.reproduction.components.response import ResponseAnalyzer
from qup.reproduction.imagenet import folder as imagenet_folder
from qup.reproduction.imagenet import models

# Images of spectra: the error of a ratio's mean is then under 0.001.
_MAX_SPECTRUM_IMAGES = 2000


@experiments.register(order=80)
def supp_fig5(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for the ratio of every network of the tables."""
    for seed in seeds:
        for table in builder.scale.tables.values():
            for network in table.networks:
                for epochs in table.epochs:
                    if builder.is_selected(network, epochs):
                        handle = builder.add_classifier(network, epochs, seed)
                        builder.add_evaluation(handle)
                        builder.add_node(
                            SpectrumAnalyzer,
                            f"SpectrumAnalyzer.{handle.name}",
                            **handle.inputs,
                            num_images=_count_spectrum_images(builder),
                            seed=seed,
                        )


@experiments.register(order=90)
def frequency(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for the other looks at frequencies, of each table's first."""
    for seed in seeds:
        for table in builder.scale.tables.values():
            network = table.networks[0]
            handles = [
                builder.add_classifier(network, epochs, seed)
                for epochs in table.epochs
                if builder.is_selected(network, epochs)
            ]
            if not handles:
                continue
            for handle in handles:
                builder.add_node(
                    FourierSensitivity,
                    f"FourierSensitivity.{handle.name}",
                    **handle.inputs,
                    norm=4.0,
                    reach=None,
                    num_images=builder.scale.few_images,
                    seed=seed,
                )
            if len(handles) > 1:
                name = f"{network.dataset}.{network.model}.seed-{seed}"
                builder.add_node(
                    ResponseAnalyzer,
                    f"ResponseAnalyzer.{name}",
                    examples=handles[0].examples,
                    models=[handle.model for handle in handles],
                    num_images=_count_spectrum_images(builder),
                )
            _add_walk_spectrum(builder, handles[0])


def _add_walk_spectrum(builder: ExperimentBuilder, handle: NetworkHandle) -> None:
    deltas_node = builder.add_deltas(handle)
    deltas = deltas_node.outputs["deltas"]
    translator = builder.add_translator(handle, deltas).outputs["translator"]
    row_parameters = handle.arguments.build_combiner_kwargs()["row_parameters"]
    num_steps = handle.arguments.build_delta_gen_kwargs()["walk"]["num_steps"]
    builder.add_node(
        SpectrumAnalyzer,
        f"SpectrumAnalyzer.walk.{handle.name}",
        **handle.inputs,
        deltas=deltas,
        translator=translator,
        steps=[num_steps],
        num_images=_count_spectrum_images(builder),
        seed=handle.seed,
        row_parameters=row_parameters,
    )


def _count_spectrum_images(builder: ExperimentBuilder) -> int:
    return min(_MAX_SPECTRUM_IMAGES, 2 * builder.scale.strong_images)


# Fig. 3: the ImageNet models that Keras has, of the 18 of Su et al.
#
# Needs --images_dir and --weights_dir; docs/imagenet.md tells what to put
# there. The smoke scale takes one small network of random weights and noise.


_SMOKE_OPTIONS = {
    "labels": "predicted",
    "targets": "second_likely",
    "batch_size": 4,
    "ifgsm": {"initial_epsilon": 0.5, "num_steps": 5, "max_attempts": 2},
    "carlini_wagner": {"num_steps": 10, "learning_rate": 0.1},
    "clever": {"num_batches": 6, "num_samples": 4},
}
_NUM_SYNTHETIC_IMAGES = 4


@experiments.register(order=110, needs="images_dir")
def fig3_imagenet(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for the three distortions of every network."""
    seed = next(iter(seeds))
    if builder.scale.name == "smoke":
        _add_smoke_model(builder, seed)
        return
    images, weights = (builder.folders.get(key) for key in ("images_dir", "weights_dir"))
    if not (images and weights):
        raise errors.InputError(
            "fig3_imagenet needs --images_dir (ImageNet's validation images) "
            "and --weights_dir (Keras's files of weights); "
            f"received {images!r} and {weights!r}. docs/imagenet.md tells what "
            "to put there."
        )
    digest = imagenet_folder.digest(images, max_images=1000)
    for name in models.list_names(available=True):
        builder.add_node(
            ImageNetAnalyzer,
            f"ImageNetAnalyzer.{_format_node_label(name)}",
            network=name,
            images=digest,
            images_dir=str(images),
            weights=models.compute_weights_digest(name, weights),
            weights_dir=str(weights),
            seed=seed,
            measuring={"num_clever": builder.scale.few_images},
        )


def _add_smoke_model(builder: ExperimentBuilder, seed: int) -> None:
    folder = builder.scratch_dir / "images"
    if not folder.exists():
        imagenet_folder.write_synthetic(folder, num_images=_NUM_SYNTHETIC_IMAGES)
    name = "MobileNet-0.25-128"
    builder.add_node(
        ImageNetAnalyzer,
        f"ImageNetAnalyzer.{_format_node_label(name)}",
        network=name,
        images=imagenet_folder.digest(folder, max_images=_NUM_SYNTHETIC_IMAGES),
        images_dir=str(folder),
        weights="random",
        num_images=_NUM_SYNTHETIC_IMAGES,
        image_size=32,
        measuring=_SMOKE_OPTIONS,
        seed=seed,
    )


def _format_node_label(name: str) -> str:
    return name.replace(" ", "-")


# Fig. 2 and the supplement's Fig. 1: two classes in the unit square.


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
            num_steps=pipeline.NUM_OPPOSITE_STEPS,
            seed=seed,
        )


def _choose_toy_sizes(builder: ExperimentBuilder) -> pipeline.ToySizes:
    is_smoke = builder.scale.name == "smoke"
    return pipeline.SMOKE_SIZES if is_smoke else pipeline.FULL_SIZES


def _get_toy_arguments(sizes: pipeline.ToySizes) -> dict[str, Any]:
    return {
        "epochs": list(sizes.epochs),
        "train": sizes.train,
        "test": sizes.test,
        "shown": pipeline.NUM_SHOWN_POINTS,
    }
