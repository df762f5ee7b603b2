"""Table 4 of the paper: every attack and its conjugate, seen and measured."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from qup import attacks, conjugate_measures, conjugates, measurements
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, ModelEvaluation, Report
from qup.conjugate_measures import WINDOWS, Measured
from qup.conjugates import Field
from qup.datasets import examples as files_of_examples
from qup.evaluation import Accuracy
from qup.evidence_figures import conjugates as drawing
from qup.measurements import Row
from qup.orchestration import In, Out, component
from qup.subjects import Subject
from qup.types import LogitsFn

_FILE = "conjugates.npz"
# Only the first images are looked through for the one that is drawn.
_LOOKED_AT = 500


@component
def ConjugateDrawer(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    report: Out[Report],
    *,
    epsilon: float,
    num_images: int = 0,
    grey: str = "luma",
    split: str = "test",
    seed: int = 0,
) -> None:
    """Attacks one image in every way, see `conjugates.choose`, then many.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: Its rows, see `_rows`; and conjugates.npz, the arrays of
        `evidence_figures.conjugates.draw`, the image before attacks as
        "clean", and its "image_id" and "image_label".
      report: conjugates.png.
      epsilon: Budget of those attacks that have one.
      num_images: Images that rows and curves are means over, the first of
        the split that are classified rightly; 0 draws the one alone.
      grey: How three channels become one in spectra.
      split: Where the images are from.
      seed: Of the random attacks.
    """
    data = files_of_examples.read(examples.path)
    classifier = artifacts.load_classifier(model.path)
    subject = artifacts.subject(model.path).such(
        split=split, figure="table4", grey=grey
    )
    images, labels, ids = data.arrays(split)
    pixels = images[:_LOOKED_AT] / np.float32(255)
    first = conjugates.choose(classifier, pixels, labels[:_LOOKED_AT], seed)
    fields = conjugates.of_image(
        classifier, pixels[first], int(labels[first]), epsilon=epsilon,
        seed=seed,
    )  # fmt: skip
    names = data.info.class_names
    arrays = _arrays(fields) | {
        "clean": pixels[first], "class_names": np.array(names),
        "image_id": ids[first], "image_label": labels[first],
    }  # fmt: skip
    right = _right(classifier, images, labels, num_images)
    known = images[right] / np.float32(255), labels[right], ids[right]
    rows: list[Row] = []
    for name in conjugates.TABLE if right.size else ():
        options = conjugates.options_of(name, epsilon=epsilon, seed=seed)
        found = conjugate_measures.measured(
            name, classifier, *known, grey=grey, **options
        )
        rows += _rows(subject, found, _told(name, options))
        arrays |= _spectra(name, found)
    measurements.write(evaluation.path / "measurements.csv", rows)
    np.savez(evaluation.path / _FILE, **arrays)
    which = f"{split} image {ids[first]}, a {names[labels[first]]}"
    title = f"{data.info.name}, {which}; epsilon {epsilon:.3g}"
    figure = drawing.draw(arrays, title)
    figure.savefig(report.path / "conjugates.png", dpi=120)


def _arrays(fields: Mapping[str, Field]) -> dict[str, np.ndarray]:
    return {
        f"{name}_{key}": np.asarray(value)
        for name, field in fields.items()
        for key, value in field._asdict().items()
        if value is not None
    }


def _spectra(name: str, found: Measured) -> dict[str, np.ndarray]:
    return {
        f"{name}_{field}_relative": averages.arrays()["relative"]
        for field, averages in found.spectra.items()
    }


def _right(
    classifier: LogitsFn, images, labels, count: int, size: int = 100
) -> np.ndarray:
    """Returns the places of the first images that are classified rightly."""
    found: list[int] = []
    for start in range(0, len(labels), size):
        if len(found) >= count:
            break
        rows = np.minimum(np.arange(start, start + size), len(labels) - 1)
        logits = np.asarray(classifier(images[rows] / np.float32(255)))
        hit = rows[logits.argmax(-1) == labels[rows]]
        found += [row for row in hit.tolist() if row not in found]
    return np.array(found[:count], np.int64)


def _told(name: str, options: dict) -> dict:
    """Returns an attack's name, epsilon and options as rows tell them."""
    told = dict(vars(attacks.method(name, **options)))
    bounds = told.pop("bounds", (0.0, 1.0))
    for place in ("seed", "xla"):
        told.pop(place, None)
    named = {"name": name, "epsilon": told.pop("epsilon", None)}
    return {**named, **told, "pixel_clip": bounds is not None}


def _rows(subject: Subject, found: Measured, attack: dict) -> list[Row]:
    """Returns the rows of one attack.

    "success_rate" in percent; of what was broken the means of
    "perturbation_l0", "_l1", "_l2" and "_linf" and of
    "conjugate_cosine"; and of the fields "perturbation" and "conjugate",
    where they are not 0, "high_frequency_ratio" in both windows.
    """
    rows = [subject.row("success_rate", found.success, attack)]
    for norm, size in found.norms.items():
        rows.append(subject.row(f"perturbation_{norm}", size, attack))
    if found.cosine is not None:
        rows.append(subject.row("conjugate_cosine", found.cosine, attack))
    for field, averages in found.spectra.items():
        for window in WINDOWS:
            mean, error, count = averages.high_frequency_ratio(window)
            if count:
                told = Accuracy(
                    float(mean), float(error) if count > 1 else None, count
                )
                such = subject.such(field=field, window=window)
                rows.append(such.row("high_frequency_ratio", told, attack))
    return [dataclasses.replace(row, artifact=_FILE) for row in rows]
