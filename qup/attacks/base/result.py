"""What an attack on many examples found."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from qup.attacks.base.verdict import DISTANCES


@dataclasses.dataclass(frozen=True)
class AttackResult:
    """What an attack found, one value an example, in the order given.

    Attributes:
      images: float32 [n, ...]; the clean image where the attack failed. An
        array, or a `Shards` view of files where an output folder was named.
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
        last = {name: i for i, name in enumerate(self.stages)}
        broken = np.where(self.success, self.stage, len(self.stages))
        return {
            name: 100.0 * float(np.mean(broken > i)) if len(self) else 0.0
            for name, i in last.items()
        }

    def columns(self) -> dict[str, np.ndarray]:
        """Returns every value but the images by name, for a file."""
        fields = ("success", "forward_calls", "gradient_calls", "stage",
                  "epsilon")  # fmt: skip
        return {name: getattr(self, name) for name in fields} | self.distances


def joined(parts: Sequence[AttackResult], images: Sequence) -> AttackResult:
    """Returns the results of consecutive examples as one.

    Args:
      parts: At least one.
      images: The images of all.
    """
    columns = [part.columns() for part in parts]
    whole = {
        key: np.concatenate([own[key] for own in columns]) for key in columns[0]
    }
    return AttackResult(
        images=images,
        distances={norm: whole.pop(norm) for norm in DISTANCES},
        stages=parts[0].stages,
        **whole,
    )


def nearest(found: list[AttackResult], norm: str) -> AttackResult:
    """Takes each example's nearest success; adds the calls of all."""
    far = np.stack([np.where(r.success, r.distances[norm], np.inf)
                    for r in found])  # fmt: skip
    best, rows = far.argmin(0), np.arange(far.shape[1])

    def pick(columns):
        return np.stack(columns)[best, rows]

    return dataclasses.replace(
        found[0],
        images=pick([r.images for r in found]),
        success=pick([r.success for r in found]),
        distances={
            key: pick([r.distances[key] for r in found])
            for key in found[0].distances
        },
        stage=pick([r.stage for r in found]),
        forward_calls=sum(r.forward_calls for r in found),
        gradient_calls=sum(r.gradient_calls for r in found),
    )


class Shards(Sequence):
    """Images in several .npy files, read as one array without loading it."""

    def __init__(self, paths: Sequence):
        """Opens the files.

        Args:
          paths: .npy files of float32 [n_i, ...] in their order.
        """
        self._parts = [np.load(path, mmap_mode="r") for path in paths]
        self._ends = np.cumsum([len(part) for part in self._parts])
        self.shape = (len(self), *self._parts[0].shape[1:])
        self.dtype = self._parts[0].dtype

    def __len__(self) -> int:
        """Number of images."""
        return int(self._ends[-1])

    def __getitem__(self, index):
        """Returns one image, or an array of those of a slice or an index."""
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        index = np.asarray(index)
        if index.dtype == bool:
            index = np.flatnonzero(index)
        if index.ndim == 0:
            return self._row(int(index))
        rows = [self._row(int(i)) for i in index]
        return np.stack(rows) if rows else np.empty((0, *self.shape[1:]))

    def _row(self, index: int) -> np.ndarray:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{index} of {len(self)} images")
        index %= len(self)
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self._parts[part][index - self._ends[part]]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """Returns all images in memory."""
        return np.concatenate(self._parts).astype(dtype or self.dtype)
