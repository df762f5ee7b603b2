"""The one-pixel attack: all pixels at three levels, then differential evolution.

The paper does not use it. It searches the adversarial image that is closest in L0 by queries alone.

```python
adversarial = attacks.get("one_pixel")(classifier, images, labels)
```

Reference for differential evolution: Storn and Price 1997, doi:10.1023/A:1008202821328, DE/rand/1.
"""

import dataclasses
import itertools
import math

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, losses, method
from qup.core import errors, norms, prng

# Candidates per image and query: all 400 for each image of a batch may not fit into memory.
_CANDIDATES_PER_QUERY = 25
# The levels of each channel in the exhaustive search, as fractions of the range of colours.
_LEVELS = (0.0, 0.5, 1.0)
# With more colours per place there is no exhaustive search.
_MAX_COLOURS = 3**8


@attacks.register("one_pixel", kind="minimum_norm", norms=("l0",), gradients=False)
@dataclasses.dataclass(frozen=True, kw_only=True)
class OnePixel(method.Method):
    """Tries candidates (position, colour) until one is adversarial.

    First come all pixels, each channel at the lowest, middle and highest level, if they are not
    more than the candidates of the evolution (2,352 and 30,400 for MNIST). Then the candidates
    evolve.

    A pixel is one element of images of rank 1 or 2, and all channels (the last axis) of a position
    for a higher rank; L0 counts channels. Without bounds, colours are between the image's lowest
    and highest value.

    Attributes:
      num_pixels: Number of pixels that a candidate changes.
      population: Number of candidates, at least 4.
      num_steps: Number of generations after the random first one.
      mutation: Weight F of the difference of two candidates.
      exhaustive: Whether to try all pixels first; False is the attack of the authors.
      targeted: The labels are targets.

    Reference: Su, Vargas, Sakurai 2017, arXiv 1710.08864.
    """

    num_pixels: int = 1
    population: int = 400
    num_steps: method.Count = 75
    mutation: float = 0.5
    exhaustive: bool = True
    targeted: bool = False

    def check(self):
        """Checks the ranges of the options."""
        errors.check_number("num_pixels", self.num_pixels, at_least=1)
        errors.check_number("population", self.population, at_least=4)
        inputs.check_number("mutation", self.mutation, least=0)

    def init(self, classifier, examples):
        """Draws the first generation, and evaluates the clean image."""
        images, keys = examples.images, self.keys(examples)
        axis_lengths, channels = _get_layout(images)
        shape = (self.population, self.num_pixels)
        # Positions are uniform; colours in 0, ..., 255 are normal, N(128, 127)     (Su 2017)
        positions = prng.uniform(prng.make_keys(1, keys), (*shape, len(axis_lengths)))
        colours = prng.normal(prng.make_keys(2, keys), (*shape, channels))
        colours = tf.clip_by_value((128 + 127 * colours) / 255, 0.0, 1.0)
        sampled = tf.concat([positions, colours], -1)
        logits = classifier.logits(images)
        return {
            "images": images,
            "success": method.adversarial(logits, examples.labels, self.targeted),
            "turn": tf.zeros_like(examples.labels),
            "parents": sampled,
            "children": sampled,
            "fitness": tf.fill(sampled.shape[:2], float("-inf")),
        }

    def step(self, classifier, examples, state):
        """Evaluates the candidates of one turn of the exhaustive search, or of a generation."""
        num_exhaustive_turns = self._count_exhaustive_turns(examples.images)
        is_exhaustive = state["turn"] < num_exhaustive_turns
        # The turns of the evolution start at 0.
        turn = tf.maximum(state["turn"] - num_exhaustive_turns, 0)
        members = self._select_members(turn)
        candidates = self._breed_candidates(examples, state, members, turn)
        listed = self._list_candidates(examples.images, state["turn"])
        if listed is not None:
            candidates = tf.where(norms.expand_like(is_exhaustive, candidates), listed, candidates)
        images = self._render_candidates(examples.images, candidates)
        is_adversarial, fitness = self._evaluate_candidates(classifier, examples, images)
        success = tf.reduce_any(is_adversarial, 1)
        fittest_index = tf.argmax(tf.where(is_adversarial, fitness, float("-inf")), 1)
        fittest_images = tf.gather(images, fittest_index, batch_dims=1)
        # A child that is at least as fit replaces its parent in the next generation.
        parent_fitness = gather_members(state["fitness"], members)
        is_fitter = (fitness >= parent_fitness) & ~is_exhaustive[:, None]
        candidates = tf.where(
            is_fitter[..., None, None], candidates, gather_members(state["children"], members)
        )
        children = scatter_members(state["children"], members, candidates)
        is_last_turn = ~is_exhaustive & ((turn + 1) % self._num_turns == 0)
        is_last_turn = norms.expand_like(is_last_turn, children)
        return {
            "images": tf.where(
                norms.expand_like(success, fittest_images), fittest_images, state["images"]
            ),
            "success": success,
            "turn": state["turn"] + 1,
            "parents": tf.where(is_last_turn, children, state["parents"]),
            "children": children,
            "fitness": scatter_members(
                state["fitness"], members, tf.where(is_fitter, fitness, parent_fitness)
            ),
        }

    def count_max_steps(self, image_shape):
        """The turns of all generations, without those of an exhaustive search."""
        return (self.num_steps + 1) * self._num_turns

    def done(self, examples, state):
        """At an adversarial image, or after the last generation."""
        max_turns = (self.num_steps + 1) * self._num_turns
        max_turns += self._count_exhaustive_turns(examples.images)
        return state["success"] | (state["turn"] >= max_turns)

    @property
    def _num_turns(self) -> int:
        """Number of turns per generation."""
        return -(-self.population // _CANDIDATES_PER_QUERY)

    @property
    def _num_members(self) -> int:
        """Number of candidates per turn."""
        return -(-self.population // self._num_turns)

    def _select_members(self, turn):
        """Returns the members of a turn, int32 [batch, k]."""
        # The last turn repeats members if too few are left.
        first_member = tf.minimum(
            turn % self._num_turns * self._num_members, self.population - self._num_members
        )
        return first_member[:, None] + tf.range(self._num_members)[None]

    def _count_exhaustive_turns(self, images):
        """Returns the number of turns of the exhaustive search, int32; 0 without one."""
        axis_lengths, channels = _get_layout(images)
        num_colours = len(_LEVELS) ** channels
        if not self.exhaustive or num_colours > _MAX_COLOURS:
            return tf.constant(0)
        num_candidates = math.prod(axis_lengths) * num_colours
        # An evolution of so many steps that 32 bits do not suffice is longer as well.
        is_cheaper = num_candidates / self.population <= tf.cast(self.num_steps, tf.float32) + 1.0
        return tf.where(is_cheaper, -(-num_candidates // self._num_members), 0)

    def _list_candidates(self, images, turn):
        """Returns the candidates of a turn of the exhaustive search, or None without one.

        They are float32 [batch, k, num_pixels, axes + channels]; all pixels of one are equal. The
        extreme colours come first.
        """
        axis_lengths, channels = _get_layout(images)
        if not self.exhaustive or len(_LEVELS) ** channels > _MAX_COLOURS:
            return None
        colours = sorted(
            itertools.product(_LEVELS, repeat=channels), key=lambda colour: colour.count(0.5)
        )
        num_places = math.prod(axis_lengths)
        index = turn[:, None] * self._num_members + tf.range(self._num_members)[None]
        # The last turn repeats the last candidate.
        index = tf.minimum(index, num_places * len(colours) - 1)
        place, positions = index % num_places, []
        for length in reversed(axis_lengths):
            positions.append((tf.cast(place % length, tf.float32) + 0.5) / length)
            place //= length
        positions = tf.stack(positions[::-1], -1)
        colour = tf.gather(np.array(colours, np.float32), index // num_places)
        pixel = tf.concat([positions, colour], -1)[:, :, None]
        return tf.tile(pixel, (1, 1, self.num_pixels, 1))

    def _breed_candidates(self, examples, state, members, turn):
        """Returns the members in the first generation, and mutants in later ones."""
        parents = state["parents"]
        keys = self.keys(examples, turn)
        mutants = build_mutants(parents, members, self.mutation, prng.make_keys(1, keys))
        num_axes = len(_get_layout(examples.images)[0])
        positions, colours = mutants[..., :num_axes], mutants[..., num_axes:]
        # Positions outside the image are redrawn: clipped they would accumulate at its border.
        is_outside = (positions < 0) | (positions >= 1)
        redrawn = prng.uniform(prng.make_keys(2, keys), positions.shape[1:])
        positions = tf.where(is_outside, redrawn, positions)
        mutants = tf.concat([positions, tf.clip_by_value(colours, 0.0, 1.0)], -1)
        is_first_generation = norms.expand_like(turn < self._num_turns, mutants)
        return tf.where(is_first_generation, gather_members(parents, members), mutants)

    def _render_candidates(self, images, candidates):
        """Returns the images of candidates, float32 [batch, k, ...]."""
        axis_lengths, channels = _get_layout(images)
        flat_images = tf.reshape(images, (images.shape[0], 1, -1, channels))
        low, high = self.bounds or (
            tf.reduce_min(flat_images, (1, 2, 3))[:, None, None],
            tf.reduce_max(flat_images, (1, 2, 3))[:, None, None],
        )
        pixel_indices = tf.range(flat_images.shape[2])
        for pixel in tf.unstack(candidates, axis=2):
            pixel_index = 0
            for i, length in enumerate(axis_lengths):
                # Positions are below 1, so the index is below the length.
                index = tf.cast(pixel[..., i] * length, tf.int32)
                pixel_index = pixel_index * length + index
            colour = low + (high - low) * pixel[..., len(axis_lengths) :]
            colour = method.clip(colour, self.bounds)[:, :, None]
            is_pixel = pixel_indices == pixel_index[..., None]
            flat_images = tf.where(is_pixel[..., None], colour, flat_images)
        return tf.reshape(flat_images, (*candidates.shape[:2], *images.shape[1:]))

    def _evaluate_candidates(self, classifier, examples, images):
        """Returns (is_adversarial, fitness), bool and float32 [batch, k].

        The fitness is the log odds against the true class. It decreases with the probability of the
        true class, the objective of Su et al., and does not saturate.
        """
        num_candidates = images.shape[1]
        labels = tf.repeat(examples.labels, num_candidates)
        logits = classifier.logits(tf.reshape(images, (-1, *images.shape[2:])))
        is_adversarial = method.adversarial(logits, labels, self.targeted)
        fitness = losses.build_objective("log_odds", labels, self.targeted)(logits)
        shape = (-1, num_candidates)
        return tf.reshape(is_adversarial, shape), tf.reshape(fitness, shape)


def _get_layout(images: tf.Tensor) -> tuple[list[int], int]:
    """Returns the lengths of the position axes, and the number of channels."""
    shape = images.shape[1:].as_list()
    return (shape, 1) if len(shape) < 3 else (shape[:-1], shape[-1])


def build_mutants(
    population: tf.Tensor, members: tf.Tensor, weight: float | tf.Tensor, keys: tf.Tensor
) -> tf.Tensor:
    """Returns one mutant per member, float32 [batch, k, ...].

    Args:
      population: float32 [batch, population, ...], at least four per example.
      members: int32 [batch, k], indices in the population.
      weight: F.
      keys: uint64 [batch].
    """
    partner_members = sample_partners(keys, members, population.shape[1])
    first, second, third = (
        gather_members(population, partner) for partner in tf.unstack(partner_members, axis=-1)
    )
    # v_i = x_r1 + F (x_r2 - x_r3)     (Storn 1997, Eq. 2)
    return first + weight * (second - third)


def sample_partners(keys: tf.Tensor, members: tf.Tensor, size: int) -> tf.Tensor:
    """Draws three different members other than each of `members`, int32 [batch, k, 3].

    Args:
      keys: uint64 [batch].
      members: int32 [batch, k], indices in the population.
      size: Size of the population.
    """
    limits = tf.constant([size - 1, size - 2, size - 3])
    sampled = prng.integers(keys, (members.shape[1], 3), limits)
    excluded = members[..., None]
    for i in range(3):
        # The n-th index that is not excluded: skip each excluded index below it.
        member = sampled[..., i]
        for excluded_member in tf.unstack(tf.sort(excluded), axis=-1):
            member += tf.cast(member >= excluded_member, tf.int32)
        excluded = tf.concat([excluded, member[..., None]], -1)
    return excluded[..., 1:]


def gather_members(population: tf.Tensor, members: tf.Tensor) -> tf.Tensor:
    """Returns the members, [batch, k, ...]."""
    return tf.gather(population, members, batch_dims=1)


def scatter_members(population: tf.Tensor, members: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns the population with `values` [batch, k, ...] in place of the members."""
    batch, count = members.shape
    rows = tf.broadcast_to(tf.range(batch)[:, None], (batch, count))
    indices = tf.stack([rows, members], -1)
    return tf.tensor_scatter_nd_update(population, indices, values)
