"""A user's own classifier, taken into the pipeline root as it is."""

import pathlib

from qup import model_files
from qup.components import artifacts
from qup.components.artifacts import Model
from qup.orchestration import Location, Out, component
from qup.subjects import ModelInfo


@component
def ModelImporter(
    model: Out[Model],
    *,
    content: str,
    dataset: str,
    name: str,
    image_shape: list[int] | None = None,
    num_classes: int | None = None,
    source: Location[str],
) -> None:
    """Copies a .keras file or a SavedModel.

    Args:
      model: The classifier.
      content: Digest of its files: other files are another model.
      dataset: Name of the dataset that it is measured on.
      name: What it is called in rows.
      image_shape: (height, width, channels) of that dataset, which the
        model must take; None leaves it unasked.
      num_classes: How many classes it must tell apart at least.
      source: The file or the folder.
    """
    model_info = ModelInfo(dataset, name, "CL", 0, 0, {"imported": content[:16]})
    path = pathlib.Path(source)
    artifacts.import_classifier(path, model_info, model)
    if image_shape is not None:
        classifier = artifacts.load_classifier(model.path)
        model_files.check_model(classifier, path, image_shape, num_classes or 1)
    model.properties["content"] = content
