"""A user's own classifier, taken into the pipeline root as it is."""

import pathlib

from qup.components import artifacts, plugins
from qup.components.artifacts import Model
from qup.orchestration import Out, Place, component
from qup.subjects import Subject


@component(plugins=plugins.none)
def ModelImporter(
    model: Out[Model],
    *,
    content: str,
    dataset: str,
    name: str,
    source: Place[str],
) -> None:
    """Copies a .keras file or a SavedModel.

    Args:
      model: The classifier.
      content: Digest of its files: other files are another model.
      dataset: Name of the dataset that it is measured on.
      name: What it is called in rows.
      source: The file or the folder.
    """
    subject = Subject(dataset, name, "CL", 0, 0, {"imported": content[:16]})
    artifacts.import_classifier(pathlib.Path(source), subject, model)
    model.properties["content"] = content
