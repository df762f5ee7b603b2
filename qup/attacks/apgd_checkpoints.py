"""What APGD remembers of an example's climb, and when it halves the step.

Reference: Croce and Hein 2020, arXiv 2003.01690, Sec. 3.
"""

import tensorflow as tf

from qup import norms
from qup.attacks.base import State
from qup.attacks.base.program import select_rows

_FLOAT_STATE = ("size", "best_loss", "loss", "checked_loss")
_COUNT_STATE = ("step", "since", "interval", "rises", "stage")


def init_state(images: tf.Tensor, labels: tf.Tensor) -> State:
    """Returns the state of examples that have not begun."""
    zeros = tf.zeros_like(labels)
    return (
        dict.fromkeys(_FLOAT_STATE, tf.cast(zeros, tf.float32))
        | dict.fromkeys(_COUNT_STATE, zeros)
        | dict.fromkeys(("previous", "best", "best_slope"), images)
        | dict.fromkeys(("hit", "over", "halved"), zeros > 0)
    )


def get_initial_step(radius: tf.Tensor, num_steps: tf.Tensor) -> State:
    """Returns the first step, 2 epsilon, and the first interval, 0.22 N."""
    interval = tf.maximum(22 * num_steps // 100, 1)
    return {"size": 2.0 * radius, "interval": interval}


def record_point(state: State, initial: State, loss, gradient) -> State:
    """Counts the point that the rows are at, and keeps the best.

    Args:
      state: Where "step" is 0, the row is at its first point.
      initial: What is so at a first point: at least "size" and "interval".
      loss: float32 [batch], at the point.
      gradient: float32 [batch, ...], at the point.
    """
    at_first_point = state["step"] == 0
    zeros = tf.zeros_like(state["step"])
    start = {
        "loss": loss,
        "checked_loss": loss,
        "halved": tf.ones_like(at_first_point),
        "rises": zeros,
        "since": zeros - 1,
    }
    state = state | select_rows(at_first_point, start | initial, state)
    better = at_first_point | (loss > state["best_loss"])
    better_rows = norms.expand_like(better, gradient)
    return state | {
        "best": tf.where(better_rows, state["images"], state["best"]),
        "best_slope": tf.where(better_rows, gradient, state["best_slope"]),
        "best_loss": tf.where(better, loss, state["best_loss"]),
        "rises": state["rises"] + tf.cast(loss > state["loss"], tf.int32),
        "since": state["since"] + 1,
    }


def halve_step_size(state: State, rho, num_steps) -> tuple[State, tf.Tensor]:
    """Returns the state after a checkpoint, and who goes back to the best.

    Args:
      state: With the best point up to now.
      rho: Halve the step unless more than this share of steps rose.
      num_steps: int32, N.
    """
    interval = tf.cast(state["interval"], tf.float32)
    # 1. sum_i [f(x_i+1) > f(x_i)] <= rho (w_j - w_j-1)
    few_rises = tf.cast(state["rises"], tf.float32) <= rho * interval
    # 2. eta_j-1 = eta_j and f_max_j-1 = f_max_j
    no_progress = state["best_loss"] <= state["checked_loss"]
    returns_to_best = few_rises | (no_progress & ~state["halved"])
    # w_j+1 - w_j = max(w_j - w_j-1 - 0.03 N, 0.06 N)
    shorter = state["interval"] - tf.maximum(3 * num_steps // 100, 1)
    shortest = tf.maximum(6 * num_steps // 100, 1)
    updates = {
        "size": tf.where(returns_to_best, state["size"] / 2, state["size"]),
        "halved": returns_to_best,
        "checked_loss": state["best_loss"],
        "interval": tf.maximum(shorter, shortest),
    }
    return updates, returns_to_best


def apply_checkpoint(state: State, updates: State, returns_to_best: tf.Tensor):
    """Returns the state and who goes back, where a checkpoint is due."""
    is_due = state["since"] == state["interval"]
    zeros = tf.zeros_like(state["since"])
    updates = updates | {"since": zeros, "rises": zeros}
    return state | select_rows(is_due, updates, state), is_due & returns_to_best
