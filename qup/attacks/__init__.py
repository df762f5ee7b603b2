"""Adversarial attacks: `name(logits_fn, images, labels, *, ...)`, one family per file.

```python
images = attacks.get("pgd")(classifier, images, labels, epsilon=0.1)
attack = attacks.bind("pgd", epsilon=0.1)  # For robustness.evaluation.evaluate_attack.
# An AttackResult: images, success, distances, calls.
result = attacks.run("deepfool", classifier, images, labels, batch_size=128)
```

An attack consists of `init`, `step` and `done`:

```python
@attacks.register("fgsm", kind="budget", norms=("linf",))
@dataclasses.dataclass(frozen=True, kw_only=True)
class FGSM(attacks.Method):
    epsilon: float

    def init(self, classifier, examples): ...
    def step(self, classifier, examples, state): ...
    def done(self, examples, state): ...
```
"""

from qup.attacks.inputs import check_batch, check_number, validate_bounds
from qup.attacks.method import (
    Count,
    Examples,
    Method,
    QueryCounter,
    State,
    adversarial,
    clip,
    compile_repeated_step,
    get_box_width,
)
from qup.attacks.registry import (
    bind,
    build_method,
    conjugate,
    get,
    get_norm,
    names,
    register,
    traits,
)
from qup.attacks.results import AttackResult
from qup.attacks.runner import minimal_epsilon, run

__all__ = (
    "AttackResult",
    "Count",
    "Examples",
    "Method",
    "QueryCounter",
    "State",
    "adversarial",
    "bind",
    "build_method",
    "check_batch",
    "check_number",
    "clip",
    "compile_repeated_step",
    "conjugate",
    "get",
    "get_box_width",
    "get_norm",
    "minimal_epsilon",
    "names",
    "register",
    "run",
    "traits",
    "validate_bounds",
)
