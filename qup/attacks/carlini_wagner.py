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
_INSIDE = 0.999999
# Adam (Kingma and Ba 2015, arXiv 1412.6980).
_BETA_1, _BETA_2, _ADAM_EPSILON = 0.9, 0.999, 1e-8


@attacks.register(
    "carlini_wagner", kind="minimum_norm", norms=("l2",), gradients=True
)
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

    def start(self, examples):
        """Starts at the image, Adam's moments at zero."""
        images = examples.images
        zeros = tf.zeros_like(images)
        variable = zeros
        if self.bounds is not None:
            share = (images - self._middle) / (self.width / 2)
            variable = tf.atanh(_INSIDE * share)
        return {"variable": variable, "first": zeros, "second": zeros}

    def iterate(self, victim, examples, state):
        """Takes one step of Adam down the loss."""
        images, rate = self._images(examples, state["variable"])
        logits, missing, slope = victim.gradient(
            lambda logits: self.hinge(examples.labels, logits), images
        )
        delta = (images - self._origin(examples)) / self.width
        constant = norms.rows(state["constant"], images)
        # loss = ||x'(w) - x'(w_0)||_2^2 + c f(x'(w)), slope by dx'/dw.
        slope = rate * (2 / self.width * delta + constant * slope)
        far = tf.reduce_sum(tf.square(delta), range(1, images.shape.rank))
        loss = far + state["constant"] * missing
        return self._adam(state, slope), Trial(images, logits, far, loss)

    @property
    def _middle(self):
        return (self.bounds[0] + self.bounds[1]) / 2

    def _origin(self, examples):
        """Returns x'(w_0), the image that the distance is taken from."""
        if self.bounds is None:
            return examples.images
        return self._middle + _INSIDE * (examples.images - self._middle)

    def _images(self, examples, variable):
        """Returns the images, and their slope by the variable."""
        if self.bounds is None:
            return examples.images + variable, 1.0
        # x'(w) = middle + width / 2 tanh w
        bent = tf.tanh(variable)
        images = self._middle + self.width / 2 * bent
        slope = self.width / 2 * (1 - tf.square(bent))
        return base.clip(images, self.bounds), slope

    def _adam(self, state, slope):
        """Returns the variables after one step of Adam."""
        count = tf.cast(state["step"] + 1, tf.float32)
        first = _BETA_1 * state["first"] + (1 - _BETA_1) * slope
        second = _BETA_2 * state["second"] + (1 - _BETA_2) * tf.square(slope)
        # w <- w - rate (m / (1 - b_1^k)) / (sqrt(v / (1 - b_2^k)) + epsilon)
        root = tf.sqrt(1 - _BETA_2**count)
        scale = self.learning_rate * root / (1 - _BETA_1**count)
        move = norms.rows(scale, slope) * first
        move /= tf.sqrt(second) + norms.rows(_ADAM_EPSILON * root, slope)
        return {
            "variable": state["variable"] - move,
            "first": first,
            "second": second,
        }
