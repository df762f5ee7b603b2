"""The closest adversarial image over a few minimum-norm attacks.

```python
result = attacks.run("minimum_norm", classifier, images, labels, norm="l2")
print(result.distances["l2"], result.stage)
```
"""

import dataclasses

from qup import attacks
from qup.attacks import method
from qup.attacks.carlini_wagner import CarliniWagner, ElasticNet
from qup.attacks.ddn import DDN
from qup.attacks.deepfool import DeepFool
from qup.attacks.fab import FAB, FABT
from qup.attacks.fmn import FMN
from qup.attacks.jsma import JSMA
from qup.attacks.pdpgd import PDPGD
from qup.attacks.sigma_zero import SigmaZero
from qup.attacks.sparsefool import SparseFool
from qup.core import errors, norms

# Classes instead of the registry's names: the name of this attack is that of a kind of attacks, and
# a step of a pipeline that mentions it would depend on the code of every attack.
_MEMBERS = (
    *(CarliniWagner, DDN, DeepFool, ElasticNet, FAB, FABT, FMN, JSMA, PDPGD, SigmaZero),
    SparseFool,
)
# The members with options that differ from their defaults; by measurement, see docs/optimality.md.
_LOG_ODDS = {"loss": "log_odds"}
_BEST = {
    "linf": (("fmn", {}), ("fmn", _LOG_ODDS), ("fab", {})),
    "l2": (("fmn", {}), ("ddn", {}), ("fab", {})),
    "l1": (("fmn", {}), ("fmn", _LOG_ODDS), ("fab_t", {})),
    "l0": (("sigma_zero", {}), ("fmn", {})),
}


@attacks.register("minimum_norm", kind="minimum_norm", norms=(*norms.NAMES, "l0"), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class MinimumNorm(method.Method):
    """Runs several attacks with their default options on all images; the closest image counts.

    `AttackResult.stage` says which attack has found it. With targets, "best" runs those members
    that have a targeted form.

    Attributes:
      norm: "linf", "l2", "l1" or "l0" (elements, height x width x channels).
      targeted: The labels are targets.
      members: "best", or names of minimum-norm attacks in this norm, separated by commas. "best"
        is fmn on the margin and on the log odds, and fab, in L-inf; fmn, ddn and fab in L2; fmn on
        both losses, and fab_t, in L1; sigma_zero and fmn in L0.
    """

    norm: str = "linf"
    targeted: bool = False
    members: str = "best"

    def check(self):
        """Checks that every member is a minimum-norm attack in this norm."""
        self.stages()

    def stages(self):
        """The stages of all members, in order."""
        return tuple(
            stage
            for name, options in self._select_members()
            for stage in self._build(name, options)
        )

    def _select_members(self) -> tuple[tuple[str, dict], ...]:
        """Returns the names of the members, each with its options."""
        if not isinstance(self.members, str):
            raise errors.InputError(
                'members must be "best" or names separated by commas, such as "ddn,fab"; received '
                f"{self.members!r}."
            )
        if self.members != "best":
            return tuple((name.strip(), {}) for name in self.members.split(","))
        return tuple(
            (name, options)
            for name, options in _BEST[self.norm]
            if not self.targeted or any(m.name == name and _is_targeted(m) for m in _MEMBERS)
        )

    def _build(self, name: str, options: dict) -> tuple[method.Method, ...]:
        """Returns the stages of a member.

        Raises:
          InputError: The attack does not exist or does not fit.
        """
        known = {
            other.name: other
            for other in _MEMBERS
            if self.norm in other.traits["norms"] and (_is_targeted(other) or not self.targeted)
        }
        if name not in known:
            raise errors.make_unknown_error(f"member of minimum_norm in {self.norm}", name, known)
        options = options | {"bounds": self.bounds, "seed": self.seed, "xla": self.xla}
        if len(known[name].traits["norms"]) > 1:
            options["norm"] = self.norm
        if self.targeted:
            options["targeted"] = True
        return method.create_method(known[name], options).stages()


def _is_targeted(member: type[method.Method]) -> bool:
    return "targeted" in member.__dataclass_fields__
