"""A check as a function of a classifier and images."""

import inspect
from collections.abc import Callable
from typing import Any

from qup import errors, masking
from qup.masking.case import Case
from qup.masking.finding import Finding, unchecked
from qup.types import LogitsFn

# What every check takes besides the classifier, images and labels.
COMMON = ("epsilon", "norm", "bounds", "seed", "batch_size", "attack",
           "attack_options")  # fmt: skip


def own_options(check: Callable) -> dict[str, inspect.Parameter]:
    """Returns the keyword-only parameters of a check, by name."""
    parameters = inspect.signature(check).parameters
    return {k: p for k, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def public(check: Callable[..., Finding]) -> Callable[..., Finding]:
    """Returns the check as a function of a classifier and images.

    Args:
      check: check(case, **options) -> Finding.

    Returns:
      A function of `logits_fn`, `images` and `labels`, by keyword the
      attributes of a `Case` and the check's own options.
    """
    own = own_options(check)

    def examined(
        logits_fn: LogitsFn, images, labels, *, epsilon: float, **options: Any
    ) -> Finding:
        for option in options:
            if option not in {*own, *COMMON}:
                known = [*COMMON, *own]
                raise errors.unknown(
                    f"option of {check.__name__}", option, known
                )
        special = {k: v for k, v in options.items() if k in own}
        common = {k: v for k, v in options.items() if k not in own}
        case = Case.of(logits_fn, images, labels, epsilon=epsilon, **common)
        return check(case, **special)

    taken = inspect.signature(Case).parameters
    first = list(inspect.signature(examined).parameters.values())[:3]
    examined.__signature__ = inspect.Signature(
        [*first, *(taken[name] for name in COMMON), *own.values()]
    )
    examined.__name__ = examined.__qualname__ = check.__name__
    examined.__module__, examined.__doc__ = check.__module__, check.__doc__
    return examined


def examine(case: Case, name: str) -> Finding:
    """Makes a check with the case's options for it, once.

    Returns:
      Its finding; "not checked", with the reason, where the check cannot
      be made of this classifier.

    Raises:
      InputError: No such check.
    """
    check = masking.traits(name)["check"]
    if name not in case.memory:
        try:
            found = check(case, **case.options.get(name, {}))
        except errors.InputError as error:
            found = unchecked(name, str(error), len(case.labels))
        case.memory[name] = found
    return case.memory[name]
