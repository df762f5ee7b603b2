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

from qup import attacks, errors, masking
from qup.masking import examination
from qup.masking.case import Case
from qup.masking.finding import Finding, unchecked
from qup.types import LogitsFn


def diagnose(
    logits_fn: LogitsFn,
    images,
    labels,
    *,
    epsilon: float,
    checks: Iterable[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    tick: Callable[[Finding], None] = lambda found: None,
    **settings: Any,
) -> list[Finding]:
    """Makes the checks, sharing the attacks that several of them need.

    Args:
      logits_fn: The classifier, a Keras model or a function.
      images: float [n, ...] inside the bounds.
      labels: int [n], the true classes.
      epsilon: The budget in the units of the bounds.
      checks: Names of the checks to make; None for all.
      options: Options of checks, by the check's name.
      tick: Called with each finding as soon as it is there.
      **settings: norm, bounds, seed, batch_size, attack and attack_options,
        see `Case`.

    Returns:
      One finding for each check, by name; "not checked", with the reason,
      for one that was left out or cannot be made of this classifier.

    Raises:
      InputError: Something that cannot be examined, an unknown check or an
        unknown option.
    """
    wanted = set(masking.names() if checks is None else checks)
    options = options or {}
    for name in sorted({*wanted, *options}):
        known = examination.own_options(masking.traits(name)["check"])
        for option in options.get(name, {}):
            if option not in known:
                raise errors.unknown(f"option of {name}", option, known)
    if unknown := settings.keys() - set(examination.COMMON):
        raise errors.unknown(
            "setting of diagnose", min(unknown), examination.COMMON
        )
    _check_attack(settings)
    case = Case.of(
        logits_fn, images, labels, epsilon=epsilon, options=options, **settings
    )
    findings = []
    for name in masking.names():
        if name in wanted:
            found = examination.examine(case, name)
        else:
            found = unchecked(name, "Left out by the caller.", len(case.labels))
        tick(found)
        findings.append(found)
    return findings


def _check_attack(settings: Mapping[str, Any]) -> None:
    """Raises an InputError for an attack or an option of it that is none."""
    attack = settings.get("attack")
    if isinstance(attack, str):
        attacks.bind(attack, **(settings.get("attack_options") or {}))
    elif attack is not None and not callable(attack):
        raise errors.InputError(
            "attack must be an attack's name, a function or None; got "
            f"{attack!r}."
        )
