"""Fourier heat maps: the errors of a classifier at each image frequency.

Every image is perturbed along one Fourier basis vector at a time, with a fixed L2 norm, and the
classifier's errors are counted.

```python
sensitivity = compute_sensitivity(classifier, batches, norm=4.0)
sensitivity.error  # float64 [height, width], percent, zero frequency in the middle
```

Reference: Yin et al. 2019, arXiv 1906.08988, section 3.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup.core import errors, prng
from qup.core.classifier import get_classifier_program
from qup.core.types import Batch, Bounds, LogitsFn
from qup.robustness import spectrum


class SensitivityMap(NamedTuple):
    """Errors under every basis vector.

    Attributes:
      error: float64 [height, width], percent of images misclassified; NaN at frequencies above
        `reach`.
      clean: Percent of clean images misclassified.
      per_image: float64 [n, vectors], 1 where misclassified.
      frequencies: int64 [vectors, 2], cycles per image down and across, one of each pair of
        opposite frequencies.
      incorrect: float64 [n], 1 where the clean image is misclassified.
    """

    error: np.ndarray
    clean: float
    per_image: np.ndarray
    frequencies: np.ndarray
    incorrect: np.ndarray


def compute_sensitivity(
    logits_fn: LogitsFn,
    batches: Iterable[Batch],
    *,
    norm: float,
    reach: int | None = None,
    bounds: Bounds = (0.0, 1.0),
    seed: int = 0,
) -> SensitivityMap:
    """Counts a classifier's errors under every Fourier basis vector.

    Args:
      logits_fn: The classifier.
      batches: The images; rows of weight 0 are omitted.
      norm: L2 norm of the perturbation of each channel, above 0, in units of [0, 1]. Its sign is
        random for each image, vector and channel.
      reach: Largest number of cycles per image along either axis; None means all. An image costs (2
        reach + 1)^2 / 2 forward passes.
      bounds: Range to which perturbed pixels are clipped; None does not clip.
      seed: Seed of the signs.

    Raises:
      InputError: A norm or a reach out of its range.
    """
    errors.check_number("norm", norm, above=0)
    if reach is not None:
        errors.check_number("reach", reach, at_least=0)
    run = get_classifier_program(
        logits_fn, ("fourier", bounds), lambda call: _build_error_fn(call, bounds)
    )
    clean_errors, perturbed_errors, frequencies = [], [], None
    for batch in batches:
        shape = tuple(batch["image"].shape[1:3])
        frequencies = list_half_frequencies(shape, reach)
        rows = batch["weight"].numpy() > 0
        no_wave = tf.zeros((*shape, 1))
        clean_errors.append(run(batch, no_wave, seed, 0).numpy()[rows])
        columns = []
        for number, (row, column) in enumerate(frequencies):
            wave = tf.constant(norm * compute_basis_vector(shape, row, column)[..., None])
            columns.append(run(batch, wave, seed, number).numpy()[rows])
        perturbed_errors.append(np.stack(columns, 1))
    return _build_sensitivity_map(
        shape, frequencies, np.concatenate(clean_errors), np.concatenate(perturbed_errors)
    )


def _build_error_fn(call: LogitsFn, bounds: Bounds) -> Callable:
    @tf.function(autograph=False, reduce_retracing=True)
    def run(batch, wave, seed, number):
        images = batch["image"]
        keys = prng.make_keys(seed, batch["id"], number)
        signs = prng.rademacher(keys, (1, 1, images.shape[-1]))
        points = images + signs * wave
        if bounds is not None:
            points = tf.clip_by_value(points, *bounds)
        classes = tf.argmax(call(points), -1, tf.int32)
        return tf.cast(classes != batch["label"], tf.float64)

    def run_with_tensors(batch, wave, seed, number):
        return run(batch, wave, tf.constant(seed), tf.constant(number))

    return run_with_tensors


def _build_sensitivity_map(
    shape: tuple[int, int],
    frequencies: np.ndarray,
    clean_errors: np.ndarray,
    perturbed_errors: np.ndarray,
) -> SensitivityMap:
    error = np.full(shape, np.nan)
    for (row, column), value in zip(frequencies, perturbed_errors.mean(0), strict=True):
        for sign in (1, -1):
            position = (
                _wrap_frequency(sign * row, shape[0]) + shape[0] // 2,
                _wrap_frequency(sign * column, shape[1]) + shape[1] // 2,
            )
            error[position] = 100.0 * value
    clean = 100.0 * float(clean_errors.mean())
    return SensitivityMap(error, clean, perturbed_errors, frequencies, clean_errors)


def compute_basis_vector(shape: tuple[int, int], row: int, column: int) -> np.ndarray:
    """Returns the real basis vector of a frequency, a cosine of L2 norm 1: float32 [height, width].

    Its transform is 0 except at (row, column) and the opposite frequency.

    Args:
      shape: (height, width).
      row: Cycles per image from top to bottom.
      column: Cycles per image from left to right.
    """
    y, x = np.mgrid[: shape[0], : shape[1]]
    wave = np.cos(2 * np.pi * (row * y / shape[0] + column * x / shape[1]))
    return (wave / np.linalg.norm(wave)).astype(np.float32)


def list_half_frequencies(shape: tuple[int, int], reach: int | None = None) -> np.ndarray:
    """Returns one of every two opposite frequencies, int64 [vectors, 2].

    Args:
      shape: (height, width).
      reach: Largest number of cycles per image along either axis; None means all.
    """
    rows, columns = spectrum.compute_frequencies(shape)
    rows, columns = np.broadcast_arrays(rows, columns)
    index = rows * max(shape) ** 2 + columns
    opposite_index = _wrap_frequency(-rows, shape[0]) * max(shape) ** 2
    opposite_index = opposite_index + _wrap_frequency(-columns, shape[1])
    selected = index >= opposite_index
    if reach is not None:
        selected &= np.maximum(np.abs(rows), np.abs(columns)) <= reach
    return np.stack([rows[selected], columns[selected]], 1)


def _wrap_frequency(frequency: np.ndarray, size: int) -> np.ndarray:
    """Returns the alias in -(size // 2), ..., (size - 1) // 2."""
    return (frequency + size // 2) % size - size // 2
