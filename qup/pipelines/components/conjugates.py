"""Table 4 of the paper: every attack and its conjugate, plotted and measured."""

from collections.abc import Mapping

import numpy as np

from qup.core.measurements import Measurement, ModelInfo, Row
from qup.core.types import LogitsFn
from qup.orchestration import In, Out, component
from qup.pipelines import figures
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples, Model, ModelEvaluation, Report
from qup.robustness import conjugates
from qup.robustness.conjugates import WINDOWS, AttackField, ConjugateMeasures
from qup.robustness.evaluation import resolve_attack_parameters

_CONJUGATES_FILE = "conjugates.npz"
# The plotted image is chosen among this number of first images.
_NUM_CANDIDATES = 500


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
    """Plots every attack on one image, see `conjugates.choose_image`, and measures it on many.

    Args:
      evaluation: Rows of `_build_conjugate_rows`; and conjugates.npz, the
        arrays of `figures.plot_conjugates`, with the clean image as "clean"
        and its "image_id" and "image_label".
      report: conjugates.png.
      epsilon: Budget of the attacks that have one.
      num_images: Number of images of rows and curves, the first of the split that are classified
        correctly; 0 plots the one image alone.
      grey: How three channels become one in spectra.
    """
    data, classifier, model_info = artifacts.load_inputs(
        examples, model, split=split, figure="table4", grey=grey
    )
    images, labels, ids = data.get_arrays(split)
    pixels = images[:_NUM_CANDIDATES] / np.float32(255)
    row_index = conjugates.choose_image(classifier, pixels, labels[:_NUM_CANDIDATES], seed)
    fields = conjugates.attack_image(
        classifier, pixels[row_index], int(labels[row_index]), epsilon=epsilon, seed=seed
    )
    names = data.info.class_names
    arrays = _flatten_fields(fields) | {
        "clean": pixels[row_index],
        "class_names": np.array(names),
        "image_id": ids[row_index],
        "image_label": labels[row_index],
    }
    correct_rows = _find_correct_rows(classifier, images, labels, num_images)
    correct_examples = (
        images[correct_rows] / np.float32(255),
        labels[correct_rows],
        ids[correct_rows],
    )
    rows: list[Row] = []
    for name in conjugates.TABLE_4 if correct_rows.size else ():
        options = conjugates.build_default_options(name, epsilon=epsilon, seed=seed)
        measurement = conjugates.measure_attack(
            name, classifier, *correct_examples, grey=grey, **options
        )
        attack = resolve_attack_parameters({"name": name, **options})
        rows += _build_conjugate_rows(model_info, measurement, attack)
        arrays |= _extract_relative_spectra(name, measurement)
    artifacts.write_rows(evaluation, rows, arrays_file=_CONJUGATES_FILE)
    np.savez(evaluation.path / _CONJUGATES_FILE, **arrays)
    description = f"{split} image {ids[row_index]}, a {names[labels[row_index]]}"
    title = f"{data.info.name}, {description}; epsilon {epsilon:.3g}"
    figure = figures.plot_conjugates(arrays, title)
    figure.savefig(report.path / "conjugates.png", dpi=120)


def _flatten_fields(fields: Mapping[str, AttackField]) -> dict[str, np.ndarray]:
    return {
        f"{name}_{key}": np.asarray(value)
        for name, field in fields.items()
        for key, value in field._asdict().items()
        if value is not None
    }


def _extract_relative_spectra(name: str, measurement: ConjugateMeasures) -> dict[str, np.ndarray]:
    return {
        f"{name}_{field}_relative": averages.to_arrays()["relative"]
        for field, averages in measurement.spectra.items()
    }


def _find_correct_rows(
    classifier: LogitsFn, images, labels, count: int, size: int = 100
) -> np.ndarray:
    """Returns the indices of the first images that are classified correctly."""
    correct_rows: list[int] = []
    for start in range(0, len(labels), size):
        if len(correct_rows) >= count:
            break
        rows = np.minimum(np.arange(start, start + size), len(labels) - 1)
        logits = np.asarray(classifier(images[rows] / np.float32(255)))
        correct_in_batch = rows[logits.argmax(-1) == labels[rows]]
        correct_rows += [row for row in correct_in_batch.tolist() if row not in correct_rows]
    return np.array(correct_rows[:count], np.int64)


def _build_conjugate_rows(
    model_info: ModelInfo, measurement: ConjugateMeasures, attack: dict
) -> list[Row]:
    """Returns the rows of one attack.

    "success_rate" in percent; the means over adversarial images of
    "perturbation_l0", "_l1", "_l2", "_linf" and "conjugate_cosine"; and
    "high_frequency_ratio" in both windows of the fields "perturbation" and
    "conjugate" that are not 0.
    """
    rows = [model_info.build_row("success_rate", measurement.success, attack)]
    for norm, size in measurement.norms.items():
        rows.append(model_info.build_row(f"perturbation_{norm}", size, attack))
    if measurement.cosine is not None:
        rows.append(model_info.build_row("conjugate_cosine", measurement.cosine, attack))
    for field, averages in measurement.spectra.items():
        for window in WINDOWS:
            mean, error, count = averages.get_high_frequency_ratio(window)
            if count:
                ratio = Measurement(float(mean), float(error) if count > 1 else None, count)
                field_info = model_info.with_parameters(field=field, window=window)
                rows.append(field_info.build_row("high_frequency_ratio", ratio, attack))
    return rows
