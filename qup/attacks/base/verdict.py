"""Whether an attack succeeded, and how far it went."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from qup import compilation, norms
from qup.attacks.base.victim import adversarial, has_no_nan
from qup.types import LogitsFn

DISTANCE_NORMS = ("l0", "l1", "l2", "linf")
# What rounding may add to a perturbation that was projected to its budget.
_EPSILON_RTOL = 1e-5


class AttackEvaluation(NamedTuple):
    """What the classifier says of attacked images, one value an example.

    Attributes:
      adversarial: bool [n], misclassified, or classified as the target.
      distances: float64 [n] by norm, from the clean images; "l0" counts
        elements (height x width x channels), not pixels.
    """

    adversarial: np.ndarray
    distances: dict[str, np.ndarray]

    def succeeds_within(self, norm: str, epsilon: np.ndarray) -> np.ndarray:
        """Marks who is adversarial inside its budget; NaN means no budget."""
        unlimited = np.isnan(epsilon)
        inside = self.distances[norm] <= epsilon * (1 + _EPSILON_RTOL) + 1e-7
        return self.adversarial & (unlimited | inside)


def evaluate_images(
    logits_fn: LogitsFn,
    clean: np.ndarray,
    perturbed: np.ndarray,
    labels: np.ndarray,
    *,
    targeted: bool,
    batch_size: int,
) -> AttackEvaluation:
    """Classifies attacked images and measures how far they are.

    Args:
      logits_fn: The classifier that counts.
      clean: float32 [n, ...].
      perturbed: float32 [n, ...].
      labels: int32 [n], true classes or targets.
      targeted: See `adversarial`.
      batch_size: Rows a batch; the last is padded.

    Returns:
      A `AttackEvaluation`.
    """
    evaluate = compilation.get_program(
        logits_fn, ("verdict", targeted), lambda call: _build_evaluation(call, targeted)
    )
    success_batches, distance_batches, num_nan = [], [], 0
    for start in range(0, len(labels), batch_size):
        rows = np.arange(start, start + batch_size)
        rows = np.minimum(rows, len(labels) - 1)
        num_real = min(batch_size, len(labels) - start)
        success, not_nan, distances = evaluate(clean[rows], perturbed[rows], labels[rows])
        num_nan += int(np.sum(~not_nan.numpy()[:num_real]))
        success_batches.append(success.numpy()[:num_real])
        distance_batches.append(distances.numpy()[:, :num_real])
    if not success_batches:
        empty = np.zeros(0)
        return AttackEvaluation(empty.astype(bool), dict.fromkeys(DISTANCE_NORMS, empty))
    if num_nan:
        logging.warning(
            "The classifier answers NaN to %d attacked images: they count as "
            "not broken, and the robust accuracy as too high.",
            num_nan,
        )
    distances = np.concatenate(distance_batches, 1).astype(np.float64)
    return AttackEvaluation(
        np.concatenate(success_batches), dict(zip(DISTANCE_NORMS, distances, strict=True))
    )


def _build_evaluation(call: LogitsFn, targeted: bool):
    @tf.function(autograph=False)
    def run(clean, perturbed, labels):
        delta = perturbed - clean
        distances = [norms.compute_norm(delta, norm) for norm in DISTANCE_NORMS]
        logits = call(perturbed)
        success = adversarial(logits, labels, targeted)
        return success, has_no_nan(logits), tf.stack(distances)

    return run
