"""Whether an attack succeeded, and how far it went."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from qup import compilation, norms
from qup.attacks.base.victim import adversarial, told
from qup.types import LogitsFn

DISTANCES = ("l0", "l1", "l2", "linf")
# What rounding may add to a perturbation that was projected to its budget.
_SLACK = 1e-5


class Verdict(NamedTuple):
    """What the classifier says of attacked images, one value an example.

    Attributes:
      adversarial: bool [n], misclassified, or classified as the target.
      distances: float64 [n] by norm, from the clean images; "l0" counts
        elements (height x width x channels), not pixels.
    """

    adversarial: np.ndarray
    distances: dict[str, np.ndarray]

    def within(self, norm: str, epsilon: np.ndarray) -> np.ndarray:
        """Marks who is adversarial inside its budget; NaN means no budget."""
        least = np.isnan(epsilon)
        near = self.distances[norm] <= epsilon * (1 + _SLACK) + 1e-7
        return self.adversarial & (least | near)


def judge(
    logits_fn: LogitsFn,
    clean: np.ndarray,
    attacked: np.ndarray,
    labels: np.ndarray,
    *,
    targeted: bool,
    batch_size: int,
) -> Verdict:
    """Classifies attacked images and measures how far they are.

    Args:
      logits_fn: The classifier that counts.
      clean: float32 [n, ...].
      attacked: float32 [n, ...].
      labels: int32 [n], true classes or targets.
      targeted: See `adversarial`.
      batch_size: Rows a batch; the last is padded.

    Returns:
      A `Verdict`.
    """
    run = compilation.program(
        logits_fn, ("verdict", targeted), lambda call: _build(call, targeted)
    )
    found, lengths, silent = [], [], 0
    for start in range(0, len(labels), batch_size):
        rows = np.arange(start, start + batch_size)
        rows = np.minimum(rows, len(labels) - 1)
        real = min(batch_size, len(labels) - start)
        hit, answered, far = run(clean[rows], attacked[rows], labels[rows])
        silent += int(np.sum(~answered.numpy()[:real]))
        found.append(hit.numpy()[:real])
        lengths.append(far.numpy()[:, :real])
    if not found:
        empty = np.zeros(0)
        return Verdict(empty.astype(bool), dict.fromkeys(DISTANCES, empty))
    if silent:
        logging.warning(
            "The classifier answers NaN to %d attacked images: they count as "
            "not broken, and the robust accuracy as too high.", silent,
        )  # fmt: skip
    far = np.concatenate(lengths, 1).astype(np.float64)
    return Verdict(
        np.concatenate(found), dict(zip(DISTANCES, far, strict=True))
    )


def _build(call: LogitsFn, targeted: bool):
    @tf.function(autograph=False)
    def run(clean, attacked, labels):
        delta = attacked - clean
        far = [norms.length(delta, norm) for norm in DISTANCES]
        logits = call(attacked)
        hit = adversarial(logits, labels, targeted)
        return hit, told(logits), tf.stack(far)

    return run
