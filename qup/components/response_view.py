"""The images over whose space response frequency is told, as points."""

from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from qup import compilation
from qup.datasets import Dataset
from qup.measures import response
from qup.types import Batch, LogitsFn


class ResponsePoints:
    """The images, and where they lie.

    Attributes:
      n: Number of images.
      distance: Their typical distance, the unit of widths.
    """

    def __init__(self, points: np.ndarray, targets: np.ndarray, class_shares: np.ndarray | float):
        """Takes images as points, and what is taken from all answers.

        Args:
          points: float [n, dimensions].
          targets: float [n, classes], one-hot labels.
          class_shares: float [classes], taken from targets and answers; or 0.
        """
        self._points, self._class_shares = points, class_shares
        self._targets = targets - class_shares
        self.n = len(points)
        self.distance = response.compute_typical_distance(points)
        self._projections = response.project_to_axis(points)

    @classmethod
    def from_dataset(
        cls, data: Dataset, split: str, num_images: int, centred: bool
    ) -> "ResponsePoints":
        """Takes the first images of a split as points."""
        images, labels, _ = data.get_arrays(split)
        images, labels = images[:num_images], labels[:num_images]
        points = images.reshape(len(images), -1) / 255.0
        targets = np.eye(data.info.num_classes)[labels]
        return cls(points, targets, targets.mean(0) if centred else 0.0)

    def compute_errors(
        self,
        logits_fn: LogitsFn,
        batches: Iterable[Batch],
        widths: Sequence[float],
        frequencies: int,
    ) -> dict[str, np.ndarray]:
        """Compares a network's probabilities with the labels.

        Args:
          logits_fn: The network.
          batches: The same images, in the same order.
          widths: Of the filters, in typical distances, [w].
          frequencies: Those along the line are 1, ..., that many, [k].

        Returns:
          Relative errors "low" and "high" [w] and "line" [k], each also as
          "_stderr"; and of the labels "target" and "noise" [k], see
          `response.Line`.
        """
        probabilities = _predict_probabilities(logits_fn, batches, self.n) - self._class_shares
        band_errors = [
            response.compute_filtered_errors(
                self._points, self._targets, probabilities, width * self.distance
            )
            for width in widths
        ]
        line_errors = response.compute_line_response(
            self._projections, self._targets, probabilities, np.arange(1, frequencies + 1)
        )
        errors_by_name = {
            "line": line_errors.error,
            "line_stderr": line_errors.stderr,
            "target": line_errors.target,
            "noise": line_errors.noise,
        }
        for name, column in zip(("low", "high"), zip(*band_errors, strict=True), strict=True):
            errors_by_name[name] = np.array([estimate.value for estimate in column])
            stderrs = [estimate.stderr or np.nan for estimate in column]
            errors_by_name[f"{name}_stderr"] = np.array(stderrs)
        return errors_by_name


def _predict_probabilities(logits_fn: LogitsFn, batches: Iterable[Batch], count: int) -> np.ndarray:
    """Returns probabilities, float32 [count, classes]."""
    batch_probabilities = [
        tf.nn.softmax(compilation.predict(logits_fn, batch["image"])).numpy() for batch in batches
    ]
    return np.concatenate(batch_probabilities)[:count]
