"""DeepFool: repeated steps to the closest linearised decision boundary (Table 4 of the paper).

```python
adversarial = attacks.get("deepfool")(classifier, images, labels)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, method
from qup.core import errors, norms

# Each step is longer than the distance by this, in widths of the box.
_MARGIN = 1e-4


@attacks.register("deepfool", kind="minimum_norm", norms=("l2", "linf"), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepFool(method.Method):
    """Steps to the closest linearised boundary until the image is misclassified.

    Every step ends inside `bounds`. The authors' program does not clip; `bounds=None` is their
    attack.

    Attributes:
      norm: The norm that is minimised: "l2" or "linf".
      num_classes: Number of classes considered: the label and the most likely classes of the clean
        image; at most all. A step computes one gradient per class other than the label.
      num_steps: Largest number of steps.
      overshoot: The sum of the steps is multiplied by 1 + overshoot.

    Reference: Moosavi-Dezfooli, Fawzi, Frossard 2016, arXiv 1511.04599.
    """

    norm: str = "l2"
    num_classes: int = 10
    num_steps: method.Count = 50
    overshoot: float = 0.02

    def check(self):
        """Checks the ranges of the options."""
        errors.check_number("num_classes", self.num_classes, at_least=2)
        inputs.check_number("overshoot", self.overshoot, least=0)

    def init(self, classifier, examples):
        """Starts at the image."""
        logits = classifier.logits(examples.images)
        return {
            "images": examples.images,
            "total": tf.zeros_like(examples.images),
            "classes": select_likely_classes(logits, examples.labels, self.num_classes),
            "success": method.adversarial(logits, examples.labels, False),
            "step": tf.zeros_like(examples.labels),
        }

    def step(self, classifier, examples, state):
        """Steps to the closest boundary, and evaluates the image."""
        distance, gradient = self._find_boundary(classifier, examples, state)
        # r_i = (|f_l| / ||w_l||_q + 1e-4) w_l / ||w_l||_2, in L-inf sign(w_l)
        # (Moosavi-Dezfooli 2016, Alg. 2; the margin 1e-4 is the authors' program's)
        update = compute_step(distance, gradient, self.norm, self.width * _MARGIN)
        clean = examples.images
        total = clean + state["total"] + update
        total = method.clip(total, self.bounds) - clean
        # x = x_0 + (1 + overshoot) sum_i r_i
        images = clean + (1 + self.overshoot) * total
        images = method.clip(images, self.bounds)
        logits = classifier.logits(images)
        # A row that does not change will not change later.
        is_unchanged = are_rows_equal(total, state["total"])
        return state | {
            "images": images,
            "total": total,
            "success": method.adversarial(logits, examples.labels, False),
            "step": tf.where(is_unchanged, self.num_steps, state["step"] + 1),
        }

    def done(self, examples, state):
        """At a misclassified image, after `num_steps`, or without a further step."""
        return state["success"] | (state["step"] >= self.num_steps)

    def images(self, examples, state):
        """The adversarial image, or the clean image without success."""
        return select_successful_images(examples, state)

    def conjugate(self, classifier, examples, state):
        """w'_l = grad_X z_l - grad_X z_k, k the label (Table 4)."""
        return self._find_boundary(classifier, examples, state)[1]

    def _find_boundary(self, classifier, examples, state):
        def compute_gaps(logits):
            return compute_logit_gaps(logits, examples.labels, state["classes"])

        logits, gradients = classifier.gradients(state["images"], compute_gaps)
        return find_closest_boundary(compute_gaps(logits), gradients, self.norm)


def select_successful_images(examples: method.Examples, state: method.State) -> tf.Tensor:
    """Returns the state's images where "success" is true, and clean images elsewhere."""
    success = norms.expand_like(state["success"], examples.images)
    return tf.where(success, state["images"], examples.images)


def select_likely_classes(logits: tf.Tensor, labels: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Returns the most likely classes other than the label, in descending order.

    Args:
      logits: float32 [batch, classes].
      labels: int32 [batch].
      num_classes: Number of classes including the label.

    Returns:
      int32 [batch, min(num_classes, classes) - 1].
    """
    num_all_classes = logits.shape[1]
    is_true = tf.one_hot(labels, num_all_classes, True, False, dtype=tf.bool)
    other_logits = tf.where(is_true, tf.constant(float("-inf")), logits)
    return tf.math.top_k(other_logits, min(int(num_classes), num_all_classes) - 1).indices


def compute_logit_gaps(logits: tf.Tensor, labels: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Returns f_k = z_k - z_label for the classes int32 [batch, k]: float32 [batch, k]."""
    label_logit = tf.gather(logits, labels[:, None], batch_dims=1)
    return tf.gather(logits, classes, batch_dims=1) - label_logit


def find_closest_boundary(
    values: tf.Tensor, gradients: tf.Tensor, norm: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the closest of k linearised boundaries.

    Args:
      values: float32 [batch, k], the f_k.
      gradients: float32 [batch, k, ...], their gradients w_k.
      norm: Norm of the distance: "l2" or "linf".

    Returns:
      (distance, gradient): float32 [batch] and [batch, ...]. The distance is infinite if no
      gradient is usable.
    """
    num_rows, count = gradients.shape[:2]
    gradient_norm = norms.compute_norm(
        tf.reshape(gradients, (num_rows * count, -1)), norms.DUAL_NORM[norm]
    )
    gradient_norm = tf.reshape(gradient_norm, (num_rows, count))
    # l = argmin_k |f_k| / ||w_k||_q     (Moosavi-Dezfooli 2016, Alg. 2)
    distances = tf.abs(values) / tf.where(gradient_norm > 0, gradient_norm, 1.0)
    is_reachable = (gradient_norm > 0) & (gradient_norm < float("inf")) & (distances < float("inf"))
    distances = tf.where(is_reachable, distances, float("inf"))
    closest = tf.argmin(distances, 1, tf.int32)
    return tf.reduce_min(distances, 1), tf.gather(gradients, closest, batch_dims=1)


def compute_step(distance: tf.Tensor, gradient: tf.Tensor, norm: str, margin: float) -> tf.Tensor:
    """Returns the step of length `distance` + `margin` that increases the function most.

    Args:
      distance: float32 [batch]; if it is infinite, the step is zero.
      gradient: float32 [batch, ...], of the function.
      norm: Norm of the length: "l2" or "linf".
      margin: Added to the length.

    Returns:
      float32 [batch, ...].
    """
    gradient_norm = norms.compute_norm(gradient, "l2")
    gradient_norm = norms.expand_like(tf.where(gradient_norm > 0, gradient_norm, 1.0), gradient)
    unit_gradient = tf.sign(gradient) if norm == "linf" else gradient / gradient_norm
    distance_rows = norms.expand_like(distance, gradient)
    return tf.where(distance_rows < float("inf"), (distance_rows + margin) * unit_gradient, 0.0)


def are_rows_equal(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns the rows in which two tensors are equal, bool [batch]."""
    return tf.reduce_all(first == second, norms.get_image_axes(first))
