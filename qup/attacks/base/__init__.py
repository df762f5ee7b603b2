"""What every attack is made of: `init`, `step` and `done`.

```python
@attacks.register("fgsm", kind="budget", norms=("linf",))
@dataclasses.dataclass(frozen=True, kw_only=True)
class FGSM(base.Method):
    epsilon: float

    def init(self, victim, examples): ...
    def step(self, victim, examples, state): ...
    def done(self, examples, state): ...
```
"""

from qup.attacks.base.checks import check_batch, check_number, validate_bounds
from qup.attacks.base.loops import compile_repeated_step
from qup.attacks.base.method import Count, Examples, Method, State, clip, get_box_width
from qup.attacks.base.victim import QueryCounter, adversarial

__all__ = (
    "Count",
    "Examples",
    "Method",
    "QueryCounter",
    "State",
    "adversarial",
    "check_batch",
    "check_number",
    "clip",
    "compile_repeated_step",
    "get_box_width",
    "validate_bounds",
)
