"""Which image frequencies a classifier cannot bear: Fourier heat maps.

Every image is moved along one Fourier basis vector at a time, by one L2
norm, and the classifier's errors are counted.

```python
found = fourier.sensitivity(classifier, batches, norm=4.0)
found.error  # float64 [height, width], percent, zero frequency in the middle
```

Reference: Yin et al. 2019, arXiv 1906.08988, section 3.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup import compilation, draws, errors
from qup.measures import spectrum
from qup.types import Batch, Bounds, LogitsFn


class Sensitivity(NamedTuple):
    """Errors under every basis vector.

    Attributes:
      error: float64 [height, width], percent of images misclassified; NaN
        at frequencies beyond the reach.
      clean: Percent misclassified as they are.
      per_image: float64 [n, vectors], 1 where misclassified.
      frequencies: int64 [vectors, 2], cycles per image down and across, of
        each pair of opposite frequencies one.
      wrong: float64 [n], 1 where misclassified as it is.
    """

    error: np.ndarray
    clean: float
    per_image: np.ndarray
    frequencies: np.ndarray
    wrong: np.ndarray


def basis(shape: tuple[int, int], row: int, column: int) -> np.ndarray:
    """Returns the real basis vector of a frequency, of L2 norm 1.

    A cosine; its transform is 0 but at (row, column) and its opposite.

    Args:
      shape: (height, width).
      row: Cycles per image from above to below.
      column: Cycles per image from left to right.

    Returns:
      float32 [height, width].
    """
    y, x = np.mgrid[: shape[0], : shape[1]]
    wave = np.cos(2 * np.pi * (row * y / shape[0] + column * x / shape[1]))
    return (wave / np.linalg.norm(wave)).astype(np.float32)


def half(shape: tuple[int, int], reach: int | None = None) -> np.ndarray:
    """Returns one of every two opposite frequencies, int64 [vectors, 2].

    Args:
      shape: (height, width).
      reach: The most cycles per image along either axis; None for all.
    """
    rows, columns = spectrum.frequencies(shape)
    rows, columns = np.broadcast_arrays(rows, columns)
    own = rows * max(shape) ** 2 + columns
    opposite = _wrapped(-rows, shape[0]) * max(shape) ** 2
    opposite = opposite + _wrapped(-columns, shape[1])
    kept = own >= opposite
    if reach is not None:
        kept &= np.maximum(np.abs(rows), np.abs(columns)) <= reach
    return np.stack([rows[kept], columns[kept]], 1)


def _wrapped(frequency: np.ndarray, size: int) -> np.ndarray:
    """Returns the alias in -(size // 2), ..., (size - 1) // 2."""
    return (frequency + size // 2) % size - size // 2


def sensitivity(
    logits_fn: LogitsFn,
    batches: Iterable[Batch],
    *,
    norm: float,
    reach: int | None = None,
    bounds: Bounds = (0.0, 1.0),
    seed: int = 0,
) -> Sensitivity:
    """Counts a classifier's errors under every Fourier basis vector.

    Args:
      logits_fn: The classifier.
      batches: The images; rows of weight 0 are left out.
      norm: L2 norm of what is added to each channel, above 0, in units of
        [0, 1]; the sign is drawn for each image, vector and channel.
      reach: The most cycles per image along either axis; None for all.
        An image costs (2 reach + 1)^2 / 2 forward passes.
      bounds: To which moved pixels are clipped; None does not clip.
      seed: Of the signs.

    Raises:
      InputError: A norm or a reach out of its range.
    """
    errors.check_number("norm", norm, above=0)
    if reach is not None:
        errors.check_number("reach", reach, least=0)
    run = compilation.program(
        logits_fn, ("fourier", bounds), lambda call: _build(call, bounds)
    )
    wrong, moved, places = [], [], None
    for batch in batches:
        shape = tuple(batch["image"].shape[1:3])
        places = half(shape, reach)
        rows = batch["weight"].numpy() > 0
        still = tf.zeros((*shape, 1))
        wrong.append(run(batch, still, seed, 0).numpy()[rows])
        columns = []
        for number, (row, column) in enumerate(places):
            wave = tf.constant(norm * basis(shape, row, column)[..., None])
            columns.append(run(batch, wave, seed, number).numpy()[rows])
        moved.append(np.stack(columns, 1))
    return _told(shape, places, np.concatenate(wrong), np.concatenate(moved))


def _build(call: LogitsFn, bounds: Bounds) -> Callable:
    @tf.function(autograph=False, reduce_retracing=True)
    def run(batch, wave, seed, number):
        images = batch["image"]
        keys = draws.keys(seed, batch["id"], number)
        signs = draws.signs(keys, (1, 1, images.shape[-1]))
        points = images + signs * wave
        if bounds is not None:
            points = tf.clip_by_value(points, *bounds)
        classes = tf.argmax(call(points), -1, tf.int32)
        return tf.cast(classes != batch["label"], tf.float64)

    def with_tensors(batch, wave, seed, number):
        return run(batch, wave, tf.constant(seed), tf.constant(number))

    return with_tensors


def _told(
    shape: tuple[int, int], places: np.ndarray, wrong: np.ndarray,
    moved: np.ndarray,
) -> Sensitivity:  # fmt: skip
    error = np.full(shape, np.nan)
    for (row, column), value in zip(places, moved.mean(0), strict=True):
        for sign in (1, -1):
            at = (
                _wrapped(sign * row, shape[0]) + shape[0] // 2,
                _wrapped(sign * column, shape[1]) + shape[1] // 2,
            )
            error[at] = 100.0 * value
    clean = 100.0 * float(wrong.mean())
    return Sensitivity(error, clean, moved, places, wrong)
