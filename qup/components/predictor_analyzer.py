"""What might predict RA beside the uncertainty: gradients, margins, CLEVER."""

import dataclasses
from typing import Any

import numpy as np

from qup import measurements, measures, predictors, robustness
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, ModelEvaluation
from qup.datasets import Dataset
from qup.datasets import examples as files_of_examples
from qup.orchestration import In, Out, component
from qup.types import LogitsFn

# Value of the parameter "evaluation" of these rows.
PREDICTORS_EVALUATION = "predictors"
_PREDICTORS_FILE = "predictors.npz"
# How CLEVER samples unless told.
_CLEVER_DEFAULTS = {"num_batches": 50, "num_samples": 256, "radius": 0.1}


@component
def PredictorAnalyzer(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    *,
    num_images: int | None = None,
    clever: dict[str, Any],
    split: str = "test",
    batch_size: int = 500,
    seed: int = 0,
) -> None:
    """Measures each of the first images, and gives means over them.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: Its rows, each a mean over images with its standard error:
        `predictors.NAMES`, and "clever_linf" with the parameters of its
        sampling. A mean leaves out images of infinite ratio; n tells how
        many are left. In predictors.npz the same names, float [n], and "id",
        int64 [n]; those of CLEVER are the first ones'.
      num_images: How many images; None for all.
      clever: "num_images", 0 for no CLEVER; and "num_batches" (50),
        "num_samples" (256) and "radius" (0.1) of `measures.clever`, where
        they are to be others. An image takes num_batches * num_samples *
        (classes - 1) gradients.
      split: Where the images are from.
      batch_size: Images, or samples, a batch.
      seed: Of CLEVER's samples.
    """
    data = files_of_examples.read(examples.path)
    classifier = artifacts.load_classifier(model.path)
    model_info = artifacts.load_model_info(model.path)
    model_info = model_info.with_parameters(evaluation=PREDICTORS_EVALUATION, split=split)
    batches = data.evaluation_batches(split, batch_size, max_images=num_images)
    arrays = predictors.compute_predictors(classifier, batches)
    rows = [
        model_info.build_row(name, robustness.compute_mean(_select_finite(arrays[name])))
        for name in predictors.PREDICTORS
        if len(_select_finite(arrays[name]))
    ]
    sampling = {**_CLEVER_DEFAULTS, **clever}
    if count := sampling.pop("num_images"):
        scores = _compute_clever_scores(
            classifier, data, split, count, batch_size=batch_size, seed=seed, **sampling
        )
        arrays["clever_linf"] = scores
        clever_parameters = {f"clever_{name}": value for name, value in sampling.items()}
        mean = robustness.compute_mean(scores)
        rows.append(
            model_info.with_parameters(**clever_parameters, clever_seed=seed).build_row(
                "clever_linf", mean
            )
        )
    np.savez(evaluation.path / _PREDICTORS_FILE, **arrays)
    rows = [dataclasses.replace(row, artifact=_PREDICTORS_FILE) for row in rows]
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


def _select_finite(values: np.ndarray) -> np.ndarray:
    """Returns the finite ones, float64."""
    return values[np.isfinite(values)].astype(np.float64)


def _compute_clever_scores(
    classifier: LogitsFn, data: Dataset, split: str, count: int, **options: Any
) -> np.ndarray:
    """Returns the untargeted scores of the first images, float64 [n]."""
    images, labels, ids = (array[:count] for array in data.get_arrays(split))
    clever_result = measures.clever(
        classifier, images / np.float32(255), labels, ids=ids, norm="linf", **options
    )
    return clever_result.untargeted
