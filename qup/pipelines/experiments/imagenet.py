"""Fig. 3: the ImageNet models that Keras has, of the 18 of Su et al.

Needs --images_dir and --weights_dir; docs/imagenet.md tells what to put
there. The smoke scale takes one small network of random weights and noise.
"""

from collections.abc import Iterable

from qup import errors, imagenet_folder
from qup.components.imagenet_analyzer import ImageNetAnalyzer
from qup.imagenet import building, networks
from qup.pipelines import experiments
from qup.pipelines.lab import ExperimentBuilder

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
    for name in networks.list_names(available=True):
        builder.add_node(
            ImageNetAnalyzer,
            f"ImageNetAnalyzer.{_format_node_label(name)}",
            network=name,
            images=digest,
            images_dir=str(images),
            weights=building.compute_weights_digest(name, weights),
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
