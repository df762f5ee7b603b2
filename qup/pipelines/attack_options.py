"""Options of attacks as texts, read by the types that the attacks declare.

```python
read(("pgd.num_steps=100", "pgd.random_start=true"))
# {"pgd": {"num_steps": 100, "random_start": True}}
```
"""

import ast
import inspect
import math
from collections.abc import Iterable
from typing import Any, get_args

from qup import attacks, errors, norms
from qup.attacks import base
from qup.attacks import targets as choices

# What an option may be called that is set for all attacks alike.
_ELSEWHERE = {"seed": "--seed", "ids": "the images' places in their split"}
_BOOLS = {"true": True, "false": False}
_TARGETS = (*choices.NAMES, "all")


def read(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Returns the options of each attack.

    Args:
      texts: Of the form attack.option=value.

    Raises:
      InputError: No such attack, option or value.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        name, dot, option = key.strip().partition(".")
        if not (equals and dot and option):
            raise errors.InputError(
                "--options takes attack.option=value, such as "
                f"pgd.num_steps=100; got {text!r}."
            )
        kind = _kind(name, option)
        value = _value(f"{name}.{option}", value.strip(), kind)
        found.setdefault(name, {})[option] = value
    return found


def check(name: str, options: dict[str, Any]) -> None:
    """Raises an InputError where the attack cannot take its options."""
    own = {key: value for key, value in options.items() if key != "targets"}
    attacks.bind(name, **own)
    if attacks.traits(name)["method"]:
        attacks.method(name, **own)
        return
    if "norm" in own:
        norms.check(own["norm"], attacks.traits(name)["norms"])
    if "epsilon" in own:
        errors.check_number("epsilon", own["epsilon"], least=0)
    for option, value in own.items():
        if option.startswith("num_"):
            errors.check_number(f"{name}.{option}", value, least=1)


def norm(name: str, options: dict[str, Any]) -> str:
    """Returns the norm that an attack's epsilon is measured in."""
    declared = inspect.signature(attacks.get(name)).parameters.get("norm")
    default = attacks.traits(name)["norms"][0]
    if declared is not None:
        default = declared.default
    return options.get("norm", default)


def _kind(name: str, option: str) -> Any:
    """Returns the type that an attack declares for an option."""
    known = dict(inspect.signature(attacks.get(name)).parameters)
    aims = attacks.traits(name)["targeted"]
    if option in _ELSEWHERE:
        raise errors.InputError(
            f"--options={name}.{option}: this is no attack's own. It is set "
            f"for all of them by {_ELSEWHERE[option]}."
        )
    if option == "targeted" and aims:
        raise errors.InputError(
            f"--options={name}.targeted: the labels are the true classes, "
            f"and would be taken for targets. Set {name}.targets to one of: "
            f"{', '.join(_TARGETS)}."
        )
    if option == "targets":
        if not aims:
            raise errors.InputError(
                f"--options={name}.targets: {name} takes no targets, it has "
                f"no targeted form. With one: {', '.join(_aiming())}."
            )
        return _TARGETS
    if option not in list(known)[3:]:
        raise errors.unknown(f"option of {name}", option, list(known)[3:])
    return known[option].annotation


def _aiming() -> list[str]:
    names = attacks.names()
    return [name for name in names if attacks.traits(name)["targeted"]]


def _value(key: str, text: str, kind: Any) -> Any:
    """Returns what a text says, as a value of a type."""
    if kind is _TARGETS:
        if text not in _TARGETS:
            raise errors.unknown(key, text, _TARGETS)
        return text
    literal = _literal(text)
    if kind is str:
        return literal if isinstance(literal, str) else text
    if kind is bool:
        literal = _BOOLS.get(text.lower(), literal)
        _demand(isinstance(literal, bool), key, "true or false", text)
        return literal
    kinds = get_args(kind) or (kind,)
    if literal is None and type(None) in kinds:
        return None
    number = isinstance(literal, int | float) and not isinstance(literal, bool)
    number = number and math.isfinite(literal)
    if int in kinds or base.Count in kinds:
        good = number and literal == int(literal)
        _demand(good, key, "an integer", text)
        return int(literal)
    if float in kinds:
        _demand(number, key, "a finite number", text)
        return float(literal)
    return literal


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _demand(good: bool, key: str, what: str, text: str) -> None:
    if not good:
        raise errors.InputError(
            f"--options={key} must be {what}; got {text!r}."
        )
