"""The linear solver of SparseFool: across a plane by few elements.

```python
moved = solve(images, normal, offset, bounds=(0.0, 1.0))
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks
from qup.attacks import deepfool, inputs, method
from qup.core import norms
from qup.core.types import Bounds

# As shares of the box's width: the least that an element moves, and how far
# beyond the plane the last one aims.
_MIN_MOVE = 1e-4
_PLANE_MARGIN = 1e-3


def cross_plane(
    images: tf.Tensor, normal: tf.Tensor, offset: tf.Tensor, bounds: Bounds
) -> tf.Tensor:
    """Crosses the plane through x_B of normal n.

    In the order of falling |n_d|, elements move by
    max((|n.(x - x_B)| + 1e-3) / |n_d|, 1e-4) up the normal, or to the end of
    the box, until n.(x - x_B) >= 0. All but the last reach the end, so it is
    the first at which what they add to n.x sums up to enough.

    Args:
      images: float32 [batch, ...], x, in the box.
      normal: float32 [batch, ...], n, of any length.
      offset: float32 [batch, ...], x_B - x, with n.(x_B - x) >= 0.
      bounds: The box, or None.

    Returns:
      float32 [batch, ...], in the box; `images` where n is zero.

    Reference: Modas, Moosavi-Dezfooli, Frossard 2019, arXiv 1811.02248,
    Algorithm 1.
    """
    x, unit_normal, flat_offset = (
        tf.reshape(values, (images.shape[0], -1)) for values in (images, normal, offset)
    )
    normal_norm = norms.compute_norm(unit_normal, "l2")[:, None]
    unit_normal /= tf.where(normal_norm > 0, normal_norm, 1.0)
    low, high = (-float("inf"), float("inf")) if bounds is None else bounds
    box_ends, magnitudes = tf.where(unit_normal > 0, high, low), tf.abs(unit_normal)
    # What each element can add to n.x, and all those before it.
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
    move = (remaining_gain + box_width * _PLANE_MARGIN) / tf.where(
        last_magnitude > 0, last_magnitude, 1.0
    )
    perturbed = x + tf.maximum(move, box_width * _MIN_MOVE) * tf.sign(unit_normal)
    # Equal elements go in the order of their places.
    indices = tf.range(magnitudes.shape[1])[None]
    is_earlier = (magnitudes > last_magnitude) | (
        (magnitudes == last_magnitude) & (indices < last_index)
    )
    is_last = is_reached & (indices == last_index)
    x = tf.where(is_last & (magnitudes > 0), method.clip(perturbed, bounds), x)
    moves_to_end = (is_earlier | ~is_reached) & (magnitudes > 0)
    return tf.reshape(tf.where(moves_to_end, box_ends, x), images.shape)


# SparseFool: few pixels, by a plane in place of the boundary (Table 4).
#
# ```python
# attacked = attacks.get("sparsefool")(classifier, images, labels)
# ```


# The least length of a step of the search, as a share of the box's width.
_MIN_STEP = 1e-4
# The most steps of one search for the boundary.
_MAX_SEARCH_STEPS = 50


@attacks.register("sparsefool", kind="minimum_norm", norms=("l0",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class SparseFool(method.Method):
    """Crosses planes near the boundary, one element after the other.

    DeepFool searches the boundary; the plane that touches it there is
    crossed by the elements of its steepest slope, each moved to the end of
    the box, until one is enough; from there again, until the image is
    misclassified. It is counted by "l0", elements (height x width x
    channels) changed. A step searches or crosses, and asks of the
    classifier what a step of DeepFool does. The search may leave the box,
    as in the authors' program; what is found is inside.

    Attributes:
      lambda_: The plane is crossed so many times as far away as the
        boundary was; more succeeds sooner and changes more elements.
      num_classes: See `deepfool.DeepFool`.
      num_steps: The most planes an image crosses.
      overshoot: The image sought lies 1 + overshoot times as far.

    Reference: Modas, Moosavi-Dezfooli, Frossard 2019, arXiv 1811.02248.
    """

    lambda_: float = 3.0
    num_classes: int = 10
    num_steps: method.Count = 20
    overshoot: float = 0.02

    def check(self):
        """Raises an InputError for an option out of its range."""
        deepfool.check_num_classes(self.num_classes)
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
            "found": method.adversarial(logits, labels, False),
            "step": tf.zeros_like(labels),
        }

    def step(self, classifier, examples, state):
        """Steps to the boundary, or crosses the plane that touches it."""
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
            "found": crossed & success,
            "step": tf.where(crossed, step, state["step"]),
        }

    def done(self, examples, state):
        """Once misclassified, after `num_steps`, or where nothing leads on."""
        return state["found"] | (state["step"] >= self.num_steps)

    def images(self, examples, state):
        """The image found, or the clean one."""
        success = norms.expand_like(state["found"], examples.images)
        return tf.where(success, state["images"], examples.images)

    def conjugate(self, classifier, examples, state):
        """The normal grad_X z_k - grad_X z_label at the boundary (Table 4)."""

        def objective(logits):
            classes = state["class"][:, None]
            return deepfool.compute_logit_gaps(logits, examples.labels, classes)[:, 0]

        return classifier.gradient(objective, state["point"] + state["total"])[2]

    def _linearise(self, classifier, examples, state):
        """Returns the classes, and the distance and slope of the nearest.

        A row that has crossed looks at the class beyond alone: its slope is
        the plane's normal.
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
        logits, gradients = classifier.slopes(current, compute_gaps)
        values = compute_gaps(logits)
        return choose_classes(logits), *deepfool.find_closest_boundary(values, gradients, "l2")

    def _search_boundary(self, state, distance, gradient):
        """Returns DeepFool's next sum of steps, and the image it asks of."""
        min_step = self.width * _MIN_STEP
        # r_i = max(|f_l| / ||w_l||_2, 1e-4) w_l / ||w_l||_2
        step_length = tf.maximum(distance, min_step)
        total = state["total"] + deepfool.compute_step(step_length, gradient, "l2", 0.0)
        return total, state["point"] + (1 + self.overshoot) * total

    def _cross_plane(self, examples, state, gradient):
        """Returns the point across the plane, and the image it asks of."""
        total = state["total"]
        axes = list(range(1, total.shape.rank))
        # A slope that leads back, or nowhere, is no normal: the way here is.
        leads_ahead = tf.reduce_sum(gradient * total, axes, keepdims=True) > 0
        point = cross_plane(
            state["point"],
            tf.where(leads_ahead, gradient, total),
            self.lambda_ * total,
            self.bounds,
        )
        clean = examples.images
        images = clean + (1 + self.overshoot) * (point - clean)
        return point, method.clip(images, self.bounds)
