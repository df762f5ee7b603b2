"""What APGD remembers of an example's climb, and when it halves the step.

Reference: Croce and Hein 2020, arXiv 2003.01690, Sec. 3.
"""

import tensorflow as tf

from qup import norms
from qup.attacks.base import State
from qup.attacks.base.program import merged

_VALUES = ("size", "best_loss", "loss", "checked_loss")
_COUNTS = ("step", "since", "interval", "rises", "stage")


def nothing(images: tf.Tensor, labels: tf.Tensor) -> State:
    """Returns the state of examples that have not begun."""
    zero = tf.zeros_like(labels)
    return (
        dict.fromkeys(_VALUES, tf.cast(zero, tf.float32))
        | dict.fromkeys(_COUNTS, zero)
        | dict.fromkeys(("previous", "best", "best_slope"), images)
        | dict.fromkeys(("hit", "over", "halved"), zero > 0)
    )


def first(radius: tf.Tensor, moves: tf.Tensor) -> State:
    """Returns the first step, 2 epsilon, and the first interval, 0.22 N."""
    interval = tf.maximum(22 * moves // 100, 1)
    return {"size": 2.0 * radius, "interval": interval}


def noted(state: State, first: State, loss, slope) -> State:
    """Counts the point that the rows are at, and keeps the best.

    Args:
      state: Where "step" is 0, the row is at its first point.
      first: What is so at a first point: at least "size" and "interval".
      loss: float32 [batch], at the point.
      slope: float32 [batch, ...], at the point.
    """
    fresh = state["step"] == 0
    zero = tf.zeros_like(state["step"])
    start = {
        "loss": loss,
        "checked_loss": loss,
        "halved": tf.ones_like(fresh),
        "rises": zero,
        "since": zero - 1,
    }
    state = state | merged(fresh, start | first, state)
    better = fresh | (loss > state["best_loss"])
    rows = norms.rows(better, slope)
    return state | {
        "best": tf.where(rows, state["images"], state["best"]),
        "best_slope": tf.where(rows, slope, state["best_slope"]),
        "best_loss": tf.where(better, loss, state["best_loss"]),
        "rises": state["rises"] + tf.cast(loss > state["loss"], tf.int32),
        "since": state["since"] + 1,
    }


def halved(state: State, rho, num_steps) -> tuple[State, tf.Tensor]:
    """Returns the state after a checkpoint, and who goes back to the best.

    Args:
      state: With the best point up to now.
      rho: Halve the step unless more than this share of steps rose.
      num_steps: int32, N.
    """
    interval = tf.cast(state["interval"], tf.float32)
    # 1. sum_i [f(x_i+1) > f(x_i)] <= rho (w_j - w_j-1)
    few = tf.cast(state["rises"], tf.float32) <= rho * interval
    # 2. eta_j-1 = eta_j and f_max_j-1 = f_max_j
    still = state["best_loss"] <= state["checked_loss"]
    back = few | (still & ~state["halved"])
    # w_j+1 - w_j = max(w_j - w_j-1 - 0.03 N, 0.06 N)
    shorter = state["interval"] - tf.maximum(3 * num_steps // 100, 1)
    shortest = tf.maximum(6 * num_steps // 100, 1)
    after = {
        "size": tf.where(back, state["size"] / 2, state["size"]),
        "halved": back,
        "checked_loss": state["best_loss"],
        "interval": tf.maximum(shorter, shortest),
    }
    return after, back


def passed(state: State, after: State, back: tf.Tensor):
    """Returns the state and who goes back, where a checkpoint is due."""
    due = state["since"] == state["interval"]
    zero = tf.zeros_like(state["since"])
    after = after | {"since": zero, "rises": zero}
    return state | merged(due, after, state), due & back
