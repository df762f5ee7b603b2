"""Images and imported classifiers as artifacts."""

import pathlib
import shutil

import numpy as np

from qup import datasets
from qup.core.errors import InputError
from qup.core.measurements import ModelInfo
from qup.datasets import examples as example_files
from qup.models import user_models
from qup.models.saved_model import DEFAULT_SIGNATURE
from qup.orchestration import In, Location, Out, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples, Model


@component
def ExampleGen(
    examples: Out[Examples],
    *,
    dataset: str,
    source: str,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    bit_depth: int | None = None,
    value_range: tuple[float, float] | None = None,
    train_size: int | None = None,
    test_size: int | None = None,
    validation_size: int = 0,
    seed: int = 0,
    data_dir: Location[str | None] = None,
    manual_dir: Location[str | None] = None,
    images: Location[str | None] = None,
    labels: Location[str | None] = None,
    scratch_dir: Location[str | None] = None,
) -> None:
    """Writes the selected images of a dataset; other arguments are those of `datasets.load`.

    Args:
      dataset: Its registered name.
      source: Digest of the dataset's files. Other files are other examples.
    """
    data = datasets.load(
        dataset,
        data_dir=data_dir,
        manual_dir=manual_dir,
        scratch_dir=scratch_dir,
        image_size=image_size,
        channels=channels,
        bit_depth=bit_depth,
        images=images,
        labels=labels,
        value_range=value_range,
        train_size=train_size,
        test_size=test_size,
        validation_size=validation_size,
        seed=seed,
    )
    example_files.write(data, examples.path)
    example_files.share_images(examples.path)
    if data.compute_source_digest() != source:
        raise InputError(f"The files of {dataset} changed while they were read. Start again.")
    for split, size in data.info.sizes.items():
        examples.properties[f"{split}_size"] = size


@component
def LabelShuffler(examples: In[Examples], shuffled: Out[Examples], *, seed: int = 0) -> None:
    """Permutes the labels of the training images, as a control; each class keeps its size."""
    shutil.copytree(examples.path, shuffled.path, dirs_exist_ok=True)
    path = shuffled.path / "Split-train" / "labels.npy"
    labels = np.load(path)
    np.save(path, np.random.default_rng([seed, len(labels)]).permutation(labels))
    example_files.share_images(shuffled.path)
    shuffled.properties.update(examples.properties)


@component
def ModelImporter(
    model: Out[Model],
    *,
    content: str,
    dataset: str,
    name: str,
    image_shape: list[int] | None = None,
    num_classes: int | None = None,
    signature: str = DEFAULT_SIGNATURE,
    output: str | None = None,
    imports: list[str] | None = None,
    pixel_range: tuple[float, float] | None = None,
    trust: Location[bool] = False,
    source: Location[str],
) -> None:
    """Copies a user's Keras file or SavedModel.

    Args:
      content: Digest of its files and of how they are read. Others are another model.
      dataset: Name of the dataset that it is measured on.
      name: Its name in rows.
      image_shape: (height, width, channels) that the model must accept; None
        does not check it.
      num_classes: Minimum number of its logits.
      signature, output, imports, pixel_range, trust: See `user_models.LoadOptions`.
      source: The file or the folder.
    """
    options = user_models.LoadOptions(
        signature=signature,
        output=output,
        imports=tuple(imports or ()),
        trust=trust,
        pixel_range=pixel_range,
    )
    parameters = {"imported": content[:16], **options.list_differences()}
    model_info = ModelInfo(dataset, name, "CL", 0, 0, parameters)
    path = pathlib.Path(source)
    classifier = artifacts.import_classifier(path, model_info, model, options, image_shape)
    if image_shape is not None:
        user_models.check_model(classifier, path, image_shape, num_classes or 1)
    model.properties["content"] = content
