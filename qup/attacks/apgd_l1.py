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
L1_LAST_STAGE = 2
# The step moves this share of the elements that the best perturbation has.
_L1_SHARE = 1 / 1.5
_L1_SHRINK = 1.5
# The shortest step is the first divided by this.
_L1_SIZE_RANGE = 10.0
# The perturbation has grown sparser if it has fewer than this many times
# the elements it had.
_L1_SPARSER = 0.95


def count_l1_steps(stage: tf.Tensor, num_steps: tf.Tensor) -> tf.Tensor:
    """Returns the number of steps of a stage, int32: 3, 3 and 4 tenths."""
    early_steps = num_steps * 3 // 10
    return tf.where(stage < L1_LAST_STAGE, early_steps, num_steps - 2 * early_steps)


def compute_l1_direction(gradient: tf.Tensor, sparsity: tf.Tensor) -> tf.Tensor:
    """Returns the signs of the steepest elements, of L1 length 1.

    Args:
      gradient: float32 [batch, ...].
      sparsity: float32 [batch], the share of the elements to move.

    Returns:
      float32 [batch, ...].
    """
    magnitudes = tf.reshape(tf.abs(gradient), (tf.shape(gradient)[0], -1))
    count = magnitudes.shape[1]
    index = tf.cast((1.0 - sparsity) * count, tf.int32)
    index = tf.clip_by_value(index, 0, count - 1)
    threshold = tf.gather(tf.sort(magnitudes, axis=1), index, batch_dims=1)
    is_chosen = tf.abs(gradient) >= norms.expand_like(threshold, gradient)
    signs = tf.where(is_chosen, tf.sign(gradient), 0.0)
    num_moving = norms.expand_like(norms.compute_norm(signs, "l1"), gradient)
    return signs / tf.maximum(num_moving, 1.0)


def compute_l1_sparsity(examples: Examples, images: tf.Tensor) -> State:
    """Returns what is remembered of how sparse a perturbation is."""
    support = norms.compute_norm(images - examples.images, "l0")
    share = _L1_SHARE / images[0].shape.num_elements()
    return {"support": support, "sparsity": support * share}


def get_initial_l1_step(examples: Examples, images: tf.Tensor, radius, num_steps) -> State:
    """Returns what a stage begins with that starts at `images`.

    Args:
      examples: The examples.
      images: float32 [batch, ...].
      radius: float32 [batch], of the stage's ball.
      num_steps: int32 [batch], the number of its steps.
    """
    interval = tf.maximum(4 * num_steps // 100, 1)
    return {"size": radius, "interval": interval} | compute_l1_sparsity(examples, images)


def update_l1_step_size(
    examples: Examples, state: State, initial_size: tf.Tensor
) -> tuple[State, tf.Tensor]:
    """Returns the state after a checkpoint, and who goes back to the best.

    Args:
      examples: The examples.
      state: With the best point up to now.
      initial_size: float32 [batch], the first step of the stage.
    """
    sparsity = compute_l1_sparsity(examples, state["best"])
    is_sparser = sparsity["support"] < _L1_SPARSER * state["support"]
    step_size = tf.maximum(state["size"] / _L1_SHRINK, initial_size / _L1_SIZE_RANGE)
    return sparsity | {"size": tf.where(is_sparser, initial_size, step_size)}, is_sparser
