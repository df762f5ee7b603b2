"""Losses and their input gradients over many images, compiled once.

```python
values, gradients = slopes(case, "margin")
```
"""

import numpy as np
import tensorflow as tf

from qup import compilation, gradients
from qup.attacks import losses
from qup.attacks.base import checks
from qup.masking.case import DiagnosisCase


def compute_loss_gradients(
    case: DiagnosisCase, loss: str, rows: slice = slice(None)
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the loss and its input gradient, image by image.

    Args:
      case: What is examined.
      loss: See `attacks.losses`.
      rows: Which images.

    Returns:
      (values, gradients): float32 [n] and float32 [n, ...].
    """
    objective = losses.get(loss)
    probabilities = case.classifier_info.probabilities

    def build(call):
        @tf.function(autograph=False)
        def run(images, labels):
            _, values, gradient = gradients.differentiate_logits(
                checks.convert_to_logits(call, probabilities),
                lambda logits: objective(logits, labels),
                images,
            )
            return values, gradient

        return run

    run = compilation.get_program(case.logits_fn, ("masking slopes", loss), build)
    return case.run_batched(run, case.images[rows], case.labels[rows])


def compute_losses(
    case: DiagnosisCase, loss: str, images: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Returns the loss of any images.

    Args:
      case: Gives the classifier.
      loss: See `attacks.losses`.
      images: float32 [m, ...].
      labels: int32 [m].

    Returns:
      float32 [m].
    """
    logits = case.predict(images)
    if case.classifier_info.probabilities:
        logits = np.log(np.maximum(logits, np.finfo(np.float32).tiny))
    return losses.get(loss)(tf.constant(logits), tf.constant(labels)).numpy()
