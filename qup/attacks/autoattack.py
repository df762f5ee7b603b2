"""AutoAttack: four attacks with fixed options, one after the other.

It is the standard of robust accuracy. Each attack runs only on the images that withstood those
before it, so the result is the worst case over all.

```python
result = attacks.run("autoattack", classifier, images, labels, epsilon=8 / 255)
print(result.robust_accuracy, result.after_stages())
```
"""

import dataclasses
from typing import ClassVar

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
# The fewest classes for which the DLR losses are defined.
_DLR_CLASSES = {APGDDLR: 3, APGDT: 4}


@attacks.register("autoattack", kind="budget", norms=norms.NAMES, gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoAttack(method.Method):
    """Runs APGD on two losses, FAB and Square with the published options.

    The DLR losses need three classes, the targeted one four. With three classes apgd_dlr replaces
    apgd_t, with two classes both are left out, and fab_t has one target less than there are
    classes. This is not the published ensemble, so its name is another one:
    `autoattack_3_classes`, `autoattack_2_classes`.

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

    def for_classes(self, num_classes):
        """Returns the ensemble for two or three classes; itself for more."""
        attack_class = _FEW_CLASSES.get(num_classes)
        if attack_class is None:
            return self
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return attack_class(**options)

    def stages(self):
        """The stages of all attacks, in the published order."""
        shared_options = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "version"
        }
        return tuple(
            stage
            for attack_class, options in self._list_attacks()
            for stage in attack_class(**shared_options, **options).stages()
        )

    def _list_attacks(self):
        """Returns the attacks of the version, in order, with their options."""
        if self.norm == "l1" and self.version == "standard":
            return _STANDARD_L1
        return _VERSIONS[self.version]


class _AutoAttackOfFewClasses(AutoAttack):
    """AutoAttack without the losses that need more classes."""

    num_classes: ClassVar[int]

    def _list_attacks(self):
        chosen = []
        for attack_class, options in super()._list_attacks():
            if attack_class is APGDT and self.num_classes == _DLR_CLASSES[APGDDLR]:
                attack_class = APGDDLR
            if self.num_classes < _DLR_CLASSES.get(attack_class, 0):
                continue
            options = dict(options)
            num_targets = options.pop("num_targets", None)
            if attack_class is FABT:
                options["num_targets"] = min(num_targets, self.num_classes - 1)
            # The full ensemble may contain the untargeted form as well.
            if attack_class not in [other for other, _ in chosen]:
                chosen.append((attack_class, options))
        return chosen


class _AutoAttackOf2Classes(_AutoAttackOfFewClasses):
    name = "autoattack_2_classes"
    num_classes = 2


class _AutoAttackOf3Classes(_AutoAttackOfFewClasses):
    name = "autoattack_3_classes"
    num_classes = 3


_FEW_CLASSES = {2: _AutoAttackOf2Classes, 3: _AutoAttackOf3Classes}
