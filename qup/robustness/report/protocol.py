"""The attacks of an evaluation: the standard protocol, or the attacks that were named.

`standard` is: clean accuracy, PGD of 40 steps at several budgets for the curve, AutoAttack (Croce
and Hein 2020, arXiv 2003.01690) at each requested budget, then the search for masked gradients.
"""

import dataclasses
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from qup import attacks
from qup.core import errors

STANDARD = "standard"
STANDARD_NORMS = ("linf", "l2", "l1")
# Attacks after which a robust accuracy counts as checked, if the search for masking agrees.
STRONG_ATTACKS = ("autoattack",)
# Name of the curve of all attacks together.
WORST_CASE = "worst case"
NORM_NAMES = {"linf": "L-inf", "l2": "L2", "l1": "L1", "l0": "L0"}
_ATTACK_NAMES = {
    "apgd_ce": "APGD-CE",
    "apgd_dlr": "APGD-DLR",
    "apgd_t": "APGD-T",
    "autoattack": "AutoAttack",
    "carlini_wagner": "Carlini-Wagner",
    "ddn": "DDN",
    "deepfool": "DeepFool",
    "fab": "FAB",
    "fab_t": "FAB-T",
    "fgsm": "FGSM",
    "fmn": "FMN",
    "jsma": "JSMA",
    "pdpgd": "PDPGD",
    "pgd": "PGD",
    "pgd4": "PGD-4",
    "spsa": "SPSA",
    "sparsefool": "SparseFool",
    "square": "Square",
}
# The budgets of the curve, as multiples of the largest requested one, if few are requested.
_MIN_CURVE_BUDGETS = 5
_CURVE_FACTORS = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
_NUM_CURVE_STEPS = 40


@dataclasses.dataclass(frozen=True)
class PlannedAttack:
    """One attack of an evaluation.

    Attributes:
      name: Registered name.
      epsilons: Its budgets, increasing; empty for an attack without one.
      options: Further options of the attack.
    """

    name: str
    epsilons: tuple[float, ...]
    options: Mapping[str, Any]


def plan_standard(
    epsilons: Sequence[float], norm: str, *, highest: float = 1.0
) -> list[PlannedAttack]:
    """Returns the attacks of the standard protocol.

    Args:
      epsilons: The requested budgets, each above 0.
      norm: Their norm.
      highest: The largest budget of L-inf that means anything, the width of the range of pixels.
    """
    budgets = sorted(epsilons)
    curve_budgets = list(budgets)
    if len(budgets) < _MIN_CURVE_BUDGETS:
        for epsilon in (budgets[-1] * factor for factor in _CURVE_FACTORS):
            is_new = not any(math.isclose(epsilon, e, rel_tol=1e-6) for e in curve_budgets)
            if is_new and (norm != "linf" or epsilon <= highest):
                curve_budgets.append(epsilon)
    options: dict[str, Any] = {"num_steps": _NUM_CURVE_STEPS, "keep": "first_adversarial"}
    default_norm = attacks.get_norm("pgd")
    given_norm = {} if norm == default_norm else {"norm": norm}
    return [
        PlannedAttack("pgd", tuple(sorted(curve_budgets)), options | given_norm),
        PlannedAttack("autoattack", tuple(budgets), given_norm),
    ]


def choose_norm_option(name: str, norm: str) -> dict[str, str]:
    """Returns the option that gives an attack a norm; {} if it is the attack's default.

    Raises:
      InputError: The attack has no form in this norm.
    """
    norms_of_attack = attacks.traits(name)["norms"]
    if norm not in norms_of_attack:
        raise errors.InputError(
            f"{name} has no form in {norm}; it has {', '.join(norms_of_attack)}. Choose another "
            "norm or another attack."
        )
    return {} if norm == attacks.get_norm(name) else {"norm": norm}


def check_unit_range(norm: str, epsilon: float, name: str = "") -> None:
    """Raises an InputError for a budget in L-inf beyond the range of pixels.

    Args:
      norm: Its norm.
      epsilon: The budget.
      name: What it belongs to, for the message.
    """
    if norm == "linf" and epsilon > 1:
        prefix = f"{name}: " if name else ""
        raise errors.InputError(
            f"{prefix}epsilon must be in units of [0, 1], the range of pixels; received "
            f"{epsilon:g}. Divide by 255 if it is for 8-bit pixels: {epsilon:g}/255."
        )


def add_early_leaving(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options with which a broken image leaves the attack, if the attack has the option."""
    parameters = inspect.signature(attacks.get(name)).parameters
    early = {"keep": "first_adversarial"} if "keep" in parameters else {}
    return {**early, **options}


def get_attack_name(name: str) -> str:
    """Returns the name of a registered attack as papers write it."""
    return _ATTACK_NAMES.get(name, name)
