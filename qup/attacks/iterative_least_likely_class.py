"""The iterative least-likely class method: row three of Table 4.

```python
attack = attacks.get("iterative_least_likely_class")
attacked = attack(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses

from qup import attacks, norms
from qup.attacks import base, basic_iterative, losses, targets


@attacks.register("iterative_least_likely_class", kind="budget", norms=("linf",), gradients=True)
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
        basic_iterative.check_step_options(self.step_size, self.num_steps)

    def stages(self):
        """One descent, its numbers filled in."""
        step_size, num_steps = basic_iterative.choose_kurakin_steps(self)
        return (
            _LeastLikelyDescent(
                bounds=self.bounds,
                seed=self.seed,
                xla=self.xla,
                epsilon=self.epsilon,
                step_size=step_size,
                num_steps=num_steps,
                use_row_steps=not self.num_steps,
            ),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _LeastLikelyDescent(base.Method):
    epsilon: float
    step_size: float
    num_steps: base.Count
    # Kurakin's number for each row's own budget, in place of `num_steps`.
    use_row_steps: bool

    name = "iterative_least_likely_class"

    def count_fixed_steps(self):
        return None if self.use_row_steps else int(self.num_steps)

    def init(self, classifier, examples):
        logits = classifier.logits(examples.images)
        return {
            "images": examples.images,
            "target": targets.select_ranked_class(logits, examples.labels, -1),
            "step": examples.labels * 0,
        }

    def step(self, classifier, examples, state):
        # X_{N+1} = Clip{X_N - alpha sign(grad_X l(f(X_N), y_LL))}  (Table 4)
        perturbed = state["images"] - self.conjugate(classifier, examples, state)
        delta = norms.project(perturbed - examples.images, examples.budget(), "linf")
        return state | {
            "images": base.clip(examples.images + delta, self.bounds),
            "step": state["step"] + 1,
        }

    def done(self, examples, state):
        num_steps = self.num_steps
        if self.use_row_steps:
            num_steps = basic_iterative.count_kurakin_steps(self, examples)
        return state["step"] >= num_steps

    def conjugate(self, classifier, examples, state):
        return self.step_size * losses.compute_target_sign(
            classifier, state["images"], state["target"]
        )
