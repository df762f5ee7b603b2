"""Differential evolution, one population an example: who breeds with whom.

Populations are tensors [batch, population, ...]; `members` are int32
[batch, k], those of each row that have their turn.

Reference: Storn and Price 1997, doi:10.1023/A:1008202821328, Eq. 2
(DE/rand/1).
"""

import dataclasses
import numbers

import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, losses, method
from qup.core import errors, norms, prng


def build_mutants(
    population: tf.Tensor, members: tf.Tensor, weight: float | tf.Tensor, keys: tf.Tensor
) -> tf.Tensor:
    """Returns one mutant for each member.

    Args:
      population: float32 [batch, population, ...], at least four.
      members: int32 [batch, k].
      weight: F.
      keys: uint64 [batch].

    Returns:
      float32 [batch, k, ...].
    """
    partner_members = sample_partners(keys, members, population.shape[1])
    first, second, third = (
        gather_members(population, partner) for partner in tf.unstack(partner_members, axis=-1)
    )
    # v_i = x_r1 + F (x_r2 - x_r3)
    return first + weight * (second - third)


def sample_partners(keys: tf.Tensor, members: tf.Tensor, size: int) -> tf.Tensor:
    """Draws three for each member: different from it and from one another.

    Args:
      keys: uint64 [batch].
      members: int32 [batch, k].
      size: Of the population.

    Returns:
      int32 [batch, k, 3].
    """
    limits = tf.constant([size - 1, size - 2, size - 3])
    sampled = prng.integers(keys, (members.shape[1], 3), limits)
    excluded = members[..., None]
    for i in range(3):
        # The n-th of those that are not out: count past each that is.
        member = sampled[..., i]
        for excluded_member in tf.unstack(tf.sort(excluded), axis=-1):
            member += tf.cast(member >= excluded_member, tf.int32)
        excluded = tf.concat([excluded, member[..., None]], -1)
    return excluded[..., 1:]


def gather_members(population: tf.Tensor, members: tf.Tensor) -> tf.Tensor:
    """Returns the members: [batch, k, ...]."""
    return tf.gather(population, members, batch_dims=1)


def scatter_members(population: tf.Tensor, members: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns the population with `values` [batch, k, ...] for members."""
    batch, count = members.shape
    rows = tf.broadcast_to(tf.range(batch)[:, None], (batch, count))
    indices = tf.stack([rows, members], -1)
    return tf.tensor_scatter_nd_update(population, indices, values)


# The one-pixel attack: differential evolution over places and colours.
#
# Not an attack of the paper: the nearest adversarial image in L0, found by
# queries alone.
#
# ```python
# attacked = attacks.get("one_pixel")(classifier, images, labels)
# ```


# Candidates asked about at once: all 400 for each image of a batch may not
# fit into memory.
_CANDIDATES_PER_QUERY = 25


@attacks.register("one_pixel", kind="minimum_norm", norms=("l0",), gradients=False)
@dataclasses.dataclass(frozen=True, kw_only=True)
class OnePixel(method.Method):
    """Breeds candidates (place, colour) until one is adversarial.

    A pixel is one element of images of rank 1 or 2, and all channels (the
    last axis) of a place above that; L0 counts channels. Without bounds,
    colours lie between the image's own lowest and highest.

    Attributes:
      num_pixels: Number of pixels that a candidate changes.
      population: Number of candidates, at least 4.
      num_steps: Generations bred from the random first one.
      mutation: Weight of the difference of two candidates, F in the paper.
      targeted: The labels are targets.

    Reference: Su, Vargas, Sakurai 2017, arXiv 1710.08864.
    """

    num_pixels: int = 1
    population: int = 400
    num_steps: method.Count = 75
    mutation: float = 0.5
    targeted: bool = False

    def check(self):
        """Raises an InputError for an option out of its range."""
        for name, least in (("num_pixels", 1), ("population", 4)):
            value = getattr(self, name)
            errors.check_number(name, value, at_least=least)
            if not isinstance(value, numbers.Integral):
                raise errors.InputError(f"{name} must be an integer; got {value!r}.")
        inputs.check_number("mutation", self.mutation, least=0)

    def init(self, classifier, examples):
        """Draws the first generation; asks about the image alone."""
        images, keys = examples.images, self.keys(examples)
        axis_lengths, channels = _get_layout(images)
        shape = (self.population, self.num_pixels)
        # Places are uniform, colours of 0, ..., 255 normal: N(128, 127).
        places = prng.uniform(prng.make_keys(1, keys), (*shape, len(axis_lengths)))
        colours = prng.normal(prng.make_keys(2, keys), (*shape, channels))
        colours = tf.clip_by_value((128 + 127 * colours) / 255, 0.0, 1.0)
        sampled = tf.concat([places, colours], -1)
        logits = classifier.logits(images)
        return {
            "images": images,
            "found": method.adversarial(logits, examples.labels, self.targeted),
            "turn": tf.zeros_like(examples.labels),
            "parents": sampled,
            "children": sampled,
            "fitness": tf.fill(sampled.shape[:2], float("-inf")),
        }

    def step(self, classifier, examples, state):
        """Asks about the candidates of one turn of a generation."""
        turn = state["turn"]
        members = self._select_members(turn)
        candidates = self._breed_candidates(examples, state, members)
        images = self._render_candidates(examples.images, candidates)
        is_adversarial, fitness = self._evaluate_candidates(classifier, examples, images)
        success = tf.reduce_any(is_adversarial, 1)
        fittest_index = tf.argmax(tf.where(is_adversarial, fitness, float("-inf")), 1)
        fittest_images = tf.gather(images, fittest_index, batch_dims=1)
        # A child that is as fit takes the place of its parent, in the next
        # generation.
        parent_fitness = gather_members(state["fitness"], members)
        candidates = tf.where(
            (fitness >= parent_fitness)[..., None, None],
            candidates,
            gather_members(state["children"], members),
        )
        children = scatter_members(state["children"], members, candidates)
        is_last_turn = norms.expand_like((turn + 1) % self._num_turns == 0, children)
        return {
            "images": tf.where(
                norms.expand_like(success, fittest_images), fittest_images, state["images"]
            ),
            "found": success,
            "turn": turn + 1,
            "parents": tf.where(is_last_turn, children, state["parents"]),
            "children": children,
            "fitness": scatter_members(
                state["fitness"], members, tf.maximum(fitness, parent_fitness)
            ),
        }

    def done(self, examples, state):
        """Once adversarial, or after the last generation."""
        max_turns = (self.num_steps + 1) * self._num_turns
        return state["found"] | (state["turn"] >= max_turns)

    @property
    def _num_turns(self) -> int:
        """Turns in which all of a generation are asked about."""
        return -(-self.population // _CANDIDATES_PER_QUERY)

    def _select_members(self, turn):
        """Returns who is asked about in a turn: int32 [batch, k]."""
        num_members = -(-self.population // self._num_turns)
        # The last turn repeats members where the others leave too few.
        first_member = tf.minimum(
            turn % self._num_turns * num_members, self.population - num_members
        )
        return first_member[:, None] + tf.range(num_members)[None]

    def _breed_candidates(self, examples, state, members):
        """Returns the members of the first generation, mutants after it."""
        parents, turn = state["parents"], state["turn"]
        keys = self.keys(examples, turn)
        mutants = build_mutants(parents, members, self.mutation, prng.make_keys(1, keys))
        num_axes = len(_get_layout(examples.images)[0])
        places, colours = mutants[..., :num_axes], mutants[..., num_axes:]
        # Places outside the image are drawn anew: clipped they would pile up
        # at its border.
        is_outside = (places < 0) | (places >= 1)
        redrawn = prng.uniform(prng.make_keys(2, keys), places.shape[1:])
        places = tf.where(is_outside, redrawn, places)
        mutants = tf.concat([places, tf.clip_by_value(colours, 0.0, 1.0)], -1)
        is_first_generation = norms.expand_like(turn < self._num_turns, mutants)
        return tf.where(is_first_generation, gather_members(parents, members), mutants)

    def _render_candidates(self, images, candidates):
        """Returns the images of candidates: float32 [batch, k, ...]."""
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
                # Shares are below 1, so no index reaches the length.
                index = tf.cast(pixel[..., i] * length, tf.int32)
                pixel_index = pixel_index * length + index
            colour = low + (high - low) * pixel[..., len(axis_lengths) :]
            colour = method.clip(colour, self.bounds)[:, :, None]
            is_pixel = pixel_indices == pixel_index[..., None]
            flat_images = tf.where(is_pixel[..., None], colour, flat_images)
        return tf.reshape(flat_images, (*candidates.shape[:2], *images.shape[1:]))

    def _evaluate_candidates(self, classifier, examples, images):
        """Returns which candidates are adversarial, and their fitness.

        The fitness rises as the paper's falls, the probability of the true
        class, and does not saturate.
        """
        num_candidates = images.shape[1]
        labels = tf.repeat(examples.labels, num_candidates)
        logits = classifier.logits(tf.reshape(images, (-1, *images.shape[2:])))
        is_adversarial = method.adversarial(logits, labels, self.targeted)
        fitness = losses.build_objective("log_odds", labels, self.targeted)(logits)
        return tf.reshape(is_adversarial, (-1, num_candidates)), tf.reshape(
            fitness, (-1, num_candidates)
        )


def _get_layout(images: tf.Tensor) -> tuple[list[int], int]:
    """Returns the lengths of the axes of places, and the channels."""
    shape = images.shape[1:].as_list()
    return (shape, 1) if len(shape) < 3 else (shape[:-1], shape[-1])
