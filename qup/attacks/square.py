"""Where Square Attack looks next: its starts and its random windows.

Every row has its own window, of its own size, so a window is a mask over
the whole image. `keys` are those of one query, see `draws.keys`.

Reference: Andriushchenko et al. 2020, arXiv 1912.00049, Section 3.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, losses, method
from qup.core import errors, norms, prng
from qup.core.types import Bounds

# The bumps that Square Attack moves about under L2 and L1.
#
# Reference: Andriushchenko et al. 2020, arXiv 1912.00049, Section 3.3, Eq. 2
# and Algorithm 3; for L1 Croce and Hein 2021, arXiv 2103.01208.


_EPS = 1e-12


def tile_bumps(shape: tf.TensorShape, keys: tf.Tensor) -> tf.Tensor:
    """Draws bumps that tile the image, five along its shorter side.

    Args:
      shape: [height, width, channels].
      keys: uint64 [batch].

    Returns:
      float32 [batch, *shape].
    """
    height, width, channels = shape
    side = max(min(height, width) // 5, 1)
    grid = (height // side, 1, width // side, 1)
    offsets = tf.range(side)[None]
    single_bump = build_bump(tf.constant([side]), offsets, offsets, tf.constant([False]))[0]
    is_flipped = prng.signs(prng.make_keys(1, keys), (*grid, 1)) > 0
    transposed = tf.transpose(single_bump)[:, None, :, None]
    sampled_bumps = tf.where(is_flipped, single_bump[:, None, :, None], transposed)
    sampled_bumps *= prng.signs(prng.make_keys(2, keys), (*grid, channels))
    covered_size = (grid[0] * side, grid[2] * side)
    margins = [(a - b) // 2 for a, b in zip(shape[:2], covered_size, strict=True)]
    return tf.image.pad_to_bounding_box(
        tf.reshape(sampled_bumps, (-1, *covered_size, channels)), *margins, height, width
    )


def build_bump(
    side: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, is_horizontal: tf.Tensor
) -> tf.Tensor:
    """Returns eta (Eq. 2): two pyramids of opposite signs, side by side.

    Args:
      side: int32 [batch], of the window.
      rows: int32 [batch, height], the places of the pixels in the window.
      columns: int32 [batch, width].
      is_horizontal: bool [batch], halves left and right, not above and below.

    Returns:
      float32 [batch, height, width], of L2 norm 1 and zero off the window.
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
    # eta(far) = sum_{k = far}^{side // 2} 1 / (k + 1)^2
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
    """Adds a bump to a window, and takes what `source_window` had (Algorithm 3).

    Args:
      delta: float32 [batch, height, width, channels].
      bump: float32 like `delta`, zero off the window.
      window: float32 [batch, height, width, 1], 1 in W1 of the paper, else
        0. Products with such masks are exact, and faster than `tf.where`.
      source_window: float32 [batch, height, width, 1], of W2.
      budget: float32 [batch, 1, 1, 1], epsilon.
      norm: "l2" or "l1".

    Returns:
      float32 like `delta`; under L1 longer than epsilon.
    """
    channels = delta.shape[-1]

    # The norm, under L2 its square: what adds up over parts of an image.
    def compute_mass(values, axes=(1, 2)):
        powers = tf.square(values) if norm == "l2" else tf.abs(values)
        return tf.reduce_sum(powers, axes, keepdims=True)

    def compute_length(mass):
        return tf.sqrt(mass) if norm == "l2" else mass

    # new = rho eta + nu_W1 / ||nu_W1||
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
        # Colours get more than there is: the projection leaves the largest.
        available_mass *= channels
    new_values *= compute_length(available_mass) / (compute_length(compute_mass(new_values)) + _EPS)
    return new_values + (1.0 - source_window) * outside_values


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
        return method.clip(self.images + delta, self.bounds)


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
        stripes = prng.signs(keys, (1, *shape[1:]))
        return method.clip(ball.images + ball.budget * stripes, ball.bounds)
    tiled_bumps = tile_bumps(shape, keys)
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
    rows = _sample_window_offsets(prng.make_keys(2, keys), side, height)
    columns = _sample_window_offsets(prng.make_keys(3, keys), side, width)
    window = _build_window_mask(rows, columns, side)
    if ball.norm == "linf":
        return _propose_square(ball, best, window, prng.make_keys(1, keys))
    signs = prng.signs(prng.make_keys(1, keys), (1, 1, channels))
    flip = prng.signs(prng.make_keys(4, keys), ()) > 0
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
    """Draws a window along an axis; gives each pixel's place in it.

    Returns:
      int32 [batch, length]; from 0 to side - 1 inside the window.
    """
    first_index = prng.integers(keys, (1,), (length - side + 1)[:, None])
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
        perturbed = method.clip(ball.images + ball.budget * signs, ball.bounds)
        return window * perturbed + (1.0 - window) * best

    # Which channels each sign changes: bool [batch, 1, channels].
    changed_by_plus, changed_by_minus = (
        tf.reduce_any(fill_window(sign) != best, (1, 2))[:, None] for sign in (1.0, -1.0)
    )
    signs = prng.signs(keys, (_MAX_SIGN_DRAWS, best.shape[-1]))
    # The opposite of the first, for the last: of a single channel, what is
    # left if all draws are alike.
    signs = tf.concat([signs, -signs[:, :1]], 1)
    changes = tf.reduce_any(tf.where(signs > 0, changed_by_plus, changed_by_minus), 2)
    # What is there already would waste a query: take the first that is not.
    priorities = tf.range(_MAX_SIGN_DRAWS + 1, 0, -1)
    first_change = tf.argmax(tf.cast(changes, tf.int32) * priorities, 1)
    signs = tf.gather(signs, first_change, batch_dims=1)
    return fill_window(signs[:, None, None])


# Square Attack: random search with square windows, no gradient.
#
# Not an attack of the paper; AutoAttack's black-box part, which does not
# mistake a masked gradient for robustness.
#
# ```python
# attacked = attacks.get("square")(classifier, images, labels, epsilon=8 / 255)
# ```


# After so many proposals the share of the image that one changes is halved,
# in units of 1/10,000 of the queries where the schedule is rescaled.
_HALVING_SCHEDULE = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
# Queries before the first proposal: the start.
_NUM_START_QUERIES = 1


@attacks.register("square", kind="budget", norms=norms.NAMES, gradients=False)
@dataclasses.dataclass(frozen=True, kw_only=True)
class Square(method.Method):
    """Redraws a random square window, and keeps it where the loss rises.

    Images are [height, width, channels]. A row stops when misclassified.

    Attributes:
      epsilon: Radius of the ball in `norm`, in the units of `bounds`.
      norm: "linf", "l2" or "l1".
      num_queries: Images that a search asks the classifier about, for each
        example, its start the first. Whether the clean image withstands is
        asked before, and counts as a call but not as a query.
      p_init: Share of the image that the first windows cover, in (0, 1].
        AutoAttack takes 0.8, the paper 0.05 (linf) and 0.1 (l2).
      rescale_schedule: Shrink the windows by the share of `num_queries`
        used, as the paper does, not by their number, as AutoAttack does.
      restarts: Number of searches; an image broken by one is left alone by
        the next.
      loss: What an untargeted search climbs, see `losses`; a targeted one
        descends cross-entropy.
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
        """Raises an InputError for an option out of its range."""
        losses.get(self.loss)
        errors.check_number("restarts", self.restarts, at_least=1)
        inputs.check_number("num_queries", self.num_queries, least=_NUM_START_QUERIES)
        inputs.check_number("p_init", self.p_init, least=0)
        if not tf.is_tensor(self.p_init) and not 0 < self.p_init <= 1:
            raise errors.InputError(
                f"p_init is a share of the image, above 0 and at most 1; got {self.p_init!r}."
            )

    def stages(self):
        """One part a restart."""
        one_start = dataclasses.replace(self, restarts=1)
        return (one_start,) * int(self.restarts)

    def init(self, classifier, examples):
        """Asks about the image and about the start of the search."""
        images = examples.images
        if images.shape.rank != 4:
            raise errors.InputError(
                "square needs images [height, width, channels]; got "
                f"{images.shape[1:]}. Reshape them inside the classifier, or "
                "attack it with spsa."
            )
        ball = self._build_ball(examples)
        start = sample_start(ball, self.keys(examples))
        _, clean_success = self._evaluate(classifier, examples, images)
        loss, success = self._evaluate(classifier, examples, start)
        return {
            "images": tf.where(norms.expand_like(clean_success, images), images, start),
            "loss": loss,
            "found": clean_success | success,
            "queries": tf.fill(tf.shape(examples.labels), _NUM_START_QUERIES),
        }

    def step(self, classifier, examples, state):
        """Asks about one proposal, and keeps it if it is better."""
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
            "found": state["found"] | success,
            "queries": queries + 1,
        }

    def done(self, examples, state):
        """Once adversarial, or out of queries."""
        return state["found"] | (state["queries"] >= self.num_queries)

    def compute_share(self, num_proposals: tf.Tensor) -> tf.Tensor:
        """Returns the share of the image that the next window covers.

        Args:
          num_proposals: int32 [batch], how many went before.

        Returns:
          float32 [batch].
        """
        if self.rescale_schedule:
            num_proposals = tf.cast(num_proposals, tf.int64) * 10000
            num_proposals //= tf.cast(self.num_queries, tf.int64)
        is_past = num_proposals[:, None] > tf.constant([_HALVING_SCHEDULE], num_proposals.dtype)
        halvings = tf.reduce_sum(tf.cast(is_past, tf.float32), 1)
        return self.p_init * 0.5**halvings

    def _build_ball(self, examples) -> SearchBall:
        return SearchBall(examples.images, examples.budget(), self.norm, self.bounds)

    def _evaluate(self, classifier, examples, images):
        """Returns the loss at images, and which are adversarial."""
        loss = "cross_entropy" if self.targeted else self.loss
        objective = losses.build_objective(loss, examples.labels, self.targeted)
        logits = classifier.logits(images)
        success = method.adversarial(logits, examples.labels, self.targeted)
        return objective(logits), success
