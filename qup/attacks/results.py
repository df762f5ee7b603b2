"""The result of an attack on many examples: success, distances, calls, images.

```python
print(result)          # five lines, and the flags
result.to_dataframe()  # one row per image
result.plot("distances.png")
```
"""

import dataclasses
import importlib
import json
import math
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qup.attacks.inputs import ExampleBatch
from qup.attacks.reliability import Flag
from qup.attacks.verification import DISTANCE_NORMS, is_within_budget
from qup.core import extras, files
from qup.core.measurements import compute_proportion
from qup.core.numbers import format_epsilon

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# The attributes with one value per example, besides the images and the distances.
_COLUMNS = (
    "success",
    "forward_calls",
    "gradient_calls",
    "stage",
    "epsilon",
    "correct",
    "classes",
    "violations",
    "progress",
    "is_saturated",
)


# Norms in the text of a result.
_SHOWN_NORMS = {"l2": "L2", "linf": "L-inf", "l0": "L0"}


@dataclasses.dataclass(frozen=True, repr=False)
class AttackResult:
    """The result of an attack, one value per example, in the order of the input.

    Attributes:
      images: float32 [n, ...]; the clean image if the attack failed. An array, or a
        `ShardedImages` view of files if an output folder was named.
      success: bool [n], misclassified (or classified as the target) inside the budget, by the
        rules of `qup.attacks.verification`. Without targets, an image that is misclassified as it
        is counts as a success at distance 0.
      distances: float64 [n] per norm of `images` from the clean images ("l0" counts elements).
      forward_calls: float64 [n], number of forward passes; NaN if the attack does not count them.
      gradient_calls: float64 [n], number of forward and backward passes.
      stage: int32 [n], index into `stages` of the stage that succeeded; -1 for none, also if the
        clean image was misclassified.
      stages: The names of the attack's stages in order.
      epsilon: float32 [n], the budget; NaN if there is none.
      correct: bool [n], whether the clean image is classified as its label.
      classes: int32 [n], the predicted class of the clean image.
      violations: int8 [n], the rules that the attack's image breaks, as bits, see
        `qup.attacks.verification`; such an image counts as not attacked.
      progress: float32 [n], how far the attack moved the margin toward its goal, in logits; NaN for
        images that were not attacked or not changed.
      is_saturated: bool [n], whether the label's probability is 1 in float32 at the clean image.
      flags: Reasons to doubt the robust accuracy, see `qup.attacks.reliability`.
    """

    images: Any
    success: np.ndarray
    distances: dict[str, np.ndarray]
    forward_calls: np.ndarray
    gradient_calls: np.ndarray
    stage: np.ndarray
    stages: tuple[str, ...]
    epsilon: np.ndarray
    correct: np.ndarray
    classes: np.ndarray
    violations: np.ndarray
    progress: np.ndarray
    is_saturated: np.ndarray
    flags: tuple[Flag, ...] = ()

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.success)

    @property
    def robust_accuracy(self) -> float:
        """Percentage of examples for which the attack failed; read `flags` beside it."""
        return 100.0 * float(np.mean(~self.success)) if len(self) else 0.0

    @property
    def test_accuracy(self) -> float:
        """Percentage of examples whose clean image is classified as its label."""
        return 100.0 * float(np.mean(self.correct)) if len(self) else 0.0

    def after_stages(self) -> dict[str, float]:
        """Returns the robust accuracy in percent after the last stage of each name.

        It says nothing about a minimum-norm attack, whose `stage` is that of the closest image.
        """
        last_index = {name: i for i, name in enumerate(self.stages)}
        success_stage = np.where(self.success, self.stage, len(self.stages))
        return {
            name: 100.0 * float(np.mean(success_stage > i)) if len(self) else 0.0
            for name, i in last_index.items()
        }

    def __str__(self) -> str:
        """Five lines, and one per flag."""
        broken = self.success & self.correct
        budgets = np.unique(self.epsilon)
        budget = ""
        if len(budgets) == 1 and not np.isnan(budgets[0]):
            budget = f", epsilon {format_epsilon(float(budgets[0]))}"
        distances = ", ".join(
            f"{title} {_compute_median(self.distances[norm][broken]):.3g}"
            for norm, title in _SHOWN_NORMS.items()
        )
        calls = [compute_finite_mean(c) for c in (self.forward_calls, self.gradient_calls)]
        lines = [
            f"{', '.join(dict.fromkeys(self.stages))} on {len(self):,} images{budget}",
            f"  clean accuracy   {compute_proportion(self.correct)} %",
            f"  robust accuracy  {compute_proportion(~self.success)} %",
            f"  median distance  {distances} of {int(broken.sum()):,} broken images",
            f"  calls per image  {calls[0]:,.1f} forward, {calls[1]:,.1f} gradient",
        ]
        return "\n".join([*lines, *(f"  flagged: {flag.message}" for flag in self.flags)])

    __repr__ = __str__

    def to_records(self) -> list[dict[str, Any]]:
        """Returns one dictionary per image: all columns, and the distances by norm.

        The stage is its name, "" where no stage succeeded.
        """
        columns = self.columns()
        names = np.array([*self.stages, ""])
        columns["stage"] = names[self.stage]
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def to_dataframe(self) -> "pd.DataFrame":
        """Returns one row per image, see `to_records`."""
        with extras.explain_missing("to_dataframe()"):
            import pandas as pd
        return pd.DataFrame.from_records(self.to_records())

    def to_json(self) -> str:
        """Returns the accuracies, the flags and the records as JSON; NaN is null."""
        records = [
            {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in record.items()}
            for record in self.to_records()
        ]
        summary = {
            "stages": list(self.stages),
            "num_images": len(self),
            "clean_accuracy": dataclasses.asdict(compute_proportion(self.correct)),
            "robust_accuracy": dataclasses.asdict(compute_proportion(~self.success)),
            "flags": [flag._asdict() for flag in self.flags],
            "images": records,
        }
        return json.dumps(summary, indent=1)

    def plot(self, path: str | pathlib.Path | None = None, *, norm: str = "l2") -> "Figure":
        """Returns a figure: the share of images that withstand, over the distance in a norm.

        The attack was not told to keep the distance short unless it is a minimum-norm attack.

        Args:
          path: A file to write, .png, .svg or .pdf.
          norm: "l0", "l1", "l2" or "linf".

        Raises:
          InputError: The path cannot be written, or matplotlib is not installed.
        """
        # By its name: its style is no part of the code that identifies stored results.
        plotting = importlib.import_module("..core.plotting", __package__)
        broken = self.success & self.correct
        figure = plotting.plot_accuracy_over_distance(
            self.distances[norm][broken], int(self.correct.sum()), len(self), norm
        )
        if path is not None:
            path = pathlib.Path(path)
            files.write_bytes(path, plotting.render_figure(figure, path.suffix[1:] or "png"))
        return figure

    def columns(self) -> dict[str, np.ndarray]:
        """Returns all values except the images by name, for a file."""
        return {name: getattr(self, name) for name in _COLUMNS} | self.distances


def _compute_median(values: np.ndarray) -> float:
    return float(np.median(values)) if values.size else math.nan


def compute_finite_mean(values: np.ndarray) -> float:
    """Returns the mean of the finite values; NaN for none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan


def concatenate_results(results: Sequence[AttackResult], images: Any) -> AttackResult:
    """Returns the results of consecutive examples as one.

    Args:
      results: At least one result.
      images: The images of all results.
    """
    columns = [result.columns() for result in results]
    concatenated: dict[str, Any] = {
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

    columns: dict[str, Any] = {
        name: select(getattr(first, name), getattr(second, name)) for name in ("images", *_COLUMNS)
    }
    return dataclasses.replace(
        second,
        distances={
            norm: select(first.distances[norm], second.distances[norm]) for norm in DISTANCE_NORMS
        },
        **columns,
    )


def restrict_to_budgets(result: AttackResult, examples: ExampleBatch, norm: str) -> AttackResult:
    """Counts the images outside the budgets of `examples` as failures."""
    success = result.success & is_within_budget(result.distances[norm], examples.epsilon)
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
