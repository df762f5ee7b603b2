"""AutoAttack: four attacks with fixed options, one after the other.

It is the standard of robust accuracy. Each attack runs only on the images that withstood those
before it, so the result is the worst case over all.

```python
result = attacks.run("autoattack", classifier, images, labels, epsilon=8 / 255)
print(result.robust_accuracy, result.after_stages())
```
"""

import dataclasses

from qup import attacks
from qup.attacks import method
from qup.attacks.apgd import APGDCE, APGDDLR, APGDT
from qup.attacks.fab import FAB, FABT
from qup.attacks.square import Square
from qup.core import errors, norms

_STEPS = {"num_steps": 100}
_QUERIES = {"num_queries": 5000, "p_init": 0.8, "rescale_schedule": False, "loss": "margin"}
# The attacks of each version, in order, with their options.
_STANDARD = (
    (APGDCE, _STEPS),
    (APGDT, _STEPS | {"num_targets": 9}),
    (FABT, _STEPS | {"num_targets": 9}),
    (Square, _QUERIES),
)
_STANDARD_L1 = (
    (APGDCE, _STEPS | {"restarts": 5}),
    (APGDT, _STEPS | {"num_targets": 5}),
    *_STANDARD[2:],
)
_PLUS = (
    (APGDCE, _STEPS | {"restarts": 5}),
    (APGDDLR, _STEPS | {"restarts": 5}),
    (FAB, _STEPS | {"restarts": 5}),
    (Square, _QUERIES),
    (APGDT, _STEPS | {"num_targets": 9}),
    (FABT, _STEPS | {"num_targets": 9}),
)
_RAND = ((APGDCE, _STEPS | {"expectation": 20}), (APGDDLR, _STEPS | {"expectation": 20}))
_VERSIONS = {"standard": _STANDARD, "plus": _PLUS, "rand": _RAND}


@attacks.register("autoattack", kind="budget", norms=norms.NAMES, gradients=True, classes=4)
@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoAttack(method.Method):
    """Runs APGD on two losses, FAB and Square with the published options.

    Attributes:
      epsilon: Radius of the ball in `norm`, in the units of `bounds`.
      norm: "linf", "l2" or "l1".
      version: "standard" (apgd_ce, apgd_t, fab_t, square), "plus" (more restarts, and the
        untargeted apgd_dlr and fab), or "rand" (apgd_ce and apgd_dlr, for random classifiers).

    Reference: Croce and Hein 2020, arXiv 2003.01690; in L1, Croce and Hein 2021, arXiv 2103.01208.
    """

    epsilon: float
    norm: str = "linf"
    version: str = "standard"

    def check(self):
        """Checks the version."""
        if self.version not in _VERSIONS:
            raise errors.make_unknown_error("version", self.version, _VERSIONS)

    @property
    def min_classes(self):
        """Four for the targeted DLR loss, three for the untargeted."""
        return 3 if self.version == "rand" else super().min_classes

    def stages(self):
        """The stages of all attacks, in the published order."""
        attacks_and_options = _VERSIONS[self.version]
        if self.norm == "l1" and self.version == "standard":
            attacks_and_options = _STANDARD_L1
        shared_options = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "version"
        }
        return tuple(
            stage
            for attack_class, options in attacks_and_options
            for stage in attack_class(**shared_options, **options).stages()
        )
