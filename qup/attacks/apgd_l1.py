"""What is different about APGD in L1: sparse steps and a shrinking ball.

A step moves the steepest elements alone, evenly; how many follows from how
sparse the best perturbation is. The search starts in a ball of 3 epsilon,
goes on in one of 2 epsilon, and ends in that of epsilon.

Reference: Croce and Hein 2021, arXiv 2103.01208, Alg. 1 and Sec. 4.
"""

import tensorflow as tf

from qup import norms
from qup.attacks.base import Examples, State

# The last of the stages 0, 1, 2, whose balls are 3, 2 and 1 epsilon wide.
LAST_STAGE = 2
# The step moves this share of the elements that the best perturbation has.
_SHARE = 1 / 1.5
_SHRINK = 1.5
# The shortest step is the first divided by this.
_RANGE = 10.0
# The perturbation has grown sparser if it has fewer than this many times
# the elements it had.
_SPARSER = 0.95


def moves(stage: tf.Tensor, num_steps: tf.Tensor) -> tf.Tensor:
    """Returns the number of steps of a stage, int32: 3, 3 and 4 tenths."""
    early = num_steps * 3 // 10
    return tf.where(stage < LAST_STAGE, early, num_steps - 2 * early)


def direction(slope: tf.Tensor, sparsity: tf.Tensor) -> tf.Tensor:
    """Returns the signs of the steepest elements, of L1 length 1.

    Args:
      slope: float32 [batch, ...].
      sparsity: float32 [batch], the share of the elements to move.

    Returns:
      float32 [batch, ...].
    """
    size = tf.reshape(tf.abs(slope), (tf.shape(slope)[0], -1))
    count = size.shape[1]
    place = tf.cast((1.0 - sparsity) * count, tf.int32)
    place = tf.clip_by_value(place, 0, count - 1)
    least = tf.gather(tf.sort(size, axis=1), place, batch_dims=1)
    chosen = tf.abs(slope) >= norms.rows(least, slope)
    signs = tf.where(chosen, tf.sign(slope), 0.0)
    moving = norms.rows(norms.length(signs, "l1"), slope)
    return signs / tf.maximum(moving, 1.0)


def sparseness(examples: Examples, images: tf.Tensor) -> State:
    """Returns what is remembered of how sparse a perturbation is."""
    support = norms.length(images - examples.images, "l0")
    share = _SHARE / images[0].shape.num_elements()
    return {"support": support, "sparsity": support * share}


def first(examples: Examples, images: tf.Tensor, radius, moves) -> State:
    """Returns what a stage begins with that starts at `images`.

    Args:
      examples: The examples.
      images: float32 [batch, ...].
      radius: float32 [batch], of the stage's ball.
      moves: int32 [batch], the number of its steps.
    """
    interval = tf.maximum(4 * moves // 100, 1)
    return {"size": radius, "interval": interval} | sparseness(examples, images)


def sparser(
    examples: Examples, state: State, longest: tf.Tensor
) -> tuple[State, tf.Tensor]:
    """Returns the state after a checkpoint, and who goes back to the best.

    Args:
      examples: The examples.
      state: With the best point up to now.
      longest: float32 [batch], the first step of the stage.
    """
    now = sparseness(examples, state["best"])
    fewer = now["support"] < _SPARSER * state["support"]
    size = tf.maximum(state["size"] / _SHRINK, longest / _RANGE)
    return now | {"size": tf.where(fewer, longest, size)}, fewer
