"""Checks of masking as functions, and all of them in one call.

```python
results = masking.diagnose(
    classifier, images, labels, epsilon=0.1,
    options={"transfer": {"source": other}, "black_box": {"num_queries": 5000}},
)
```
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from qup import attacks
from qup.core import errors
from qup.core.types import LogitsFn
from qup.robustness import masking
from qup.robustness.masking.case import CheckResult, DiagnosisCase, build_unchecked_result

# Options of every check.
_CASE_OPTIONS = ("epsilon", "norm", "bounds", "seed", "batch_size", "attack", "attack_options")


def wrap_check(check: Callable[..., CheckResult]) -> Callable[..., CheckResult]:
    """Returns check(case, **options) as a function of a classifier and images.

    Its keyword arguments are the attributes of a `DiagnosisCase` and the options of the check.
    """
    check_options = _get_check_options(check)

    def run(logits_fn: LogitsFn, images, labels, *, epsilon: float, **options: Any) -> CheckResult:
        for option in options:
            if option not in {*check_options, *_CASE_OPTIONS}:
                known = [*_CASE_OPTIONS, *check_options]
                raise errors.make_unknown_error(f"option of {check.__name__}", option, known)
        check_arguments = {k: v for k, v in options.items() if k in check_options}
        case_arguments = {k: v for k, v in options.items() if k not in check_options}
        case = DiagnosisCase.create(logits_fn, images, labels, epsilon=epsilon, **case_arguments)
        return check(case, **check_arguments)

    case_parameters = inspect.signature(DiagnosisCase).parameters
    positional = list(inspect.signature(run).parameters.values())[:3]
    run.__signature__ = inspect.Signature(
        [*positional, *(case_parameters[name] for name in _CASE_OPTIONS), *check_options.values()]
    )
    run.__name__ = run.__qualname__ = check.__name__
    run.__module__, run.__doc__ = check.__module__, check.__doc__
    return run


def _get_check_options(check: Callable) -> dict[str, inspect.Parameter]:
    """Returns the keyword-only parameters of a check, by name."""
    parameters = inspect.signature(check).parameters
    return {k: p for k, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def run_check(case: DiagnosisCase, name: str) -> CheckResult:
    """Makes a check with the case's options for it, once per case.

    Returns:
      Its result; "not checked", with the reason, if the check is impossible for this classifier.

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


def diagnose(
    logits_fn: LogitsFn,
    images,
    labels,
    *,
    epsilon: float,
    checks: Iterable[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    on_progress: Callable[[CheckResult], None] = lambda result: None,
    **settings: Any,
) -> list[CheckResult]:
    """Makes the checks; several of them share attacks.

    Args:
      logits_fn: The classifier, a Keras model or a function.
      images: float [n, ...] inside the bounds, or uint8 (value / 255).
      labels: int [n], the true classes.
      epsilon: The budget in the units of the bounds.
      checks: Names of the checks; None means all.
      options: Options of checks, by the check's name.
      on_progress: Called with each result immediately.
      **settings: norm, bounds, seed, batch_size, attack and attack_options, see `DiagnosisCase`.

    Returns:
      One result per registered check, in the order of names; "not checked", with the reason, for
      one that was not requested or is impossible for this classifier.

    Raises:
      InputError: An argument that cannot be used, an unknown check or an unknown option.
    """
    requested = set(masking.names() if checks is None else checks)
    options = options or {}
    for name in sorted({*requested, *options}):
        known = _get_check_options(masking.traits(name)["check"])
        for option in options.get(name, {}):
            if option not in known:
                raise errors.make_unknown_error(f"option of {name}", option, known)
    if unknown := settings.keys() - set(_CASE_OPTIONS):
        raise errors.make_unknown_error("setting of diagnose", min(unknown), _CASE_OPTIONS)
    attack = settings.get("attack")
    if isinstance(attack, str):
        attacks.bind(attack, **(settings.get("attack_options") or {}))  # Checks the options.
    elif attack is not None and not callable(attack):
        raise errors.InputError(
            f"attack must be an attack's name, a function or None; got {attack!r}."
        )
    case = DiagnosisCase.create(
        logits_fn, images, labels, epsilon=epsilon, options=options, **settings
    )
    results = []
    for name in masking.names():
        if name in requested:
            result = run_check(case, name)
        else:
            result = build_unchecked_result(name, "Not requested.", len(case.labels))
        on_progress(result)
        results.append(result)
    return results
