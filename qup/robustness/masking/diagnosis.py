"""All checks of masking in one call.

```python
findings = masking.diagnose(
    classifier, images, labels, epsilon=0.1,
    options={"transfer": {"source": other}, "black_box": {"num_queries": 5000}},
)
```
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from qup import attacks
from qup.core import errors
from qup.core.types import LogitsFn
from qup.robustness import masking
from qup.robustness.masking import case as masking_case
from qup.robustness.masking.case import CheckResult, DiagnosisCase, build_unchecked_result


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
    """Makes the checks, sharing the attacks that several of them need.

    Args:
      logits_fn: The classifier, a Keras model or a function.
      images: float [n, ...] inside the bounds.
      labels: int [n], the true classes.
      epsilon: The budget in the units of the bounds.
      checks: Names of the checks to make; None for all.
      options: Options of checks, by the check's name.
      on_progress: Called with each finding as soon as it is there.
      **settings: norm, bounds, seed, batch_size, attack and attack_options,
        see `DiagnosisCase`.

    Returns:
      One finding for each check, by name; "not checked", with the reason,
      for one that was left out or cannot be made of this classifier.

    Raises:
      InputError: Something that cannot be examined, an unknown check or an
        unknown option.
    """
    requested = set(masking.names() if checks is None else checks)
    options = options or {}
    for name in sorted({*requested, *options}):
        known = masking_case.get_check_options(masking.traits(name)["check"])
        for option in options.get(name, {}):
            if option not in known:
                raise errors.make_unknown_error(f"option of {name}", option, known)
    if unknown := settings.keys() - set(masking_case.CASE_OPTIONS):
        raise errors.make_unknown_error(
            "setting of diagnose", min(unknown), masking_case.CASE_OPTIONS
        )
    _check_attack(settings)
    case = DiagnosisCase.create(
        logits_fn, images, labels, epsilon=epsilon, options=options, **settings
    )
    results = []
    for name in masking.names():
        if name in requested:
            result = run_check(case, name)
        else:
            result = build_unchecked_result(name, "Left out by the caller.", len(case.labels))
        on_progress(result)
        results.append(result)
    return results


def _check_attack(settings: Mapping[str, Any]) -> None:
    """Raises an InputError for an attack or an option of it that is none."""
    attack = settings.get("attack")
    if isinstance(attack, str):
        attacks.bind(attack, **(settings.get("attack_options") or {}))
    elif attack is not None and not callable(attack):
        raise errors.InputError(
            f"attack must be an attack's name, a function or None; got {attack!r}."
        )
