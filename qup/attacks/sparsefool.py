"""SparseFool: few changed elements, by a hyperplane instead of the boundary (Table 4 of the paper).

```python
adversarial = attacks.get("sparsefool")(classifier, images, labels)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks
from qup.attacks import deepfool, inputs, method
from qup.core import errors, norms
from qup.core.types import Bounds

# In widths of the box: the smallest change of an element, the margin beyond the hyperplane, and
# the smallest step of the boundary search.
_MIN_CHANGE = 1e-4
_PLANE_MARGIN = 1e-3
_MIN_STEP = 1e-4
# Largest number of steps of one boundary search.
_MAX_SEARCH_STEPS = 50


@attacks.register("sparsefool", kind="minimum_norm", norms=("l0",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class SparseFool(method.Method):
    """Crosses tangent hyperplanes of the boundary with few elements.

    DeepFool searches the boundary. Then the elements with the steepest gradient change, each to the
    end of the box, until the point crosses the hyperplane that is tangent to the boundary. Both
    repeat until the image is misclassified. The distance is "l0", the number of changed elements
    (height x width x channels). A step is one search step or one crossing, and calls the classifier
    as often as a step of DeepFool. As in the authors' program the search can leave the box; the
    result cannot.

    Attributes:
      lambda_: The hyperplane is placed at this multiple of the distance to the boundary; larger
        values succeed sooner and change more elements. 3 is the authors' setting; 1 changes less
        than a third of its elements and needs two to three times as many gradients.
      num_classes: See `deepfool.DeepFool`.
      num_steps: Largest number of hyperplanes.
      overshoot: The perturbation is multiplied by 1 + overshoot.

    Reference: Modas, Moosavi-Dezfooli, Frossard 2019, arXiv 1811.02248.
    """

    lambda_: float = 1.0
    num_classes: int = 10
    num_steps: method.Count = 20
    overshoot: float = 0.02

    def check(self):
        """Checks the ranges of the options."""
        errors.check_number("num_classes", self.num_classes, at_least=2)
        inputs.check_number("lambda_", self.lambda_, least=1)
        inputs.check_number("overshoot", self.overshoot, least=0)

    def init(self, classifier, examples):
        """Starts a search at the image."""
        images, labels = examples.images, examples.labels
        logits = classifier.logits(images)
        classes = deepfool.select_likely_classes(logits, labels, self.num_classes)
        return {
            "images": images,
            "point": images,
            "total": tf.zeros_like(images),
            "classes": classes,
            "class": classes[:, 0],
            "crossed": tf.zeros_like(labels, tf.bool),
            "search": tf.zeros_like(labels),
            "success": method.adversarial(logits, labels, False),
            "step": tf.zeros_like(labels),
        }

    def step(self, classifier, examples, state):
        """Takes a search step, or crosses the tangent hyperplane."""
        classes, distance, gradient = self._linearise(classifier, examples, state)
        is_crossing = norms.expand_like(state["crossed"], gradient)
        total, searched_image = self._search_boundary(state, distance, gradient)
        point, crossed_image = self._cross_plane(examples, state, gradient)
        logits = classifier.logits(tf.where(is_crossing, crossed_image, searched_image))
        success = method.adversarial(logits, examples.labels, False)
        search_stopped = deepfool.are_rows_equal(total, state["total"])
        crossing_stopped = deepfool.are_rows_equal(point, state["point"])
        crossed, search = state["crossed"], state["search"] + 1
        likeliest_class = deepfool.select_likely_classes(logits, examples.labels, 2)[:, 0]
        step = tf.where(crossing_stopped, self.num_steps, state["step"] + 1)
        return {
            "images": tf.where(is_crossing, crossed_image, state["images"]),
            "point": tf.where(is_crossing, point, state["point"]),
            "total": tf.where(is_crossing, 0.0, total),
            "classes": classes,
            "class": likeliest_class,
            "crossed": ~crossed & (success | search_stopped | (search >= _MAX_SEARCH_STEPS)),
            "search": tf.where(crossed, 0, search),
            "success": crossed & success,
            "step": tf.where(crossed, step, state["step"]),
        }

    def done(self, examples, state):
        """At a misclassified image, after `num_steps`, or without a further step."""
        return state["success"] | (state["step"] >= self.num_steps)

    def images(self, examples, state):
        """The adversarial image, or the clean image without success."""
        return deepfool.select_successful_images(examples, state)

    def conjugate(self, classifier, examples, state):
        """The normal grad_X z_k - grad_X z_label at the boundary (Table 4)."""

        def objective(logits):
            classes = state["class"][:, None]
            return deepfool.compute_logit_gaps(logits, examples.labels, classes)[:, 0]

        return classifier.gradient(objective, state["point"] + state["total"])[2]

    def _linearise(self, classifier, examples, state):
        """Returns the classes, and the distance and gradient of the closest boundary.

        A row that has crossed the boundary uses only the class beyond it: the gradient is the
        normal of the hyperplane.
        """
        labels = examples.labels

        def choose_classes(logits):
            likely_classes = deepfool.select_likely_classes(logits, labels, self.num_classes)
            is_search_start = state["search"][:, None] == 0
            classes = tf.where(is_search_start, likely_classes, state["classes"])
            crossed = state["crossed"][:, None]
            return tf.where(crossed, state["class"][:, None], classes)

        def compute_gaps(logits):
            return deepfool.compute_logit_gaps(logits, labels, choose_classes(logits))

        current = state["point"] + state["total"]
        logits, gradients = classifier.gradients(current, compute_gaps)
        values = compute_gaps(logits)
        return choose_classes(logits), *deepfool.find_closest_boundary(values, gradients, "l2")

    def _search_boundary(self, state, distance, gradient):
        """Returns DeepFool's next sum of steps, and the image to evaluate."""
        min_step = self.width * _MIN_STEP
        # r_i = max(|f_l| / ||w_l||_2, 1e-4) w_l / ||w_l||_2     (Moosavi-Dezfooli 2016, Alg. 2)
        step_length = tf.maximum(distance, min_step)
        total = state["total"] + deepfool.compute_step(step_length, gradient, "l2", 0.0)
        return total, state["point"] + (1 + self.overshoot) * total

    def _cross_plane(self, examples, state, gradient):
        """Returns the point beyond the hyperplane, and the image to evaluate."""
        total = state["total"]
        axes = norms.get_image_axes(total)
        # A gradient that is zero or points back is not a normal; the perturbation replaces it.
        points_forward = tf.reduce_sum(gradient * total, axes, keepdims=True) > 0
        normal = tf.where(points_forward, gradient, total)
        # x_B = x + lambda (x_boundary - x)     (Modas 2019, Alg. 2)
        point = cross_plane(state["point"], normal, self.lambda_ * total, self.bounds)
        clean = examples.images
        images = clean + (1 + self.overshoot) * (point - clean)
        return point, method.clip(images, self.bounds)


def cross_plane(
    images: tf.Tensor, normal: tf.Tensor, offset: tf.Tensor, bounds: Bounds
) -> tf.Tensor:
    """Crosses the hyperplane through x_B with normal n.

    In descending order of |n_d|, elements change by max((|n.(x - x_B)| + 1e-3) / |n_d|, 1e-4) in
    the direction of the normal, or to the end of the box, until n.(x - x_B) >= 0. All elements but
    the last reach the end of the box, so the last is the first at which the cumulative gain of n.x
    is enough.

    Args:
      images: float32 [batch, ...], x, in the box.
      normal: float32 [batch, ...], n, of any length.
      offset: float32 [batch, ...], x_B - x, with n.(x_B - x) >= 0.
      bounds: (lowest, highest) pixel value, or None.

    Returns:
      float32 [batch, ...], in the box; equal to `images` if n is zero.

    Reference: Modas, Moosavi-Dezfooli, Frossard 2019, arXiv 1811.02248, Algorithm 1.
    """
    x, unit_normal, flat_offset = (
        tf.reshape(values, (images.shape[0], -1)) for values in (images, normal, offset)
    )
    normal_norm = norms.compute_norm(unit_normal, "l2")[:, None]
    unit_normal /= tf.where(normal_norm > 0, normal_norm, 1.0)
    low, high = (-float("inf"), float("inf")) if bounds is None else bounds
    box_ends, magnitudes = tf.where(unit_normal > 0, high, low), tf.abs(unit_normal)
    # The largest gain of n.x by each element, and by all elements before it.
    gain = tf.where(magnitudes > 0, magnitudes * tf.abs(box_ends - x), 0.0)
    order = tf.argsort(magnitudes, direction="DESCENDING", stable=True)
    gain = tf.gather(gain, order, batch_dims=1)
    gain_before = tf.cumsum(gain, 1, exclusive=True)
    required_gain = tf.reduce_sum(unit_normal * flat_offset, 1, keepdims=True)
    is_enough = gain_before + gain >= required_gain
    is_reached = tf.reduce_any(is_enough, 1, keepdims=True)
    rank = tf.argmax(tf.cast(is_enough, tf.int32), 1)[:, None]
    last_index = tf.gather(order, rank, batch_dims=1)
    last_magnitude = tf.gather(magnitudes, last_index, batch_dims=1)
    remaining_gain = required_gain - tf.gather(gain_before, rank, batch_dims=1)
    box_width = method.get_box_width(bounds)
    last_change = (remaining_gain + box_width * _PLANE_MARGIN) / tf.where(
        last_magnitude > 0, last_magnitude, 1.0
    )
    perturbed = x + tf.maximum(last_change, box_width * _MIN_CHANGE) * tf.sign(unit_normal)
    # Equal elements are ordered by their index.
    indices = tf.range(magnitudes.shape[1])[None]
    is_earlier = (magnitudes > last_magnitude) | (
        (magnitudes == last_magnitude) & (indices < last_index)
    )
    is_last = is_reached & (indices == last_index)
    x = tf.where(is_last & (magnitudes > 0), method.clip(perturbed, bounds), x)
    is_at_end = (is_earlier | ~is_reached) & (magnitudes > 0)
    return tf.reshape(tf.where(is_at_end, box_ends, x), images.shape)
