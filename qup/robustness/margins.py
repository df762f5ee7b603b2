"""Other predictors of robustness: the gradient and the margin of each image.

The paper explains robust accuracy by sigma_p, a mean of the gradient over inputs. It has to be
compared with simpler predictors: the gradient norm at the images, their margins, and the ratio of
both, which is the distance to the boundary to first order.

```python
predictors = compute_predictors(classifier, batches)
predictors["margin_ratio"]  # float32 [n]
```
"""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from qup.attacks import losses
from qup.core import compilation, gradients, norms
from qup.core.classifier import get_classifier_program
from qup.core.types import Batch, LogitsFn

PREDICTORS = ("loss", "gradient_l1", "margin", "margin_gradient_l1", "margin_ratio")


def compute_predictors(logits_fn: LogitsFn, batches: Iterable[Batch]) -> dict[str, np.ndarray]:
    """Computes the predictors of each image.

    Args:
      logits_fn: The classifier.
      batches: The images; padding rows have weight 0.

    Returns:
      float32 [n] by name, and "id", int64 [n]:

      - loss: cross-entropy l.
      - gradient_l1: |grad_X l|_1, the increase of l per unit of L-inf distance, to first order.
      - margin: m = z_y - max_{j != y} z_j of the logits; negative where misclassified.
      - margin_gradient_l1: |grad_X m|_1.
      - margin_ratio: max(m, 0) / |grad_X m|_1, the L-inf distance to the boundary to first order,
        in units of [0, 1]; infinite where m > 0 has no gradient.
    """
    predictors_fn = get_classifier_program(logits_fn, "predictors", _build_predictors_fn)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in PREDICTORS}
    columns["id"] = []
    for batch in batches:
        is_real = batch["weight"].numpy() > 0
        results = predictors_fn(batch["image"], batch["label"])
        for name, values in zip(PREDICTORS, results, strict=True):
            columns[name].append(values.numpy()[is_real])
        columns["id"].append(batch["id"].numpy()[is_real])
    return {name: np.concatenate(chunks) for name, chunks in columns.items()}


def _build_predictors_fn(call: LogitsFn):
    @tf.function(autograph=False, jit_compile=compilation.use_xla("auto"))
    def run(images, labels):
        loss, loss_gradient = gradients.compute_input_gradient(
            lambda inputs: losses.cross_entropy(call(inputs), labels), images
        )
        margin, margin_gradient = gradients.compute_input_gradient(
            lambda inputs: -losses.margin(call(inputs), labels), images
        )
        margin_gradient_l1 = norms.compute_norm(margin_gradient, "l1")
        positive_margin = tf.maximum(margin, 0.0)
        # 0 / 0 where all logits are equal: the image is on the boundary.
        ratio = tf.where(positive_margin > 0, positive_margin / margin_gradient_l1, 0.0)
        return loss, norms.compute_norm(loss_gradient, "l1"), margin, margin_gradient_l1, ratio

    return run
