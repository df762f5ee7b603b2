"""The Fast Adaptive Boundary attack towards the next likely classes in turn.

One gradient a step, where `fab` takes one a class.

```python
attacked = attacks.get("fab_t")(classifier, images, labels, norm="l2")
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks, errors, norms
from qup.attacks import targets
from qup.attacks.fab import FAB


@attacks.register("fab_t", kind="minimum_norm", norms=norms.NAMES, gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class FABT(FAB):
    """Steps to the linearised boundary of one target a part.

    The labels are true classes, and any other class is success.

    Attributes:
      epsilon, norm, num_steps, restarts, alpha_max, eta, beta: See `FAB`.
      num_targets: Number of targets: the classes that are most likely on
        the clean image, after the true one. Where there are fewer, the
        parts that are left do nothing.

    Reference: Croce and Hein 2020, arXiv 1907.02044; arXiv 2003.01690,
    Sec. 5, for the targets.
    """

    num_targets: int = 9

    def check(self):
        """Raises an InputError for an option out of its range."""
        super().check()
        errors.check_number("num_targets", self.num_targets, at_least=1)

    def stages(self):
        """One part a target."""
        return (self,) * int(self.num_targets)

    def init_target(self, examples, logits):
        """Picks the target by its rank on the clean image."""
        rank = examples.part + 1
        has_no_target = tf.fill(examples.labels.shape, rank >= logits.shape[1])
        target = targets.select_ranked_class(logits, examples.labels, rank)
        return {"target": target, "over": has_no_target}

    def done(self, examples, state):
        """After every start, once inside epsilon, or without a target."""
        return super().done(examples, state) | state["over"]

    def linearise_boundary(self, classifier, examples, state):
        """Returns z_t - z_y and its gradient."""

        def compute_difference(logits):
            target_logit = tf.gather(logits, state["target"], batch_dims=1)
            return target_logit - tf.gather(logits, examples.labels, batch_dims=1)

        _, values, gradients = classifier.gradient(compute_difference, state["images"])
        return values, gradients
