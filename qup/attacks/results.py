"""The result of an attack on many examples: success, distances, calls, images."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from qup.attacks.inputs import ExampleBatch, iterate_padded_rows
from qup.attacks.method import adversarial, has_no_nan
from qup.core import compilation, norms
from qup.core.types import LogitsFn

DISTANCE_NORMS = ("l0", "l1", "l2", "linf")
# What rounding may add to a perturbation that is projected to its budget.
_EPSILON_RTOL = 1e-5


class AttackEvaluation(NamedTuple):
    """The classification of attacked images, one value per example.

    Attributes:
      adversarial: bool [n], misclassified, or classified as the target.
      distances: float64 [n] per norm, from the clean images. "l0" counts elements (height x width
        x channels), not pixels.
    """

    adversarial: np.ndarray
    distances: dict[str, np.ndarray]

    def succeeds_within(self, norm: str, epsilon: np.ndarray) -> np.ndarray:
        """Returns bool [n]: adversarial and inside the budget; NaN means no budget."""
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
    """Classifies attacked images and measures their distances.

    Args:
      logits_fn: The classifier.
      clean: float32 [n, ...].
      perturbed: float32 [n, ...].
      labels: int32 [n], true classes or targets.
      targeted: See `adversarial`.
      batch_size: Rows per batch; the last batch is padded.
    """
    evaluate = compilation.get_program(
        logits_fn, ("evaluation", targeted), lambda call: _build_evaluation(call, targeted)
    )
    success_batches, distance_batches, num_nan = [], [], 0
    for rows, num_real in iterate_padded_rows(len(labels), batch_size):
        success, not_nan, distances = evaluate(clean[rows], perturbed[rows], labels[rows])
        num_nan += int(np.sum(~not_nan.numpy()[:num_real]))
        success_batches.append(success.numpy()[:num_real])
        distance_batches.append(distances.numpy()[:, :num_real])
    if not success_batches:
        empty = np.zeros(0)
        return AttackEvaluation(empty.astype(bool), dict.fromkeys(DISTANCE_NORMS, empty))
    if num_nan:
        logging.warning(
            "The classifier returns NaN for %d attacked images. They count as failed attacks, so "
            "the robust accuracy is too high.",
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
    """The result of an attack, one value per example, in the order of the input.

    Attributes:
      images: float32 [n, ...]; the clean image if the attack failed. An array, or a
        `ShardedImages` view of files if an output folder was named.
      success: bool [n], misclassified (or classified as the target) inside the budget, according
        to the classifier in float32.
      distances: float64 [n] per norm of `images` from the clean images ("l0" counts elements).
      forward_calls: float64 [n], number of forward passes; NaN if the attack does not count them.
      gradient_calls: float64 [n], number of forward and backward passes.
      stage: int32 [n], index into `stages` of the stage that succeeded; -1 for none.
      stages: The names of the attack's stages in order.
      epsilon: float32 [n], the budget; NaN if there is none.
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
        """Percentage of examples for which the attack failed."""
        return 100.0 * float(np.mean(~self.success)) if len(self) else 0.0

    def after_stages(self) -> dict[str, float]:
        """Returns the robust accuracy in percent after the last stage of each name."""
        last_index = {name: i for i, name in enumerate(self.stages)}
        success_stage = np.where(self.success, self.stage, len(self.stages))
        return {
            name: 100.0 * float(np.mean(success_stage > i)) if len(self) else 0.0
            for name, i in last_index.items()
        }

    def columns(self) -> dict[str, np.ndarray]:
        """Returns all values except the images by name, for a file."""
        fields = ("success", "forward_calls", "gradient_calls", "stage", "epsilon")
        return {name: getattr(self, name) for name in fields} | self.distances


def concatenate_results(results: Sequence[AttackResult], images: Sequence) -> AttackResult:
    """Returns the results of consecutive examples as one.

    Args:
      results: At least one result.
      images: The images of all results.
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


def select_results(mask: np.ndarray, first: AttackResult, second: AttackResult) -> AttackResult:
    """Takes the rows of `first` where `mask` is true, else those of `second`."""

    def select(first_values, second_values):
        shape = [-1] + [1] * (np.ndim(first_values) - 1)
        return np.where(mask.reshape(shape), first_values, second_values)

    fields = ("images", "success", "stage", "forward_calls", "gradient_calls", "epsilon")
    return dataclasses.replace(
        second,
        distances={
            norm: select(first.distances[norm], second.distances[norm]) for norm in DISTANCE_NORMS
        },
        **{field: select(getattr(first, field), getattr(second, field)) for field in fields},
    )


def restrict_to_budgets(result: AttackResult, examples: ExampleBatch, norm: str) -> AttackResult:
    """Counts the images outside the budgets of `examples` as failures."""
    evaluation = AttackEvaluation(result.success, result.distances)
    success = evaluation.succeeds_within(norm, examples.epsilon)
    shape = [-1] + [1] * (examples.images.ndim - 1)
    return dataclasses.replace(
        result,
        images=np.where(success.reshape(shape), result.images, examples.images),
        success=success,
        distances={key: np.where(success, d, 0.0) for key, d in result.distances.items()},
        stage=np.where(success, result.stage, -1).astype(np.int32),
        epsilon=examples.epsilon,
    )


class ShardedImages(Sequence):
    """Images in several .npy files, indexed like one array without loading it."""

    def __init__(self, paths: Sequence):
        """Opens the files.

        Args:
          paths: .npy files of float32 [n_i, ...] in order.
        """
        self._arrays = [np.load(path, mmap_mode="r") for path in paths]
        self._stops = np.cumsum([len(array) for array in self._arrays])
        self.shape = (len(self), *self._arrays[0].shape[1:])
        self.dtype = self._arrays[0].dtype

    def __len__(self) -> int:
        """Number of images."""
        return int(self._stops[-1])

    def __getitem__(self, index):
        """Returns one image, or an array for a slice, an index array or a mask."""
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
