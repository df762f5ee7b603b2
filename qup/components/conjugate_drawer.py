"""Table 4 of the paper as a picture of one image."""

import numpy as np

from qup import conjugates
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, Report
from qup.datasets import examples as files_of_examples
from qup.orchestration import In, Out, component


@component(
    plugins=lambda given: {
        "qup.datasets": [],
        "qup.attacks": list(conjugates.TABLE),
    }
)
def ConjugateDrawer(
    examples: In[Examples],
    model: In[Model],
    report: Out[Report],
    *,
    epsilon: float,
    split: str = "test",
    seed: int = 0,
) -> None:
    """Attacks one image in every way, see `conjugates.choose`.

    Args:
      examples: The images.
      model: The classifier.
      report: conjugates.png, and the fields in conjugates.npz.
      epsilon: Budget of those attacks that have one.
      split: Where the image is from.
      seed: Of the random attacks.
    """
    data = files_of_examples.read(examples.path)
    classifier = artifacts.load_classifier(model.path)
    images, labels, _ = (a[:500] for a in data.arrays(split))
    images = images / np.float32(255)
    first = conjugates.choose(classifier, images, labels, seed)
    fields = conjugates.of_image(
        classifier, images[first], int(labels[first]), epsilon=epsilon,
        seed=seed,
    )  # fmt: skip
    names = tuple(data.info.class_names)
    figure = conjugates.draw(
        fields,
        names,
        f"{data.info.name}, {split} image {first}, a "
        f"{names[labels[first]]}; epsilon {epsilon:.3g}",
    )
    figure.savefig(report.path / "conjugates.png", dpi=120)
    arrays = {
        f"{name}_{key}": value
        for name, field in fields.items()
        for key, value in field._asdict().items()
        if value is not None
    }
    np.savez(report.path / "conjugates.npz", clean=images[first], **arrays)
