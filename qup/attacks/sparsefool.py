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
_LEAST = 1e-4
# The most steps of one search for the boundary.
_SEARCH_STEPS = 50


@attacks.register(
    "sparsefool", kind="minimum_norm", norms=("l0",), gradients=True
)
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
        deepfool.check_classes(self.num_classes)
        base.check_number("lambda_", self.lambda_, least=1)
        base.check_number("overshoot", self.overshoot, least=0)

    def init(self, victim, examples):
        """Starts a search at the image."""
        images, labels = examples.images, examples.labels
        logits = victim.logits(images)
        classes = deepfool.candidates(logits, labels, self.num_classes)
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

    def step(self, victim, examples, state):
        """Steps to the boundary, or crosses the plane that touches it."""
        classes, distance, slope = self._slope(victim, examples, state)
        plane = norms.rows(state["crossed"], slope)
        total, further = self._searched(state, distance, slope)
        point, fooling = self._solved(examples, state, slope)
        logits = victim.logits(tf.where(plane, fooling, further))
        hit = base.adversarial(logits, examples.labels, False)
        still = deepfool.unmoved(total, state["total"])
        stuck = deepfool.unmoved(point, state["point"])
        crossed, search = state["crossed"], state["search"] + 1
        other = deepfool.candidates(logits, examples.labels, 2)[:, 0]
        step = tf.where(stuck, self.num_steps, state["step"] + 1)
        return {
            "images": tf.where(plane, fooling, state["images"]),
            "point": tf.where(plane, point, state["point"]),
            "total": tf.where(plane, 0.0, total),
            "classes": classes,
            "class": other,
            "crossed": ~crossed & (hit | still | (search >= _SEARCH_STEPS)),
            "search": tf.where(crossed, 0, search),
            "found": crossed & hit,
            "step": tf.where(crossed, step, state["step"]),
        }

    def done(self, examples, state):
        """Once misclassified, after `num_steps`, or where nothing leads on."""
        return state["found"] | (state["step"] >= self.num_steps)

    def images(self, examples, state):
        """The image found, or the clean one."""
        found = norms.rows(state["found"], examples.images)
        return tf.where(found, state["images"], examples.images)

    def conjugate(self, victim, examples, state):
        """The normal grad_X z_k - grad_X z_label at the boundary (Table 4)."""

        def objective(logits):
            classes = state["class"][:, None]
            return deepfool.gaps(logits, examples.labels, classes)[:, 0]

        return victim.gradient(objective, state["point"] + state["total"])[2]

    def _slope(self, victim, examples, state):
        """Returns the classes, and the distance and slope of the nearest.

        A row that has crossed looks at the class beyond alone: its slope is
        the plane's normal.
        """
        labels = examples.labels

        def chosen(logits):
            own = deepfool.candidates(logits, labels, self.num_classes)
            begins = state["search"][:, None] == 0
            classes = tf.where(begins, own, state["classes"])
            crossed = state["crossed"][:, None]
            return tf.where(crossed, state["class"][:, None], classes)

        def objectives(logits):
            return deepfool.gaps(logits, labels, chosen(logits))

        here = state["point"] + state["total"]
        logits, slopes = victim.slopes(here, objectives)
        values = objectives(logits)
        return chosen(logits), *deepfool.nearest(values, slopes, "l2")

    def _searched(self, state, distance, slope):
        """Returns DeepFool's next sum of steps, and the image it asks of."""
        least = self.width * _LEAST
        # r_i = max(|f_l| / ||w_l||_2, 1e-4) w_l / ||w_l||_2
        far = tf.maximum(distance, least)
        total = state["total"] + deepfool.advance(far, slope, "l2", 0.0)
        return total, state["point"] + (1 + self.overshoot) * total

    def _solved(self, examples, state, slope):
        """Returns the point across the plane, and the image it asks of."""
        total = state["total"]
        axes = list(range(1, total.shape.rank))
        # A slope that leads back, or nowhere, is no normal: the way here is.
        ahead = tf.reduce_sum(slope * total, axes, keepdims=True) > 0
        point = linear_solver.solve(
            state["point"],
            tf.where(ahead, slope, total),
            self.lambda_ * total,
            self.bounds,
        )
        clean = examples.images
        images = clean + (1 + self.overshoot) * (point - clean)
        return point, base.clip(images, self.bounds)
