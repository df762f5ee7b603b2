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

from qup.attacks.base.checks import (
    check_batch,
    check_number,
    checked_bounds,
)
from qup.attacks.base.loops import repeated
from qup.attacks.base.method import (
    Count,
    Examples,
    Method,
    State,
    clip,
    width,
)
from qup.attacks.base.victim import Victim, adversarial

__all__ = (
    "Count",
    "Examples",
    "Method",
    "State",
    "Victim",
    "adversarial",
    "check_batch",
    "check_number",
    "checked_bounds",
    "clip",
    "repeated",
    "width",
)
