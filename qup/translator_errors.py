"""How far a translator is from the Delta it should give: its L1 error.

The paper holds that no translator can learn Delta_N exactly (supplement,
section 4); this is what a sweep over its size watches. Beside it stand two
that are no translators: nothing at all, and the template of the true class.

```python
target = taught(classifier, deltas, templates)
errors = l1_errors(predictors, batches, target)
errors["translator"].relative
```
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup import class_templates, opposite_fgsm
from qup.deltas import DeltaDataset
from qup.evaluation import Accuracy
from qup.types import Batch, LogitsFn

# What gives a batch's Delta, float32 of the images' shape.
DeltaFn = Callable[[Batch], tf.Tensor]


class L1Error(NamedTuple):
    """The L1 error of Delta over images.

    Attributes:
      pixels: Mean over images and pixels of |error|, in units of [0, 1].
      relative: That over the mean of |Delta|; 1 for no Delta at all, NaN
        where every Delta is zero.
    """

    pixels: Accuracy
    relative: Accuracy


def build_target_fn(classifier: LogitsFn, deltas: DeltaDataset, templates: np.ndarray) -> DeltaFn:
    """Returns what a translator that learnt `deltas` should give.

    Args:
      classifier: Image to logits.
      deltas: A walk, or the templates of one.
      templates: Its mean Delta of each class, float32 [num_classes, ...].

    Returns:
      Batch to the Delta of its labels: the walk's, or the class's template.
    """
    if deltas.settings.get(class_templates.DELTA_KEY) == class_templates.CLASS_TEMPLATE:
        return lambda batch: tf.gather(templates, batch["label"])

    def compute_delta(batch: Batch) -> tf.Tensor:
        start, labels = batch["image"], batch["label"]
        end = opposite_fgsm.iterate(classifier, start, labels, **deltas.iterate_options)
        return end - start

    return compute_delta


def compute_l1_errors(
    predictors: Mapping[str, DeltaFn], batches: Iterable[Batch], target: DeltaFn
) -> dict[str, L1Error]:
    """Compares predictors with the Delta of every image.

    Args:
      predictors: Batch to Delta, by name.
      batches: The images; rows of weight 0 are left out.
      target: Batch to the Delta that is right.

    Returns:
      The errors by the predictors' names, with standard errors over images.
    """
    sizes: list[np.ndarray] = []
    errors_by_name: dict[str, list[np.ndarray]] = {name: [] for name in predictors}
    for batch in batches:
        is_real = batch["weight"].numpy() > 0
        target_delta = target(batch)
        sizes.append(_compute_mean_abs(target_delta)[is_real])
        for name, predict in predictors.items():
            errors_by_name[name].append(_compute_mean_abs(predict(batch) - target_delta)[is_real])
    size = np.concatenate(sizes)
    return {
        name: _estimate_l1_error(np.concatenate(chunks), size)
        for name, chunks in errors_by_name.items()
    }


def _compute_mean_abs(deltas: tf.Tensor) -> np.ndarray:
    """Returns each image's mean of |Delta|, float64 [batch]."""
    means = tf.reduce_mean(tf.abs(deltas), tf.range(1, tf.rank(deltas)))
    return means.numpy().astype(np.float64)


def _estimate_l1_error(image_errors: np.ndarray, image_sizes: np.ndarray) -> L1Error:
    count, pixels = len(image_errors), float(image_errors.mean())
    mean = float(image_sizes.mean())
    relative = Accuracy(math.nan, None, count)
    if mean:
        ratio = pixels / mean
        # Of a ratio of means, to first order: Var(e - r s) / (n mean(s)^2).
        stderr = _compute_stderr((image_errors - ratio * image_sizes) / mean)
        relative = Accuracy(ratio, stderr, count)
    return L1Error(Accuracy(pixels, _compute_stderr(image_errors), count), relative)


def _compute_stderr(values: np.ndarray) -> float | None:
    if len(values) < 2:
        return None
    return float(values.std(ddof=1) / math.sqrt(len(values)))
