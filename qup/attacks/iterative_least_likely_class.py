"""The iterative least-likely class method: row three of Table 4.

```python
attack = attacks.get("iterative_least_likely_class")
attacked = attack(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses

from qup import attacks, norms
from qup.attacks import base, basic_iterative, losses, targets


@attacks.register(
    "iterative_least_likely_class",
    kind="budget",
    norms=("linf",),
    gradients=True,
)
@dataclasses.dataclass(frozen=True, kw_only=True)
class IterativeLeastLikelyClass(base.Method):
    """Descends the loss of the class that was least likely at first.

    The target is fixed by the clean image. Success is any other class than
    the label.

    Attributes:
      epsilon: Radius of the L-inf ball, in the units of `bounds`.
      step_size: Length of a step; None means 1/255 of the box's width.
      num_steps: None means Kurakin's number, min(epsilon + 4, 1.25 epsilon)
        in units of 1/255 of the box's width, for each image's budget.

    Reference: Kurakin, Goodfellow, Bengio 2017, arXiv 1607.02533.
    """

    epsilon: float
    step_size: float | None = None
    num_steps: int | None = None

    def check(self):
        """Raises an InputError for a number out of its range."""
        basic_iterative.check(self.step_size, self.num_steps)

    def parts(self):
        """One descent, its numbers filled in."""
        size, count = basic_iterative.kurakin(self)
        return (
            _Descent(
                bounds=self.bounds, seed=self.seed, xla=self.xla,
                epsilon=self.epsilon, step_size=size, num_steps=count,
                own_steps=not self.num_steps,
            ),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Descent(base.Method):
    epsilon: float
    step_size: float
    num_steps: base.Count
    # Kurakin's number for each row's own budget, in place of `num_steps`.
    own_steps: bool

    name = "iterative_least_likely_class"

    def length(self):
        return None if self.own_steps else int(self.num_steps)

    def init(self, victim, examples):
        logits = victim.logits(examples.images)
        return {
            "images": examples.images,
            "target": targets.ranked(logits, examples.labels, -1),
            "step": examples.labels * 0,
        }

    def step(self, victim, examples, state):
        # X_{N+1} = Clip{X_N - alpha sign(grad_X l(f(X_N), y_LL))}  (Table 4)
        moved = state["images"] - self.conjugate(victim, examples, state)
        delta = norms.project(
            moved - examples.images, examples.budget(), "linf"
        )
        return state | {
            "images": base.clip(examples.images + delta, self.bounds),
            "step": state["step"] + 1,
        }

    def done(self, examples, state):
        count = self.num_steps
        if self.own_steps:
            count = basic_iterative.own_steps(self, examples)
        return state["step"] >= count

    def conjugate(self, victim, examples, state):
        return self.step_size * losses.target_sign(
            victim, state["images"], state["target"]
        )
