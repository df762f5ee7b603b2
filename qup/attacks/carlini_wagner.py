"""Carlini and Wagner's L2 attack.

```python
attacked = attacks.get("carlini_wagner")(classifier, images, labels)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks, norms
from qup.attacks import base
from qup.attacks.binary_search import BinarySearch, Trial

# Keeps pixels at the ends of the box where tanh has a slope.
_TANH_SCALE = 0.999999
# Adam (Kingma and Ba 2015, arXiv 1412.6980).
_BETA_1, _BETA_2, _ADAM_EPSILON = 0.9, 0.999, 1e-8


@attacks.register("carlini_wagner", kind="minimum_norm", norms=("l2",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class CarliniWagner(BinarySearch):
    """Finds the L2-nearest adversarial image by Adam in tanh space.

    Without a box, Adam moves the pixels themselves. The published code
    takes num_steps=10000. On 32 images of MNIST and `convnet`, num_steps=200
    with search_steps=6, learning_rate=0.1 and initial_constant=0.1 came
    within 2 % of the distance of the defaults, for a seventh of the calls.

    Attributes:
      targeted: The labels are targets.
      confidence: kappa, the lead in logits that the image shall have. An
        image that has it already is its own answer.
      initial_constant: The first weight c of the classifier's term, with
        distances in units of the box's width.
      search_steps: Number of constants tried for each image: tenfold until
        one succeeds, then the middle of the interval.
      num_steps: Iterations for each constant.
      learning_rate: Of Adam.
      abort_early: Leave a constant when a tenth of its iterations has not
        lowered the loss by 0.01 %.

    Reference: Carlini and Wagner 2017, arXiv 1608.04644.
    """

    def init_variables(self, examples):
        """Starts at the image, Adam's moments at zero."""
        images = examples.images
        zeros = tf.zeros_like(images)
        variable = zeros
        if self.bounds is not None:
            scaled_images = (images - self._middle) / (self.width / 2)
            variable = tf.atanh(_TANH_SCALE * scaled_images)
        return {"variable": variable, "first": zeros, "second": zeros}

    def iterate(self, classifier, examples, state):
        """Takes one step of Adam down the loss."""
        images, derivative = self._compute_images(examples, state["variable"])
        logits, hinge, gradient = classifier.gradient(
            lambda logits: self.compute_hinge(examples.labels, logits), images
        )
        delta = (images - self._compute_origin(examples)) / self.width
        constant = norms.expand_like(state["constant"], images)
        # loss = ||x'(w) - x'(w_0)||_2^2 + c f(x'(w)), slope by dx'/dw.
        gradient = derivative * (2 / self.width * delta + constant * gradient)
        distance = tf.reduce_sum(tf.square(delta), range(1, images.shape.rank))
        loss = distance + state["constant"] * hinge
        return self._apply_adam(state, gradient), Trial(images, logits, distance, loss)

    @property
    def _middle(self):
        return (self.bounds[0] + self.bounds[1]) / 2

    def _compute_origin(self, examples):
        """Returns x'(w_0), the image that the distance is taken from."""
        if self.bounds is None:
            return examples.images
        return self._middle + _TANH_SCALE * (examples.images - self._middle)

    def _compute_images(self, examples, variable):
        """Returns the images, and their slope by the variable."""
        if self.bounds is None:
            return examples.images + variable, 1.0
        # x'(w) = middle + width / 2 tanh w
        tanh_variable = tf.tanh(variable)
        images = self._middle + self.width / 2 * tanh_variable
        derivative = self.width / 2 * (1 - tf.square(tanh_variable))
        return base.clip(images, self.bounds), derivative

    def _apply_adam(self, state, gradient):
        """Returns the variables after one step of Adam."""
        step_number = tf.cast(state["step"] + 1, tf.float32)
        first = _BETA_1 * state["first"] + (1 - _BETA_1) * gradient
        second = _BETA_2 * state["second"] + (1 - _BETA_2) * tf.square(gradient)
        # w <- w - rate (m / (1 - b_1^k)) / (sqrt(v / (1 - b_2^k)) + epsilon)
        bias_root = tf.sqrt(1 - _BETA_2**step_number)
        step_size = self.learning_rate * bias_root / (1 - _BETA_1**step_number)
        update = norms.expand_like(step_size, gradient) * first
        update /= tf.sqrt(second) + norms.expand_like(_ADAM_EPSILON * bias_root, gradient)
        return {"variable": state["variable"] - update, "first": first, "second": second}
