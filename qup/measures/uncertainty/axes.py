"""Along which lines the relation is measured: pixels and directions.

For a unit vector u, x_u = u.x and s_u = u.grad ln psi obey the relation as
a single pixel does, with the bound 1/2 |1 - u^T B u|.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from qup import errors


@dataclasses.dataclass(frozen=True, eq=False)
class Axes:
    """Coordinates, and unit vectors between them.

    Attributes:
      pixels: int32 [p], coordinates of the flattened input.
      directions: float64 [k, size], of length 1.
      names: p + k names.
    """

    pixels: np.ndarray
    directions: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def whole(self) -> bool:
        """Whether the pixels are all there are, in their order."""
        size = self.directions.shape[1]
        return np.array_equal(self.pixels, np.arange(size))

    def tensors(self, dtype) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns pixels and directions, for a program's arguments."""
        return tf.constant(self.pixels), tf.constant(self.directions, dtype)

    def of_point(self, point) -> np.ndarray:
        """Returns the components of one point [size]: float64 [p + k]."""
        point = np.asarray(point, float)
        return np.concatenate([point[self.pixels], self.directions @ point])

    def vectors(self, size: int) -> np.ndarray:
        """Returns every axis as a unit vector: float64 [p + k, size]."""
        own = np.zeros((len(self.pixels), size))
        own[np.arange(len(self.pixels)), self.pixels] = 1.0
        return np.concatenate([own, self.directions])


def projection(
    pixels: tf.Tensor, directions: tf.Tensor, whole: bool = False
) -> Callable:
    """Returns values [n, size] -> their components along the axes [n, axes].

    Args:
      pixels: int32 [p].
      directions: [k, size].
      whole: The pixels are known to be all: nothing is gathered.
    """

    def project(values: tf.Tensor, squared: bool = False) -> tf.Tensor:
        along = tf.cast(directions, values.dtype)
        along = along**2 if squared else along
        own = values if whole else tf.gather(values, pixels, axis=1)
        if along.shape[0] == 0:
            return own
        return tf.concat([own, tf.matmul(values, along, transpose_b=True)], 1)

    return project


def axes(size: int, pixels=None, directions=None, names=()) -> Axes:
    """Returns checked axes.

    Args:
      size: Number of coordinates of one input.
      pixels: Integers [p]; None for all, where no directions are given.
      directions: [k, size], of any length but 0.
      names: One name a direction.

    Raises:
      InputError: A pixel out of range, a direction of the wrong shape, of
        length 0, not finite or not of real numbers; nothing at all.
    """
    if pixels is None:
        pixels = np.arange(size) if directions is None else ()
    pixels = np.asarray(pixels, np.int32).reshape(-1)
    wrong = pixels[(pixels < 0) | (pixels >= size)]
    if wrong.size:
        raise errors.InputError(
            f"pixel must be one of 0 to {size - 1}; got {wrong[0]}."
        )
    directions = _directions(directions, size)
    if len(pixels) + len(directions) == 0:
        raise errors.InputError("Give a pixel or a direction to measure along.")
    names = names or [f"direction:{i}" for i in range(len(directions))]
    own = [f"pixel:{pixel}" for pixel in pixels]
    return Axes(pixels, directions, (*own, *names))


def _directions(given, size: int) -> np.ndarray:
    if given is None:
        return np.zeros((0, size))
    given = np.asarray(given)
    if given.dtype.kind not in "biuf":
        raise errors.InputError(
            "directions must be real numbers, such as float32; got the dtype "
            f"{given.dtype}. Convert them with astype(float)."
        )
    given = given.astype(float)
    if given.ndim < 2 or math.prod(given.shape[1:]) != size:
        raise errors.InputError(
            f"directions must be [k, {size}], or k images of {size} values; "
            f"got the shape {list(given.shape)}."
        )
    flat = given.reshape(len(given), size)
    lengths = np.linalg.norm(flat, axis=1)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise errors.InputError(
            "Every direction must be finite and longer than 0; got the "
            f"lengths {np.round(lengths, 6).tolist()[:10]}."
        )
    return flat / lengths[:, None]


def principal(images, count: int) -> np.ndarray:
    """Returns the first principal axes of images: float64 [count, size].

    Args:
      images: [n, ...].
      count: At most n - 1 and at most size.

    Raises:
      InputError: More axes than there are.
    """
    flat = np.asarray(images, float).reshape(len(images), -1)
    most = min(len(flat) - 1, flat.shape[1])
    errors.check_number("Number of PCA axes", count, least=1, below=most + 1)
    centred = flat - flat.mean(0)
    _, lengths, rows = np.linalg.svd(centred, full_matrices=False)
    if lengths[count - 1] <= 1e-9 * lengths[0]:
        raise errors.InputError(
            f"The images span fewer than {count} principal axes."
        )
    return rows[:count]


def random(size: int, count: int, seed: int) -> np.ndarray:
    """Returns random unit vectors: float64 [count, size]."""
    rows = np.random.default_rng(seed).normal(size=(count, size))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def joined(size: int, parts: Sequence[tuple[str, np.ndarray]], pixels) -> Axes:
    """Returns axes of named groups of directions, and pixels.

    Args:
      size: Number of coordinates.
      parts: Pairs (name, [k, size]); the axes are called name:0, name:1, ...
      pixels: Integers, or None for all.
    """
    names = [f"{name}:{i}" for name, part in parts for i in range(len(part))]
    rows = [part for _, part in parts]
    given = np.concatenate(rows) if rows else None
    if pixels is None:
        pixels = np.arange(size)
    return axes(size, pixels, given, names)
