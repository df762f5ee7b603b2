"""Square Attack: random search with square windows, without gradients.

The paper does not use it. It is the black-box part of AutoAttack: masked gradients do not mislead
it. Each row has a window of its own size, so a window is a mask over the whole image.

```python
adversarial = attacks.get("square")(classifier, images, labels, epsilon=8 / 255)
```

References: Andriushchenko et al. 2020, arXiv 1912.00049; for L1 Croce and Hein 2021, arXiv
2103.01208.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, losses, method
from qup.core import errors, norms, prng
from qup.core.types import Bounds

# After each of these numbers of proposals the window's share of the image is halved; with
# `rescale_schedule`, in units of 1/10,000 of the queries.
_HALVING_SCHEDULE = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
# The start is one query.
_NUM_START_QUERIES = 1
# L1 perturbations use this fraction of epsilon, to leave room for the rounding of sums.
_L1_RADIUS_FACTOR = 1 - 1e-6
# The signs of a square are drawn up to this many times, until they change the image.
_MAX_SIGN_DRAWS = 8
_EPS = 1e-12


@attacks.register("square", kind="budget", norms=norms.NAMES, gradients=False)
@dataclasses.dataclass(frozen=True, kw_only=True)
class Square(method.Method):
    """Redraws a random square window, and keeps it if the loss increases.

    Images are [height, width, channels]. A row stops at its first misclassified image.

    Attributes:
      epsilon: Radius of the ball in `norm`, in the units of `bounds`.
      norm: "linf", "l2" or "l1".
      num_queries: Number of classified images per example and search, including the start. The
        prediction for the clean image counts as a forward call but not as a query.
      p_init: Share of the image that the first windows cover, in (0, 1]. AutoAttack uses 0.8, the
        authors 0.05 (linf) and 0.1 (l2).
      rescale_schedule: Shrink the windows by the fraction of `num_queries` used, as in the authors'
        code, instead of by the number of queries, as in AutoAttack.
      restarts: Number of searches; each attacks the images that withstood the ones before.
      loss: The loss that an untargeted search maximises, see `losses`; a targeted search minimises
        cross-entropy.
      targeted: The labels are targets.

    Reference: Andriushchenko et al. 2020, arXiv 1912.00049.
    """

    epsilon: float
    norm: str = "linf"
    num_queries: method.Count = 5000
    p_init: float = 0.8
    rescale_schedule: bool = False
    restarts: int = 1
    loss: str = "margin"
    targeted: bool = False

    def check(self):
        """Checks the ranges of the options."""
        losses.get(self.loss)
        errors.check_number("restarts", self.restarts, at_least=1)
        inputs.check_number("num_queries", self.num_queries, least=_NUM_START_QUERIES)
        inputs.check_number("p_init", self.p_init, least=0)
        if not tf.is_tensor(self.p_init) and not 0 < self.p_init <= 1:
            raise errors.InputError(
                f"p_init is a share of the image, above 0 and at most 1; got {self.p_init!r}."
            )

    def stages(self):
        """One stage per restart."""
        return (dataclasses.replace(self, restarts=1),) * int(self.restarts)

    def count_max_steps(self, image_shape):
        """The queries after those of the start."""
        return self.num_queries - _NUM_START_QUERIES

    def init(self, classifier, examples):
        """Evaluates the image and the start of the search."""
        images = examples.images
        if images.shape.rank != 4:
            raise errors.InputError(
                f"square needs images [height, width, channels]; got {images.shape[1:]}. Reshape "
                "them inside the classifier, or attack it with spsa."
            )
        ball = self._build_ball(examples)
        start = sample_start(ball, self.keys(examples))
        _, clean_success = self._evaluate(classifier, examples, images)
        loss, success = self._evaluate(classifier, examples, start)
        return {
            "images": tf.where(norms.expand_like(clean_success, images), images, start),
            "loss": loss,
            "success": clean_success | success,
            "queries": tf.fill(tf.shape(examples.labels), _NUM_START_QUERIES),
        }

    def step(self, classifier, examples, state):
        """Evaluates one proposal, and keeps it if it is better."""
        images, queries = state["images"], state["queries"]
        side = compute_window_sides(
            self.compute_share(queries - _NUM_START_QUERIES), images.shape[1:], self.norm
        )
        keys = self.keys(examples, queries)
        proposal = propose_images(self._build_ball(examples), images, side, keys)
        loss, success = self._evaluate(classifier, examples, proposal)
        is_better = success | (loss > state["loss"])
        return {
            "images": tf.where(norms.expand_like(is_better, images), proposal, images),
            "loss": tf.where(is_better, loss, state["loss"]),
            "success": state["success"] | success,
            "queries": queries + 1,
        }

    def done(self, examples, state):
        """At an adversarial image, or after `num_queries`."""
        return state["success"] | (state["queries"] >= self.num_queries)

    def compute_share(self, num_proposals: tf.Tensor) -> tf.Tensor:
        """Returns p, the share of the image that the next window covers, float32 [batch].

        Args:
          num_proposals: int32 [batch], the number of proposals before.
        """
        if self.rescale_schedule:
            num_proposals = tf.cast(num_proposals, tf.int64) * 10000
            num_proposals //= tf.cast(self.num_queries, tf.int64)
        is_past = num_proposals[:, None] > tf.constant([_HALVING_SCHEDULE], num_proposals.dtype)
        halvings = tf.reduce_sum(tf.cast(is_past, tf.float32), 1)
        return self.p_init * 0.5**halvings

    def _build_ball(self, examples):
        return SearchBall(examples.images, examples.budget(), self.norm, self.bounds)

    def _evaluate(self, classifier, examples, images):
        """Returns (loss, success): float32 [batch] and bool [batch]."""
        loss = "cross_entropy" if self.targeted else self.loss
        objective = losses.build_objective(loss, examples.labels, self.targeted)
        logits = classifier.logits(images)
        success = method.adversarial(logits, examples.labels, self.targeted)
        return objective(logits), success


class SearchBall(NamedTuple):
    """The ball and the box of the search.

    Attributes:
      images: float32 [batch, height, width, channels], the clean images.
      budget: float32 [batch, 1, 1, 1], epsilon.
      norm: "linf", "l2" or "l1".
      bounds: (lowest, highest) pixel value, or None.
    """

    images: tf.Tensor
    budget: tf.Tensor
    norm: str
    bounds: Bounds

    def scale_to_boundary(self, delta: tf.Tensor) -> tf.Tensor:
        """Returns images at distance epsilon in the direction `delta` (L2, L1)."""
        if self.norm == "l1":
            budget = self.budget * _L1_RADIUS_FACTOR
            delta = norms.project_in_box(delta, budget, self.images, self.bounds)
        else:
            delta = self.budget * norms.normalise(delta, self.norm)
        return method.clip(self.images + delta, self.bounds)


def compute_window_sides(share: tf.Tensor, shape: tf.TensorShape, norm: str) -> tf.Tensor:
    """Returns the sides of windows, int32 [batch], at most the image's shorter side.

    Args:
      share: float32 [batch], the share p of the image that a window covers.
      shape: [height, width, channels].
      norm: "linf", "l2" or "l1": in L2 and L1 sides are odd and at least 3.
    """
    height, width = shape[:2]
    side = tf.cast(tf.round(tf.sqrt(share * height * width)), tf.int32)
    if norm != "linf":
        side = tf.maximum(side, 3)
        side += 1 - side % 2
    return tf.clip_by_value(side, 1, min(height, width))


def sample_start(ball: SearchBall, keys: tf.Tensor) -> tf.Tensor:
    """Draws the first images: vertical stripes (L-inf), or a grid of bumps (Sec. 3.2 and 3.3).

    Args:
      ball: The ball around the clean images.
      keys: uint64 [batch], see `prng.make_keys`.

    Returns:
      float32 [batch, height, width, channels].
    """
    shape = ball.images.shape[1:]
    if ball.norm == "linf":
        stripes = prng.rademacher(keys, (1, *shape[1:]))
        return method.clip(ball.images + ball.budget * stripes, ball.bounds)
    tiled_bumps = tile_bumps(shape, keys)
    if ball.norm == "l1" and ball.bounds is not None:
        tiled_bumps *= ball.bounds[1] - ball.bounds[0]
    return ball.scale_to_boundary(tiled_bumps)


def propose_images(
    ball: SearchBall, best: tf.Tensor, side: tf.Tensor, keys: tf.Tensor
) -> tf.Tensor:
    """Redraws a random window of `best`.

    Args:
      ball: The ball around the clean images.
      best: float32 [batch, height, width, channels], the best images so far.
      side: int32 [batch], see `compute_window_sides`.
      keys: uint64 [batch], of this query.

    Returns:
      float32 [batch, height, width, channels].
    """
    height, width, channels = best.shape[1:]
    rows = _sample_window_offsets(prng.make_keys(2, keys), side, height)
    columns = _sample_window_offsets(prng.make_keys(3, keys), side, width)
    window = _build_window_mask(rows, columns, side)
    if ball.norm == "linf":
        return _propose_square(ball, best, window, prng.make_keys(1, keys))
    signs = prng.rademacher(prng.make_keys(1, keys), (1, 1, channels))
    flip = prng.rademacher(prng.make_keys(4, keys), ()) > 0
    bump = build_bump(side, rows, columns, flip)[..., None]
    rows = _sample_window_offsets(prng.make_keys(5, keys), side, height)
    columns = _sample_window_offsets(prng.make_keys(6, keys), side, width)
    delta = move_bump(
        best - ball.images,
        bump * signs,
        window,
        _build_window_mask(rows, columns, side),
        budget=ball.budget,
        norm=ball.norm,
    )
    return ball.scale_to_boundary(delta)


def _sample_window_offsets(keys: tf.Tensor, side: tf.Tensor, length: int) -> tf.Tensor:
    """Draws a window along an axis.

    Returns:
      int32 [batch, length], each pixel's offset in the window: 0 to side - 1 inside it.
    """
    first_index = prng.integers(keys, (1,), (length - side + 1)[:, None])
    return tf.range(length)[None] - first_index


def _build_window_mask(rows: tf.Tensor, columns: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Returns 1 inside the windows and 0 outside, float32 [batch, height, width, 1]."""
    side = side[:, None]
    in_rows = (rows >= 0) & (rows < side)
    in_columns = (columns >= 0) & (columns < side)
    in_window = in_rows[:, :, None] & in_columns[:, None]
    return tf.cast(in_window, tf.float32)[..., None]


def _propose_square(
    ball: SearchBall, best: tf.Tensor, window: tf.Tensor, keys: tf.Tensor
) -> tf.Tensor:
    """Sets the perturbation in a window to ±epsilon, one sign per channel (Algorithm 2)."""

    def fill_window(signs):
        perturbed = method.clip(ball.images + ball.budget * signs, ball.bounds)
        return window * perturbed + (1.0 - window) * best

    # Which channels each sign changes: bool [batch, 1, channels].
    changed_by_plus, changed_by_minus = (
        tf.reduce_any(fill_window(sign) != best, (1, 2))[:, None] for sign in (1.0, -1.0)
    )
    signs = prng.rademacher(keys, (_MAX_SIGN_DRAWS, best.shape[-1]))
    # The last candidate is the opposite of the first: with one channel and equal draws, the only
    # other choice.
    signs = tf.concat([signs, -signs[:, :1]], 1)
    changes = tf.reduce_any(tf.where(signs > 0, changed_by_plus, changed_by_minus), 2)
    # Signs that do not change the image waste a query: take the first that change it.
    priorities = tf.range(_MAX_SIGN_DRAWS + 1, 0, -1)
    first_change = tf.argmax(tf.cast(changes, tf.int32) * priorities, 1)
    signs = tf.gather(signs, first_change, batch_dims=1)
    return fill_window(signs[:, None, None])


def tile_bumps(shape: tf.TensorShape, keys: tf.Tensor) -> tf.Tensor:
    """Draws bumps that tile the image, five along its shorter side: float32 [batch, *shape].

    Args:
      shape: [height, width, channels].
      keys: uint64 [batch].
    """
    height, width, channels = shape
    side = max(min(height, width) // 5, 1)
    grid = (height // side, 1, width // side, 1)
    offsets = tf.range(side)[None]
    single_bump = build_bump(tf.constant([side]), offsets, offsets, tf.constant([False]))[0]
    is_flipped = prng.rademacher(prng.make_keys(1, keys), (*grid, 1)) > 0
    transposed = tf.transpose(single_bump)[:, None, :, None]
    sampled_bumps = tf.where(is_flipped, single_bump[:, None, :, None], transposed)
    sampled_bumps *= prng.rademacher(prng.make_keys(2, keys), (*grid, channels))
    covered_size = (grid[0] * side, grid[2] * side)
    margins = [(a - b) // 2 for a, b in zip(shape[:2], covered_size, strict=True)]
    return tf.image.pad_to_bounding_box(
        tf.reshape(sampled_bumps, (-1, *covered_size, channels)), *margins, height, width
    )


def build_bump(
    side: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, is_horizontal: tf.Tensor
) -> tf.Tensor:
    """Builds eta (Eq. 2): two adjacent pyramids of opposite signs.

    Args:
      side: int32 [batch], the side of the window.
      rows: int32 [batch, height], the offsets of the pixels in the window.
      columns: int32 [batch, width], the same.
      is_horizontal: bool [batch]: the pyramids are left and right, not above and below.

    Returns:
      float32 [batch, height, width], of L2 norm 1, zero outside the window.
    """
    max_half = min(rows.shape[1], columns.shape[1]) // 2 + 1
    side, is_horizontal = side[:, None, None], is_horizontal[:, None, None]
    rows, columns = rows[:, :, None], columns[:, None]
    along = tf.where(is_horizontal, columns, rows)
    across = tf.where(is_horizontal, rows, columns)
    in_window = (along >= 0) & (along < side) & (across >= 0) & (across < side)
    half = side // 2
    in_first_half = along < half
    half_centre = tf.where(in_first_half, half // 2, half + (side - half) // 2)
    distance = tf.maximum(tf.abs(along - half_centre), tf.abs(across - half))
    # eta(distance) = sum_{k = distance}^{side // 2} 1 / (k + 1)^2     (Andriushchenko 2020, Eq. 2)
    partial_sums = np.cumsum([0.0] + [1 / k**2 for k in range(1, max_half + 1)])
    partial_sums = tf.constant(partial_sums, tf.float32)
    value = tf.gather(partial_sums, half + 1) - tf.gather(
        partial_sums, tf.minimum(distance, half + 1)
    )

    def normalise_half(in_half):
        return norms.normalise(tf.where(in_half & in_window, value, 0.0), "l2")

    return norms.normalise(normalise_half(in_first_half) - normalise_half(~in_first_half), "l2")


def move_bump(
    delta: tf.Tensor,
    bump: tf.Tensor,
    window: tf.Tensor,
    source_window: tf.Tensor,
    *,
    budget: tf.Tensor,
    norm: str,
) -> tf.Tensor:
    """Adds a bump to one window and the norm of another window to it (Algorithm 3).

    Args:
      delta: float32 [batch, height, width, channels], the perturbation.
      bump: float32 like `delta`, zero outside the window.
      window: float32 [batch, height, width, 1], the mask W1 of the paper. Products with such masks
        are exact, and faster than `tf.where`.
      source_window: float32 [batch, height, width, 1], the mask W2.
      budget: float32 [batch, 1, 1, 1], epsilon.
      norm: "l2" or "l1".

    Returns:
      float32 like `delta`; in L1 its norm exceeds epsilon.
    """
    channels = delta.shape[-1]

    # The norm, in L2 its square: it is additive over the parts of an image.
    def compute_mass(values, axes=(1, 2)):
        powers = tf.square(values) if norm == "l2" else tf.abs(values)
        return tf.reduce_sum(powers, axes, keepdims=True)

    def compute_length(mass):
        return tf.sqrt(mass) if norm == "l2" else mass

    # nu_new = rho eta + nu_W1 / ||nu_W1||     (Andriushchenko 2020, Algorithm 3)
    inside_values = window * delta
    new_values = bump + inside_values / (compute_length(compute_mass(inside_values)) + _EPS)
    # ||nu_W1||^2 = ||nu_(W1 u W2)||^2 + (epsilon^2 - ||nu||^2) / channels
    total_mass = budget**2 if norm == "l2" else budget
    unused_mass = tf.maximum(total_mass - compute_mass(delta, (1, 2, 3)), 0.0) / channels
    outside_values = (1.0 - window) * delta
    available_mass = (
        compute_mass(inside_values) + compute_mass(source_window * outside_values) + unused_mass
    )
    if norm == "l1":
        # All channels together get more than epsilon; the projection keeps the largest elements.
        available_mass *= channels
    new_values *= compute_length(available_mass) / (compute_length(compute_mass(new_values)) + _EPS)
    return new_values + (1.0 - source_window) * outside_values
