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


@attacks.register(
    "apgd_t", kind="budget", norms=norms.NAMES, gradients=True, classes=4
)
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
        errors.check_number("num_targets", self.num_targets, least=1)

    def parts(self):
        """One part a target; every restart goes through all."""
        once = dataclasses.replace(self, restarts=1)
        return (once,) * (int(self.restarts) * int(self.num_targets))

    def aim(self, examples, logits):
        """Picks the target by its rank on the clean image."""
        rank = examples.part % int(self.num_targets) + 1
        none = tf.fill(examples.labels.shape, rank >= logits.shape[1])
        target = targets.ranked(logits, examples.labels, rank)
        return {"target": target, "over": none}

    def objective(self, examples, state):
        """The targeted DLR of the row's target."""
        return lambda logits: targeted_dlr(
            logits, examples.labels, state["target"]
        )


def targeted_dlr(
    logits: tf.Tensor, labels: tf.Tensor, aims: tf.Tensor
) -> tf.Tensor:
    """Returns the targeted difference of logits ratio, float32 [batch].

    Unchanged when the logits are multiplied or shifted.

    Args:
      logits: float32 [batch, classes], four classes at least.
      labels: int32 [batch], the true classes y.
      aims: int32 [batch], the targets t.
    """
    top = tf.math.top_k(logits, 4).values
    true = tf.gather(logits, labels, batch_dims=1)
    target = tf.gather(logits, aims, batch_dims=1)
    # -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)
    spread = top[:, 0] - 0.5 * (top[:, 2] + top[:, 3])
    return (target - true) / (spread + 1e-12)
