"""What an attack on many examples found."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from qup.attacks.base.verdict import DISTANCE_NORMS


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
