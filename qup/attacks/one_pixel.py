"""The one-pixel attack: differential evolution over places and colours.

Not an attack of the paper: the nearest adversarial image in L0, found by
queries alone.

```python
attacked = attacks.get("one_pixel")(classifier, images, labels)
```
"""

import dataclasses
import numbers

import tensorflow as tf

from qup import attacks, draws, errors, norms
from qup.attacks import base, differential_evolution, losses
from qup.attacks.differential_evolution import placed, taken

# Candidates asked about at once: all 400 for each image of a batch may not
# fit into memory.
_TOGETHER = 25


@attacks.register(
    "one_pixel", kind="minimum_norm", norms=("l0",), gradients=False
)
@dataclasses.dataclass(frozen=True, kw_only=True)
class OnePixel(base.Method):
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
    num_steps: base.Count = 75
    mutation: float = 0.5
    targeted: bool = False

    def check(self):
        """Raises an InputError for an option out of its range."""
        for name, least in (("num_pixels", 1), ("population", 4)):
            value = getattr(self, name)
            errors.check_number(name, value, least=least)
            if not isinstance(value, numbers.Integral):
                raise errors.InputError(
                    f"{name} must be an integer; got {value!r}."
                )
        base.check_number("mutation", self.mutation, least=0)

    def init(self, victim, examples):
        """Draws the first generation; asks about the image alone."""
        images, keys = examples.images, self.keys(examples)
        axes, channels = _layout(images)
        shape = (self.population, self.num_pixels)
        # Places are uniform, colours of 0, ..., 255 normal: N(128, 127).
        places = draws.uniform(draws.keys(1, keys), (*shape, len(axes)))
        colours = draws.normal(draws.keys(2, keys), (*shape, channels))
        colours = tf.clip_by_value((128 + 127 * colours) / 255, 0.0, 1.0)
        drawn = tf.concat([places, colours], -1)
        logits = victim.logits(images)
        return {
            "images": images,
            "found": base.adversarial(logits, examples.labels, self.targeted),
            "turn": tf.zeros_like(examples.labels),
            "parents": drawn,
            "children": drawn,
            "fitness": tf.fill(drawn.shape[:2], float("-inf")),
        }

    def step(self, victim, examples, state):
        """Asks about the candidates of one turn of a generation."""
        turn = state["turn"]
        members = self._members(turn)
        candidates = self._bred(examples, state, members)
        images = self._coloured(examples.images, candidates)
        hit, fitness = self._judged(victim, examples, images)
        found = tf.reduce_any(hit, 1)
        fittest = tf.argmax(tf.where(hit, fitness, float("-inf")), 1)
        chosen = tf.gather(images, fittest, batch_dims=1)
        # A child that is as fit takes the place of its parent, in the next
        # generation.
        old = taken(state["fitness"], members)
        candidates = tf.where(
            (fitness >= old)[..., None, None],
            candidates,
            taken(state["children"], members),
        )
        children = placed(state["children"], members, candidates)
        last = norms.rows((turn + 1) % self._turns == 0, children)
        return {
            "images": tf.where(
                norms.rows(found, chosen), chosen, state["images"]
            ),
            "found": found,
            "turn": turn + 1,
            "parents": tf.where(last, children, state["parents"]),
            "children": children,
            "fitness": placed(
                state["fitness"], members, tf.maximum(fitness, old)
            ),
        }

    def done(self, examples, state):
        """Once adversarial, or after the last generation."""
        limit = (self.num_steps + 1) * self._turns
        return state["found"] | (state["turn"] >= limit)

    @property
    def _turns(self) -> int:
        """Turns in which all of a generation are asked about."""
        return -(-self.population // _TOGETHER)

    def _members(self, turn):
        """Returns who is asked about in a turn: int32 [batch, k]."""
        count = -(-self.population // self._turns)
        # The last turn repeats members where the others leave too few.
        first = tf.minimum(turn % self._turns * count, self.population - count)
        return first[:, None] + tf.range(count)[None]

    def _bred(self, examples, state, members):
        """Returns the members of the first generation, mutants after it."""
        parents, turn = state["parents"], state["turn"]
        keys = self.keys(examples, turn)
        mutants = differential_evolution.mutants(
            parents, members, self.mutation, draws.keys(1, keys)
        )
        axes = len(_layout(examples.images)[0])
        places, colours = mutants[..., :axes], mutants[..., axes:]
        # Places outside the image are drawn anew: clipped they would pile up
        # at its border.
        outside = (places < 0) | (places >= 1)
        anew = draws.uniform(draws.keys(2, keys), places.shape[1:])
        places = tf.where(outside, anew, places)
        mutants = tf.concat([places, tf.clip_by_value(colours, 0.0, 1.0)], -1)
        first = norms.rows(turn < self._turns, mutants)
        return tf.where(first, taken(parents, members), mutants)

    def _coloured(self, images, candidates):
        """Returns the images of candidates: float32 [batch, k, ...]."""
        axes, channels = _layout(images)
        flat = tf.reshape(images, (images.shape[0], 1, -1, channels))
        low, high = self.bounds or (
            tf.reduce_min(flat, (1, 2, 3))[:, None, None],
            tf.reduce_max(flat, (1, 2, 3))[:, None, None],
        )
        places = tf.range(flat.shape[2])
        for pixel in tf.unstack(candidates, axis=2):
            place = 0
            for i, length in enumerate(axes):
                # Shares are below 1, so no index reaches the length.
                index = tf.cast(pixel[..., i] * length, tf.int32)
                place = place * length + index
            colour = low + (high - low) * pixel[..., len(axes) :]
            colour = base.clip(colour, self.bounds)[:, :, None]
            here = places == place[..., None]
            flat = tf.where(here[..., None], colour, flat)
        return tf.reshape(flat, (*candidates.shape[:2], *images.shape[1:]))

    def _judged(self, victim, examples, images):
        """Returns which candidates are adversarial, and their fitness.

        The fitness rises as the paper's falls, the probability of the true
        class, and does not saturate.
        """
        count = images.shape[1]
        labels = tf.repeat(examples.labels, count)
        logits = victim.logits(tf.reshape(images, (-1, *images.shape[2:])))
        hit = base.adversarial(logits, labels, self.targeted)
        fitness = losses.ascent("log_odds", labels, self.targeted)(logits)
        return tf.reshape(hit, (-1, count)), tf.reshape(fitness, (-1, count))


def _layout(images: tf.Tensor) -> tuple[list[int], int]:
    """Returns the lengths of the axes of places, and the channels."""
    shape = images.shape[1:].as_list()
    return (shape, 1) if len(shape) < 3 else (shape[:-1], shape[-1])
