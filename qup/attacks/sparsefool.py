"""SparseFool: few pixels, by a plane in place of the boundary (Table 4).

```python
attacked = attacks.get("sparsefool")(classifier, images, labels)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks, norms
from qup.attacks import base, deepfool, linear_solver

# The least length of a step of the search, as a share of the box's width.
_MIN_STEP = 1e-4
# The most steps of one search for the boundary.
_MAX_SEARCH_STEPS = 50


@attacks.register("sparsefool", kind="minimum_norm", norms=("l0",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class SparseFool(base.Method):
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
    num_steps: base.Count = 20
    overshoot: float = 0.02

    def check(self):
        """Raises an InputError for an option out of its range."""
        deepfool.check_num_classes(self.num_classes)
        base.check_number("lambda_", self.lambda_, least=1)
        base.check_number("overshoot", self.overshoot, least=0)

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
            "found": base.adversarial(logits, labels, False),
            "step": tf.zeros_like(labels),
        }

    def step(self, classifier, examples, state):
        """Steps to the boundary, or crosses the plane that touches it."""
        classes, distance, gradient = self._linearise(classifier, examples, state)
        is_crossing = norms.expand_like(state["crossed"], gradient)
        total, searched_image = self._search_boundary(state, distance, gradient)
        point, crossed_image = self._cross_plane(examples, state, gradient)
        logits = classifier.logits(tf.where(is_crossing, crossed_image, searched_image))
        success = base.adversarial(logits, examples.labels, False)
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
        point = linear_solver.cross_plane(
            state["point"],
            tf.where(leads_ahead, gradient, total),
            self.lambda_ * total,
            self.bounds,
        )
        clean = examples.images
        images = clean + (1 + self.overshoot) * (point - clean)
        return point, base.clip(images, self.bounds)
