"""Studies: image and response frequencies, ImageNet models, the binary toy."""

from collections.abc import Sequence
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

# With this number the standard error of a mean ratio is below 0.001.
_MAX_SPECTRUM_IMAGES = 2000
_NUM_SYNTHETIC_IMAGES = 4
_SMOKE_IMAGENET_MODEL = "MobileNet-0.25-128"
_SMOKE_DISTORTION_OPTIONS = {
    "labels": "predicted",
    "targets": "second_likely",
    "batch_size": 4,
    "ifgsm": {"initial_epsilon": 0.5, "num_steps": 5, "max_attempts": 2},
    "carlini_wagner": {"num_steps": 10, "learning_rate": 0.1},
    "clever": {"num_batches": 6, "num_samples": 4},
}


@experiments.register(order=80)
def supp_fig5(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Supplement, Fig. 5: the high-frequency ratio of Delta_1 against TA."""
    for seed in seeds:
        for table in builder.scale.tables.values():
            for handle in builder.add_table_classifiers(table, seed):
                builder.add_evaluation(handle)
                _add_spectrum(builder, handle)


@experiments.register(order=90)
def frequency(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Fourier sensitivity, response frequencies and spectra of Delta_N (supplement, section 4)."""
    for seed in seeds:
        for table in builder.scale.tables.values():
            network = table.networks[0]
            handles = [
                builder.add_classifier(network, epochs, seed)
                for epochs in builder.select_epochs(table, network)
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
                builder.add_node(
                    ResponseAnalyzer,
                    f"ResponseAnalyzer.{network.dataset}.{network.model}.seed-{seed}",
                    examples=handles[0].examples,
                    models=[handle.model for handle in handles],
                    num_images=_count_spectrum_images(builder),
                )
            deltas = builder.add_deltas(handles[0]).outputs["deltas"]
            arguments = handles[0].arguments
            _add_spectrum(
                builder,
                handles[0],
                "walk.",
                deltas=deltas,
                translator=builder.add_translator(handles[0], deltas),
                steps=[arguments.build_delta_gen_kwargs()["walk"]["num_steps"]],
                row_parameters=arguments.build_combiner_kwargs()["row_parameters"],
            )


def _add_spectrum(
    builder: ExperimentBuilder, handle: NetworkHandle, label: str = "", **arguments: Any
) -> None:
    builder.add_node(
        SpectrumAnalyzer,
        f"SpectrumAnalyzer.{label}{handle.name}",
        **handle.inputs,
        num_images=_count_spectrum_images(builder),
        seed=handle.seed,
        **arguments,
    )


def _count_spectrum_images(builder: ExperimentBuilder) -> int:
    return min(_MAX_SPECTRUM_IMAGES, 2 * builder.scale.strong_images)


@experiments.register(order=110, needs="images_dir")
def fig3_imagenet(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Fig. 3: three distortions of the ImageNet models that Keras has.

    Needs --images_dir and --weights_dir, see docs/imagenet.md. The smoke scale uses one small
    network of random weights and synthetic images.
    """
    seed = seeds[0]
    if builder.scale.name == "smoke":
        _add_smoke_model(builder, seed)
        return
    images, weights = (builder.folders.get(key) for key in ("images_dir", "weights_dir"))
    if not (images and weights):
        raise errors.InputError(
            "fig3_imagenet needs --images_dir (ImageNet's validation images) and --weights_dir "
            f"(Keras's files of weights); received {images!r} and {weights!r}. See "
            "docs/imagenet.md."
        )
    digest = imagenet_folder.compute_digest(images, max_images=1000)
    for name in models.list_names(available=True):
        builder.add_node(
            ImageNetAnalyzer,
            f"ImageNetAnalyzer.{name.replace(' ', '-')}",
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
    builder.add_node(
        ImageNetAnalyzer,
        f"ImageNetAnalyzer.{_SMOKE_IMAGENET_MODEL}",
        network=_SMOKE_IMAGENET_MODEL,
        images=imagenet_folder.compute_digest(folder, max_images=_NUM_SYNTHETIC_IMAGES),
        images_dir=str(folder),
        weights="random",
        num_images=_NUM_SYNTHETIC_IMAGES,
        image_size=32,
        measuring=_SMOKE_DISTORTION_OPTIONS,
        seed=seed,
    )


@experiments.register(order=105)
def fig2(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Fig. 2: packets of networks of lower and of higher accuracy on the binary toy."""
    for seed in seeds:
        builder.add_node(
            BinaryToyAnalyzer,
            f"BinaryToyAnalyzer.seed-{seed}",
            **_build_toy_arguments(builder),
            grids=_select_toy_sizes(builder).grids._asdict(),
            drawn=["sine"],
            seed=seed,
        )


@experiments.register(order=25)
def supp_fig1(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Supplement, Fig. 1: points under FGSM and under opposite FGSM."""
    for seed in seeds:
        builder.add_node(
            BinaryToyMover,
            f"BinaryToyMover.seed-{seed}",
            **_build_toy_arguments(builder),
            epsilon=EPSILONS[0],
            num_steps=pipeline.NUM_OPPOSITE_STEPS,
            seed=seed,
        )


def _select_toy_sizes(builder: ExperimentBuilder) -> pipeline.ToySizes:
    return pipeline.SMOKE_SIZES if builder.scale.name == "smoke" else pipeline.FULL_SIZES


def _build_toy_arguments(builder: ExperimentBuilder) -> dict[str, Any]:
    sizes = _select_toy_sizes(builder)
    return {
        "epochs": list(sizes.epochs),
        "train": sizes.train,
        "test": sizes.test,
        "shown": pipeline.NUM_SHOWN_POINTS,
    }
