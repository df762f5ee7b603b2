"""From what a user names to an `AttackRunner`, everything checked."""

from collections.abc import Callable
from typing import Any

import numpy as np

from qup import attacks, errors, norms
from qup.attacks import targets as choices
from qup.attacks.base import called
from qup.attacks.base.attacker import AttackRunner
from qup.attacks.base.parts import ClassifierPair
from qup.attacks.base.verdict import DISTANCE_NORMS


def build_attack_runner(
    attack: str | Callable,
    classifiers: ClassifierPair,
    epsilon,
    targets,
    batch_size: int,
    options: dict[str, Any],
) -> AttackRunner:
    """Prepares an attack for one budget.

    Args:
      attack: A registered name or a function, see `run`.
      classifiers: Who is attacked, and who decides.
      epsilon: The budget, a float, float [n], or None.
      targets: See `run`.
      batch_size: Rows a batch.
      options: The attack's own, with bounds and seed.

    Raises:
      InputError: An option or targets that the attack cannot use.
    """
    if options.get("targeted", False) is not False:
        raise errors.InputError(
            "run takes no targeted: labels are the true classes, and must "
            f"not be taken for targets; got {options['targeted']!r}. Name "
            "the targets by targets=..., integers [n], 'least_likely', "
            "'random', 'second_likely' or 'all'."
        )
    method, function, name = _resolve_attack(attack)
    if isinstance(targets, str) and targets != "all":
        choices.check_target_choice(targets)
    arguments = dict(options)
    if epsilon is not None and (function or _has_option(method, "epsilon")):
        arguments["epsilon"] = float(np.max(epsilon, initial=0))
    if targets is not None:
        if not (function and called.accepts_option(function, "targeted")) and not _has_option(
            method, "targeted"
        ):
            raise errors.InputError(f"{name} takes no targets: it has no targeted form.")
        arguments["targeted"] = True
    if function is not None:
        arguments = called.filter_options(function, arguments, name)
        norms.check_norm(arguments.get("norm", "linf"), DISTANCE_NORMS)
    return AttackRunner(
        name=name,
        method=method and attacks.build_method(name, **arguments),
        function=function,
        options={} if method else arguments,
        bounds=options["bounds"],
        classifiers=classifiers,
        batch_size=batch_size,
        targets=targets,
        epsilon=epsilon,
        seed=options["seed"],
    )


def _resolve_attack(attack: str | Callable) -> tuple[type | None, Callable | None, str]:
    """Returns the attack as a method or as a function, and its name."""
    if callable(attack):
        return None, attack, getattr(attack, "__name__", "function")
    method = attacks.traits(attack)["method"]
    return method, None if method else attacks.get(attack), attack


def _has_option(method: type | None, option: str) -> bool:
    return method is not None and option in method.__dataclass_fields__
