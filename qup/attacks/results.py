"""What an attack on many examples found."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from qup.attacks.method import adversarial, has_no_nan
from qup.core import compilation, norms
from qup.core.types import LogitsFn

# Whether an attack succeeded, and how far it went.


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


@dataclasses.dataclass(frozen=True)
class AttackResult:
    """What an attack found, one value an example, in the order given.

    Attributes:
      images: float32 [n, ...]; the clean image where the attack failed. An
        array, or a `ShardedImages` view of files where an output folder was named.
      success: bool [n], misclassified (or classified as the target) inside
        the budget, by the classifier in float32.
      distances: float64 [n] by norm ("l0" counts elements): of `images`.
      forward_calls: float64 [n], how often the classifier was run forward;
        NaN where an attack does not tell.
      gradient_calls: float64 [n], forward and backward passes.
      stage: int32 [n], which of `stages` broke the example, -1 for none.
      stages: Names of the attack's parts in their order.
      epsilon: float32 [n], the budget; NaN where there was none.
    """

    images: Sequence
    success: np.ndarray
    distances: dict[str, np.ndarray]
    forward_calls: np.ndarray
    gradient_calls: np.ndarray
    stage: np.ndarray
    stages: tuple[str, ...]
    epsilon: np.ndarray

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.success)

    @property
    def robust_accuracy(self) -> float:
        """Share of examples that withstood, in percent."""
        return 100.0 * float(np.mean(~self.success)) if len(self) else 0.0

    def after_stages(self) -> dict[str, float]:
        """Returns the robust accuracy in percent after each kind of stage."""
        last_index = {name: i for i, name in enumerate(self.stages)}
        success_stage = np.where(self.success, self.stage, len(self.stages))
        return {
            name: 100.0 * float(np.mean(success_stage > i)) if len(self) else 0.0
            for name, i in last_index.items()
        }

    def columns(self) -> dict[str, np.ndarray]:
        """Returns every value but the images by name, for a file."""
        fields = ("success", "forward_calls", "gradient_calls", "stage", "epsilon")
        return {name: getattr(self, name) for name in fields} | self.distances


def concatenate_results(results: Sequence[AttackResult], images: Sequence) -> AttackResult:
    """Returns the results of consecutive examples as one.

    Args:
      results: At least one.
      images: The images of all.
    """
    columns = [result.columns() for result in results]
    concatenated = {
        key: np.concatenate([shard_columns[key] for shard_columns in columns]) for key in columns[0]
    }
    return AttackResult(
        images=images,
        distances={norm: concatenated.pop(norm) for norm in DISTANCE_NORMS},
        stages=results[0].stages,
        **concatenated,
    )


def select_closest(results: list[AttackResult], norm: str) -> AttackResult:
    """Takes each example's nearest success; adds the calls of all."""
    distances = np.stack(
        [np.where(result.success, result.distances[norm], np.inf) for result in results]
    )
    closest, rows = distances.argmin(0), np.arange(distances.shape[1])

    def pick(columns):
        return np.stack(columns)[closest, rows]

    return dataclasses.replace(
        results[0],
        images=pick([result.images for result in results]),
        success=pick([result.success for result in results]),
        distances={
            key: pick([result.distances[key] for result in results]) for key in results[0].distances
        },
        stage=pick([result.stage for result in results]),
        forward_calls=sum(result.forward_calls for result in results),
        gradient_calls=sum(result.gradient_calls for result in results),
    )


class ShardedImages(Sequence):
    """Images in several .npy files, read as one array without loading it."""

    def __init__(self, paths: Sequence):
        """Opens the files.

        Args:
          paths: .npy files of float32 [n_i, ...] in their order.
        """
        self._arrays = [np.load(path, mmap_mode="r") for path in paths]
        self._stops = np.cumsum([len(array) for array in self._arrays])
        self.shape = (len(self), *self._arrays[0].shape[1:])
        self.dtype = self._arrays[0].dtype

    def __len__(self) -> int:
        """Number of images."""
        return int(self._stops[-1])

    def __getitem__(self, index):
        """Returns one image, or an array of those of a slice or an index."""
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        index = np.asarray(index)
        if index.dtype == bool:
            index = np.flatnonzero(index)
        if index.ndim == 0:
            return self._load_image(int(index))
        images = [self._load_image(int(i)) for i in index]
        return np.stack(images) if images else np.empty((0, *self.shape[1:]))

    def _load_image(self, index: int) -> np.ndarray:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{index} of {len(self)} images")
        index %= len(self)
        shard = int(np.searchsorted(self._stops, index, side="right"))
        return self._arrays[shard][index - self._stops[shard]]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """Returns all images in memory."""
        return np.concatenate(self._arrays).astype(dtype or self.dtype)
