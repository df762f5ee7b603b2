"""Where Square Attack looks next: its starts and its random windows.

Every row has its own window, of its own size, so a window is a mask over
the whole image. `keys` are those of one query, see `draws.keys`.

Reference: Andriushchenko et al. 2020, arXiv 1912.00049, Section 3.
"""

from typing import NamedTuple

import tensorflow as tf

from qup import draws, norms
from qup.attacks import base, square_bumps
from qup.types import Bounds

# L1 perturbations stay this share inside the ball, for the rounding of sums.
_L1_RADIUS_FACTOR = 1 - 1e-6
# So often the signs of a square are drawn until they change the image.
_MAX_SIGN_DRAWS = 8


class SearchBall(NamedTuple):
    """Where the search may go.

    Attributes:
      images: float32 [batch, height, width, channels], clean.
      budget: float32 [batch, 1, 1, 1], epsilon.
      norm: "linf", "l2" or "l1".
      bounds: The pixel box, or None.
    """

    images: tf.Tensor
    budget: tf.Tensor
    norm: str
    bounds: Bounds

    def scale_to_boundary(self, delta: tf.Tensor) -> tf.Tensor:
        """Returns the images moved along `delta` by epsilon (L2, L1)."""
        if self.norm == "l1":
            budget = self.budget * _L1_RADIUS_FACTOR
            delta = norms.project_in_box(delta, budget, self.images, self.bounds)
        else:
            delta = self.budget * norms.normalise(delta, self.norm)
        return base.clip(self.images + delta, self.bounds)


def compute_window_sides(share: tf.Tensor, shape: tf.TensorShape, norm: str) -> tf.Tensor:
    """Returns the sides of windows that cover a share of the image.

    Args:
      share: float32 [batch], p in the paper.
      shape: [height, width, channels].
      norm: "linf", "l2" or "l1": the last two take odd sides from 3 on.

    Returns:
      int32 [batch], at most the image's shorter side.
    """
    height, width = shape[:2]
    side = tf.cast(tf.round(tf.sqrt(share * height * width)), tf.int32)
    if norm != "linf":
        side = tf.maximum(side, 3)
        side += 1 - side % 2
    return tf.clip_by_value(side, 1, min(height, width))


def sample_start(ball: SearchBall, keys: tf.Tensor) -> tf.Tensor:
    """Returns where the search begins: stripes, or bumps on a grid.

    Args:
      ball: Around the clean images.
      keys: uint64 [batch].

    Returns:
      float32 [batch, height, width, channels].
    """
    shape = ball.images.shape[1:]
    if ball.norm == "linf":
        stripes = draws.signs(keys, (1, *shape[1:]))
        return base.clip(ball.images + ball.budget * stripes, ball.bounds)
    tiled_bumps = square_bumps.tile_bumps(shape, keys)
    if ball.norm == "l1" and ball.bounds is not None:
        tiled_bumps *= ball.bounds[1] - ball.bounds[0]
    return ball.scale_to_boundary(tiled_bumps)


def propose_images(
    ball: SearchBall, best: tf.Tensor, side: tf.Tensor, keys: tf.Tensor
) -> tf.Tensor:
    """Returns the images to ask about next: `best` with a window redrawn.

    Args:
      ball: Around the clean images.
      best: float32 [batch, height, width, channels], the best so far.
      side: int32 [batch], see `compute_window_sides`.
      keys: uint64 [batch].

    Returns:
      float32 of the shape of `best`.
    """
    height, width, channels = best.shape[1:]
    rows = _sample_window_offsets(draws.make_keys(2, keys), side, height)
    columns = _sample_window_offsets(draws.make_keys(3, keys), side, width)
    window = _build_window_mask(rows, columns, side)
    if ball.norm == "linf":
        return _propose_square(ball, best, window, draws.make_keys(1, keys))
    signs = draws.signs(draws.make_keys(1, keys), (1, 1, channels))
    flip = draws.signs(draws.make_keys(4, keys), ()) > 0
    bump = square_bumps.build_bump(side, rows, columns, flip)[..., None]
    rows = _sample_window_offsets(draws.make_keys(5, keys), side, height)
    columns = _sample_window_offsets(draws.make_keys(6, keys), side, width)
    delta = square_bumps.move_bump(
        best - ball.images,
        bump * signs,
        window,
        _build_window_mask(rows, columns, side),
        budget=ball.budget,
        norm=ball.norm,
    )
    return ball.scale_to_boundary(delta)


def _sample_window_offsets(keys: tf.Tensor, side: tf.Tensor, length: int) -> tf.Tensor:
    """Draws a window along an axis; gives each pixel's place in it.

    Returns:
      int32 [batch, length]; from 0 to side - 1 inside the window.
    """
    first_index = draws.integers(keys, (1,), (length - side + 1)[:, None])
    return tf.range(length)[None] - first_index


def _build_window_mask(rows: tf.Tensor, columns: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Marks the pixels of windows by 1: float32 [batch, height, width, 1]."""
    side = side[:, None]
    in_rows = (rows >= 0) & (rows < side)
    in_columns = (columns >= 0) & (columns < side)
    in_window = in_rows[:, :, None] & in_columns[:, None]
    return tf.cast(in_window, tf.float32)[..., None]


def _propose_square(
    ball: SearchBall, best: tf.Tensor, window: tf.Tensor, keys: tf.Tensor
) -> tf.Tensor:
    """Sets a window to +-epsilon, one sign a channel (Algorithm 2)."""

    def fill_window(signs):
        perturbed = base.clip(ball.images + ball.budget * signs, ball.bounds)
        return window * perturbed + (1.0 - window) * best

    # Which channels each sign changes: bool [batch, 1, channels].
    changed_by_plus, changed_by_minus = (
        tf.reduce_any(fill_window(sign) != best, (1, 2))[:, None] for sign in (1.0, -1.0)
    )
    signs = draws.signs(keys, (_MAX_SIGN_DRAWS, best.shape[-1]))
    # The opposite of the first, for the last: of a single channel, what is
    # left if all draws are alike.
    signs = tf.concat([signs, -signs[:, :1]], 1)
    changes = tf.reduce_any(tf.where(signs > 0, changed_by_plus, changed_by_minus), 2)
    # What is there already would waste a query: take the first that is not.
    priorities = tf.range(_MAX_SIGN_DRAWS + 1, 0, -1)
    first_change = tf.argmax(tf.cast(changes, tf.int32) * priorities, 1)
    signs = tf.gather(signs, first_change, batch_dims=1)
    return fill_window(signs[:, None, None])
