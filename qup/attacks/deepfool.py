"""DeepFool: to the nearest boundary, again and again (Table 4 of the paper).

```python
attacked = attacks.get("deepfool")(classifier, images, labels)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, method
from qup.core import errors, norms

# The norm of a slope that turns a difference of logits into a distance.
_DUAL_NORM = {"l2": "l2", "linf": "l1"}
# What each step goes too far, as a share of the box's width.
_MARGIN = 1e-4


@attacks.register("deepfool", kind="minimum_norm", norms=("l2", "linf"), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepFool(method.Method):
    """Steps to the nearest of the linearised boundaries until across one.

    Every step ends inside `bounds`. The authors' program never clips;
    `bounds=None` is their attack.

    Attributes:
      norm: What is kept small: "l2" or "linf".
      num_classes: How many classes are looked at, the label and those most
        likely for the clean image; at most all. A step takes one gradient
        for each but the label.
      num_steps: The most steps an image takes.
      overshoot: The image sought lies 1 + overshoot times as far as the
        steps lead.

    Reference: Moosavi-Dezfooli, Fawzi, Frossard 2016, arXiv 1511.04599.
    """

    norm: str = "l2"
    num_classes: int = 10
    num_steps: method.Count = 50
    overshoot: float = 0.02

    def check(self):
        """Raises an InputError for an option out of its range."""
        check_num_classes(self.num_classes)
        inputs.check_number("overshoot", self.overshoot, least=0)

    def init(self, classifier, examples):
        """Starts at the image."""
        logits = classifier.logits(examples.images)
        return {
            "images": examples.images,
            "total": tf.zeros_like(examples.images),
            "classes": select_likely_classes(logits, examples.labels, self.num_classes),
            "found": method.adversarial(logits, examples.labels, False),
            "step": tf.zeros_like(examples.labels),
        }

    def step(self, classifier, examples, state):
        """Steps to the nearest boundary, and asks whether it is crossed."""
        distance, gradient = self._find_boundary(classifier, examples, state)
        # r_i = (|f_l| / ||w_l||_q + 1e-4) w_l / ||w_l||_2, or sign(w_l)
        update = compute_step(distance, gradient, self.norm, self.width * _MARGIN)
        clean = examples.images
        total = clean + state["total"] + update
        total = method.clip(total, self.bounds) - clean
        # x = x_0 + (1 + overshoot) sum_i r_i
        images = clean + (1 + self.overshoot) * total
        images = method.clip(images, self.bounds)
        logits = classifier.logits(images)
        # A row that did not move would not move again.
        is_unmoved = are_rows_equal(total, state["total"])
        return state | {
            "images": images,
            "total": total,
            "found": method.adversarial(logits, examples.labels, False),
            "step": tf.where(is_unmoved, self.num_steps, state["step"] + 1),
        }

    def done(self, examples, state):
        """Once misclassified, after `num_steps`, or where nothing leads on."""
        return state["found"] | (state["step"] >= self.num_steps)

    def images(self, examples, state):
        """The image found, or the clean one."""
        success = norms.expand_like(state["found"], examples.images)
        return tf.where(success, state["images"], examples.images)

    def conjugate(self, classifier, examples, state):
        """w'_l = grad_X z_l - grad_X z_k, k the label (Table 4)."""
        return self._find_boundary(classifier, examples, state)[1]

    def _find_boundary(self, classifier, examples, state):
        def compute_gaps(logits):
            return compute_logit_gaps(logits, examples.labels, state["classes"])

        logits, gradients = classifier.slopes(state["images"], compute_gaps)
        return find_closest_boundary(compute_gaps(logits), gradients, self.norm)


def check_num_classes(num_classes) -> None:
    """Raises an InputError unless it is an integer of at least 2."""
    errors.check_number("num_classes", num_classes, at_least=2)
    if int(num_classes) != num_classes:
        raise errors.InputError(f"num_classes must be an integer; got {num_classes!r}.")


def select_likely_classes(logits: tf.Tensor, labels: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Returns the likeliest classes other than the label.

    Args:
      logits: float32 [batch, classes].
      labels: int32 [batch].
      num_classes: How many with the label; at most all are.

    Returns:
      int32 [batch, min(num_classes, classes) - 1], likeliest first.
    """
    num_all_classes = logits.shape[1]
    is_true = tf.one_hot(labels, num_all_classes, True, False, dtype=tf.bool)
    other_logits = tf.where(is_true, tf.constant(float("-inf")), logits)
    return tf.math.top_k(other_logits, min(int(num_classes), num_all_classes) - 1).indices


def compute_logit_gaps(logits: tf.Tensor, labels: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Returns f_k = z_k - z_label of the `classes` k: float32 [batch, k]."""
    label_logit = tf.gather(logits, labels[:, None], batch_dims=1)
    return tf.gather(logits, classes, batch_dims=1) - label_logit


def find_closest_boundary(
    values: tf.Tensor, gradients: tf.Tensor, norm: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the nearest of several linearised boundaries.

    Args:
      values: float32 [batch, k], the f_k.
      gradients: float32 [batch, k, ...], their gradients w_k.
      norm: In which distances are measured: "l2" or "linf".

    Returns:
      (distance, slope): float32 [batch] and [batch, ...]; an infinite
      distance where no gradient leads anywhere.
    """
    num_rows, count = gradients.shape[:2]
    gradient_norm = norms.compute_norm(
        tf.reshape(gradients, (num_rows * count, -1)), _DUAL_NORM[norm]
    )
    gradient_norm = tf.reshape(gradient_norm, (num_rows, count))
    # l = argmin_k |f_k| / ||w_k||_q
    distances = tf.abs(values) / tf.where(gradient_norm > 0, gradient_norm, 1.0)
    is_reachable = (gradient_norm > 0) & (gradient_norm < float("inf")) & (distances < float("inf"))
    distances = tf.where(is_reachable, distances, float("inf"))
    closest = tf.argmin(distances, 1, tf.int32)
    return tf.reduce_min(distances, 1), tf.gather(gradients, closest, batch_dims=1)


def compute_step(distance: tf.Tensor, gradient: tf.Tensor, norm: str, margin: float) -> tf.Tensor:
    """Returns the shortest step of length `distance` + `margin`.

    Args:
      distance: float32 [batch]; where it is infinite there is no step.
      gradient: float32 [batch, ...], up which the step leads.
      norm: In which the length is measured: "l2" or "linf".
      margin: A length.

    Returns:
      float32 [batch, ...].
    """
    gradient_norm = norms.compute_norm(gradient, "l2")
    gradient_norm = norms.expand_like(tf.where(gradient_norm > 0, gradient_norm, 1.0), gradient)
    unit_gradient = tf.sign(gradient) if norm == "linf" else gradient / gradient_norm
    distance_rows = norms.expand_like(distance, gradient)
    return tf.where(distance_rows < float("inf"), (distance_rows + margin) * unit_gradient, 0.0)


def are_rows_equal(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Marks the rows in which two tensors are equal: bool [batch]."""
    return tf.reduce_all(first == second, list(range(1, first.shape.rank)))
