"""A check as a function of a classifier and images."""

import inspect
from collections.abc import Callable
from typing import Any

from qup import errors, masking
from qup.masking.case import DiagnosisCase
from qup.masking.finding import CheckResult, build_unchecked_result
from qup.types import LogitsFn

# What every check takes besides the classifier, images and labels.
CASE_OPTIONS = ("epsilon", "norm", "bounds", "seed", "batch_size", "attack", "attack_options")


def get_check_options(check: Callable) -> dict[str, inspect.Parameter]:
    """Returns the keyword-only parameters of a check, by name."""
    parameters = inspect.signature(check).parameters
    return {k: p for k, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def wrap_check(check: Callable[..., CheckResult]) -> Callable[..., CheckResult]:
    """Returns the check as a function of a classifier and images.

    Args:
      check: check(case, **options) -> Finding.

    Returns:
      A function of `logits_fn`, `images` and `labels`, by keyword the
      attributes of a `DiagnosisCase` and the check's own options.
    """
    check_options = get_check_options(check)

    def run(logits_fn: LogitsFn, images, labels, *, epsilon: float, **options: Any) -> CheckResult:
        for option in options:
            if option not in {*check_options, *CASE_OPTIONS}:
                known = [*CASE_OPTIONS, *check_options]
                raise errors.make_unknown_error(f"option of {check.__name__}", option, known)
        check_arguments = {k: v for k, v in options.items() if k in check_options}
        case_arguments = {k: v for k, v in options.items() if k not in check_options}
        case = DiagnosisCase.create(logits_fn, images, labels, epsilon=epsilon, **case_arguments)
        return check(case, **check_arguments)

    case_parameters = inspect.signature(DiagnosisCase).parameters
    positional = list(inspect.signature(run).parameters.values())[:3]
    run.__signature__ = inspect.Signature(
        [*positional, *(case_parameters[name] for name in CASE_OPTIONS), *check_options.values()]
    )
    run.__name__ = run.__qualname__ = check.__name__
    run.__module__, run.__doc__ = check.__module__, check.__doc__
    return run


def run_check(case: DiagnosisCase, name: str) -> CheckResult:
    """Makes a check with the case's options for it, once.

    Returns:
      Its finding; "not checked", with the reason, where the check cannot
      be made of this classifier.

    Raises:
      InputError: No such check.
    """
    check = masking.traits(name)["check"]
    if name not in case.cache:
        try:
            result = check(case, **case.options.get(name, {}))
        except errors.InputError as error:
            result = build_unchecked_result(name, str(error), len(case.labels))
        case.cache[name] = result
    return case.cache[name]
