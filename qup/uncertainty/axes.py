"""Axes of the relation: pixels and directions.

For a unit vector u, x_u = u.x and s_u = u.grad ln psi satisfy the relation of a single pixel, with
the bound 1/2 |1 - u^T B u|.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from qup.core import errors


@dataclasses.dataclass(frozen=True, eq=False)
class Axes:
    """Coordinates, and directions between them.

    Attributes:
      pixels: int32 [p], coordinates of the flattened input.
      directions: float64 [k, size], unit vectors.
      names: p + k names.
    """

    pixels: np.ndarray
    directions: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def covers_all_pixels(self) -> bool:
        """Whether the pixels are all coordinates in their order."""
        return np.array_equal(self.pixels, np.arange(self.directions.shape[1]))

    def to_tensors(self, dtype) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns pixels and directions, as arguments of a compiled program."""
        return tf.constant(self.pixels), tf.constant(self.directions, dtype)

    def project_point(self, point) -> np.ndarray:
        """Returns the components of one point [size]: float64 [p + k]."""
        point = np.asarray(point, float)
        return np.concatenate([point[self.pixels], self.directions @ point])

    def build_unit_vectors(self, size: int) -> np.ndarray:
        """Returns every axis as a unit vector: float64 [p + k, size]."""
        pixel_vectors = np.zeros((len(self.pixels), size))
        pixel_vectors[np.arange(len(self.pixels)), self.pixels] = 1.0
        return np.concatenate([pixel_vectors, self.directions])


def build_projection(
    pixels: tf.Tensor, directions: tf.Tensor, covers_all_pixels: bool = False
) -> Callable:
    """Returns a function from values [n, size] to their components [n, p + k].

    Args:
      pixels: int32 [p].
      directions: [k, size].
      covers_all_pixels: See `Axes`; avoids a gather.
    """

    def project(values: tf.Tensor, squared: bool = False) -> tf.Tensor:
        vectors = tf.cast(directions, values.dtype)
        vectors = vectors**2 if squared else vectors
        pixel_values = values if covers_all_pixels else tf.gather(values, pixels, axis=1)
        if vectors.shape[0] == 0:
            return pixel_values
        return tf.concat([pixel_values, tf.matmul(values, vectors, transpose_b=True)], 1)

    return project


def build_axes(size: int, pixels=None, directions=None, names=()) -> Axes:
    """Returns checked axes.

    Args:
      size: Number of coordinates of one input.
      pixels: Integers [p]; None for all pixels, or for none if there are directions.
      directions: [k, size] or k images, of any length but 0.
      names: One name per direction; default: "direction:0", ...

    Raises:
      InputError: A pixel out of range, a direction of the wrong shape, of length 0, not finite
        or not real; no axis at all.
    """
    if pixels is None:
        pixels = np.arange(size) if directions is None else ()
    pixels = np.asarray(pixels, np.int32).reshape(-1)
    out_of_range = pixels[(pixels < 0) | (pixels >= size)]
    if out_of_range.size:
        raise errors.InputError(f"pixel must be one of 0 to {size - 1}; got {out_of_range[0]}.")
    directions = _check_directions(directions, size)
    if len(pixels) + len(directions) == 0:
        raise errors.InputError("Give a pixel or a direction to measure along.")
    names = names or [f"direction:{i}" for i in range(len(directions))]
    pixel_names = [f"pixel:{pixel}" for pixel in pixels]
    return Axes(pixels, directions, (*pixel_names, *names))


def _check_directions(directions, size: int) -> np.ndarray:
    """Returns unit vectors, float64 [k, size]."""
    if directions is None:
        return np.zeros((0, size))
    directions = np.asarray(directions)
    if directions.dtype.kind not in "biuf":
        raise errors.InputError(
            "directions must be real numbers, such as float32; got the dtype "
            f"{directions.dtype}. Convert them with astype(float)."
        )
    directions = directions.astype(float)
    if directions.ndim < 2 or math.prod(directions.shape[1:]) != size:
        raise errors.InputError(
            f"directions must be [k, {size}], or k images of {size} values; "
            f"got the shape {list(directions.shape)}."
        )
    flattened = directions.reshape(len(directions), size)
    lengths = np.linalg.norm(flattened, axis=1)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise errors.InputError(
            "Every direction must be finite and longer than 0; got the "
            f"lengths {np.round(lengths, 6).tolist()[:10]}."
        )
    return flattened / lengths[:, None]


def compute_principal_axes(images, count: int) -> np.ndarray:
    """Returns the first principal axes of images: float64 [count, size].

    Args:
      images: [n, ...].
      count: At most n - 1 and at most size.

    Raises:
      InputError: The images have fewer principal axes.
    """
    flattened = np.asarray(images, float).reshape(len(images), -1)
    max_count = min(len(flattened) - 1, flattened.shape[1])
    errors.check_number("Number of PCA axes", count, at_least=1, below=max_count + 1)
    centred = flattened - flattened.mean(0)
    _, lengths, rows = np.linalg.svd(centred, full_matrices=False)
    if lengths[count - 1] <= 1e-9 * lengths[0]:
        raise errors.InputError(f"The images span fewer than {count} principal axes.")
    return rows[:count]


def sample_directions(size: int, count: int, seed: int) -> np.ndarray:
    """Returns random unit vectors: float64 [count, size]."""
    vectors = np.random.default_rng(seed).normal(size=(count, size))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def join_axes(size: int, groups: Sequence[tuple[str, np.ndarray]], pixels) -> Axes:
    """Returns axes of pixels and named groups of directions.

    Args:
      size: Number of coordinates.
      groups: Pairs (name, [k, size]); the names of the axes are name:0, name:1, ...
      pixels: Integers, or None for all pixels.
    """
    names = [f"{name}:{i}" for name, vectors in groups for i in range(len(vectors))]
    directions = [vectors for _, vectors in groups]
    stacked = np.concatenate(directions) if directions else None
    if pixels is None:
        pixels = np.arange(size)
    return build_axes(size, pixels, stacked, names)
