"""The images over whose space response frequency is told, as points."""

from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from qup import compilation
from qup.datasets import Dataset
from qup.measures import response
from qup.types import Batch, LogitsFn


class View:
    """The images, and where they lie.

    Attributes:
      n: Number of images.
      distance: Their typical distance, the unit of widths.
    """

    def __init__(
        self,
        points: np.ndarray,
        targets: np.ndarray,
        shares: np.ndarray | float,
    ):
        """Takes images as points, and what is taken from all answers.

        Args:
          points: float [n, dimensions].
          targets: float [n, classes], one-hot labels.
          shares: float [classes], taken from targets and answers; or 0.
        """
        self._points, self._shares = points, shares
        self._targets = targets - shares
        self.n = len(points)
        self.distance = response.typical_distance(points)
        self._places = response.projected(points)

    @classmethod
    def of(
        cls, data: Dataset, split: str, num_images: int, centred: bool
    ) -> "View":
        """Takes the first images of a split as points."""
        images, labels, _ = data.arrays(split)
        images, labels = images[:num_images], labels[:num_images]
        points = images.reshape(len(images), -1) / 255.0
        targets = np.eye(data.info.num_classes)[labels]
        return cls(points, targets, targets.mean(0) if centred else 0.0)

    def errors(
        self, logits_fn: LogitsFn, batches: Iterable[Batch],
        widths: Sequence[float], frequencies: int,
    ) -> dict[str, np.ndarray]:  # fmt: skip
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
        answers = _answers(logits_fn, batches, self.n) - self._shares
        pairs = [
            response.filtered(
                self._points, self._targets, answers, width * self.distance
            )
            for width in widths
        ]
        line = response.along_line(
            self._places, self._targets, answers,
            np.arange(1, frequencies + 1),
        )  # fmt: skip
        found = {
            "line": line.error, "line_stderr": line.stderr,
            "target": line.target, "noise": line.noise,
        }  # fmt: skip
        for name, column in zip(
            ("low", "high"), zip(*pairs, strict=True), strict=True
        ):
            found[name] = np.array([each.value for each in column])
            errors = [each.stderr or np.nan for each in column]
            found[f"{name}_stderr"] = np.array(errors)
        return found


def _answers(
    logits_fn: LogitsFn, batches: Iterable[Batch], count: int
) -> np.ndarray:
    """Returns probabilities, float32 [count, classes]."""
    parts = [
        tf.nn.softmax(compilation.predict(logits_fn, batch["image"])).numpy()
        for batch in batches
    ]
    return np.concatenate(parts)[:count]
