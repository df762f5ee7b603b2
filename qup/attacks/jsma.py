"""The Jacobian saliency map attack: row four of the paper's Table 4.

```python
attacked = attacks.get("jsma")(classifier, images, labels)
```
"""

import dataclasses
import math

import tensorflow as tf

from qup import attacks, errors, norms
from qup.attacks import base, saliency_pairs, targets
from qup.attacks.base import program


@attacks.register("jsma", kind="minimum_norm", norms=("l0",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class JSMA(base.Method):
    """Changes the pair of features that points most to the target, again.

    The slopes are those of the logits. A feature is changed once, and not
    at all where it stands at the bound that theta points to.

    Attributes:
      theta: What is added to a feature, in units of the box's width (of
        the pixels, without a box); negative values darken.
      gamma: Largest share of the features that may be changed; the paper's
        14.5 %. (ART and cleverhans have 1, torchattacks 0.1.)
      targeted: The labels are targets. Otherwise the target is the
        likeliest class but the label, for the clean image, and any
        misclassification is success.

    Reference: Papernot et al. 2016, arXiv 1511.07528.
    """

    theta: float = 1.0
    gamma: float = 0.145
    targeted: bool = False

    def check(self):
        """Raises an InputError for an option out of its range."""
        if not tf.is_tensor(self.theta):
            errors.check_number("theta", self.theta)
            if self.theta == 0:
                raise errors.InputError(
                    "theta=0 changes nothing; give the step in units of the "
                    "box's width, such as 1 or -1."
                )
        if not tf.is_tensor(self.gamma):
            errors.check_number("gamma", self.gamma, above=0)
            if self.gamma > 1:
                raise errors.InputError(
                    f"gamma is a share of the features, at most 1; got {self.gamma!r}."
                )

    def init(self, classifier, examples):
        """Chooses the targets; what is misclassified already is done."""
        clean, target = examples.images, examples.labels
        logits = classifier.logits(clean)
        if not self.targeted:
            target = targets.select_ranked_class(logits, examples.labels, 1)
        success = base.adversarial(logits, examples.labels, self.targeted)
        return {
            "images": clean,
            "before": clean,
            "target": target,
            "free": self._find_free_features(clean),
            "pairs": tf.zeros_like(target),
            "found": success,
            "over": success,
        }

    def step(self, classifier, examples, state):
        """Looks at the image, and changes a pair unless it succeeds."""
        images, is_free = state["images"], state["free"]
        logits, rise, fall = self._compute_gradients(classifier, state, images)
        success = base.adversarial(logits, examples.labels, self.targeted)
        is_finished = state["over"] | success | (state["pairs"] >= self._compute_max_pairs(images))
        pair, has_pair = saliency_pairs.find_best_pairs(rise, fall, is_free & ~is_finished[:, None])
        is_changed = tf.one_hot(pair, is_free.shape[1], True, False, dtype=tf.bool)
        is_changed = tf.reduce_any(is_changed, 1) & has_pair[:, None]
        # x_p <- clip(x_p + theta), x_q <- clip(x_q + theta)
        perturbed = base.clip(images + self.theta * self.width, self.bounds)
        mask = tf.reshape(is_changed, tf.shape(images))
        state = state | program.select_rows(has_pair, {"before": images}, state)
        return state | {
            "images": tf.where(mask, perturbed, images),
            "free": is_free & ~is_changed,
            "pairs": state["pairs"] + 1,
            "found": success,
            "over": is_finished | ~has_pair,
        }

    def done(self, examples, state):
        """Once it succeeds, after the last pair, or where none is left."""
        return state["over"]

    def images(self, examples, state):
        """The image found, or the clean one."""
        success = norms.expand_like(state["found"], examples.images)
        return tf.where(success, state["images"], examples.images)

    def conjugate(self, classifier, examples, state):
        """The saliency map of the target (Table 4), at the last change.

        Of each feature by itself, Eq. 8 of Papernot et al.; for a negative
        theta with both signs turned, Eq. 9.
        """
        _, rise, fall = self._compute_gradients(classifier, state, state["before"])
        # S_i = dz_t/dx_i |sum_{j != t} dz_j/dx_i|, 0 where a sign is wrong.
        saliency = tf.nn.relu(rise) * tf.nn.relu(fall)
        return tf.reshape(saliency, tf.shape(examples.images))

    def _compute_max_pairs(self, images):
        """Returns the most pairs that may be changed."""
        size = math.prod(images.shape[1:])
        # floor(gamma n / 2), of a gamma that was rounded to float32.
        return tf.cast(self.gamma * size / 2 + 1e-4, tf.int32)

    def _find_free_features(self, images):
        """Marks features that theta can move: bool [batch, n]."""
        flat_images = tf.reshape(images, (images.shape[0], -1))
        if self.bounds is None:
            return tf.ones_like(flat_images, tf.bool)
        low, high = self.bounds
        return tf.where(self.theta > 0, flat_images < high, flat_images > low)

    def _compute_gradients(self, classifier, state, images):
        """Returns the logits and both slopes, their signs turned by theta's.

        Returns:
          (logits, rise, fall), the latter float32 [batch, n]: by how much
          a change by theta lifts the target and sinks the other classes.
        """

        def compute_objectives(logits):
            target_logit = tf.gather(logits, state["target"][:, None], batch_dims=1)
            logit_sum = tf.reduce_sum(logits, 1, keepdims=True)
            return tf.concat([target_logit, logit_sum - target_logit], 1)

        logits, gradients = classifier.slopes(images, compute_objectives)
        gradients = tf.reshape(gradients, (images.shape[0], 2, -1))
        gradients *= tf.sign(self.theta)
        return logits, gradients[:, 0], -gradients[:, 1]
