"""Auto-PGD towards the next likely classes in turn, as in AutoAttack.

```python
attacked = attacks.get("apgd_t")(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks, errors, norms
from qup.attacks import targets
from qup.attacks.apgd import APGD


@attacks.register("apgd_t", kind="budget", norms=norms.NAMES, gradients=True, classes=4)
@dataclasses.dataclass(frozen=True, kw_only=True)
class APGDT(APGD):
    """Climbs the targeted difference of logits ratio, one target a part.

    The labels are true classes, and any other class is success.

    Attributes:
      epsilon, norm, num_steps, rho, restarts, expectation: See `APGD`.
      num_targets: Number of targets: the classes that are most likely on
        the clean image, after the true one. Where there are fewer, the
        parts that are left do nothing.

    Reference: Croce and Hein 2020, arXiv 2003.01690, Eq. 7.
    """

    num_targets: int = 9

    def check(self):
        """Raises an InputError for an option out of its range."""
        super().check()
        errors.check_number("num_targets", self.num_targets, at_least=1)

    def stages(self):
        """One part a target; every restart goes through all."""
        one_start = dataclasses.replace(self, restarts=1)
        return (one_start,) * (int(self.restarts) * int(self.num_targets))

    def init_target(self, examples, logits):
        """Picks the target by its rank on the clean image."""
        rank = examples.part % int(self.num_targets) + 1
        has_no_target = tf.fill(examples.labels.shape, rank >= logits.shape[1])
        target = targets.select_ranked_class(logits, examples.labels, rank)
        return {"target": target, "over": has_no_target}

    def build_objective(self, examples, state):
        """The targeted DLR of the row's target."""
        return lambda logits: compute_targeted_dlr(logits, examples.labels, state["target"])


def compute_targeted_dlr(
    logits: tf.Tensor, labels: tf.Tensor, target_classes: tf.Tensor
) -> tf.Tensor:
    """Returns the targeted difference of logits ratio, float32 [batch].

    Unchanged when the logits are multiplied or shifted.

    Args:
      logits: float32 [batch, classes], four classes at least.
      labels: int32 [batch], the true classes y.
      target_classes: int32 [batch], the targets t.
    """
    top = tf.math.top_k(logits, 4).values
    true_logit = tf.gather(logits, labels, batch_dims=1)
    target_logit = tf.gather(logits, target_classes, batch_dims=1)
    # -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)
    denominator = top[:, 0] - 0.5 * (top[:, 2] + top[:, 3])
    return (target_logit - true_logit) / (denominator + 1e-12)
