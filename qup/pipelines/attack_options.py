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
_GLOBAL_OPTIONS = {"seed": "--seed", "ids": "the images' places in their split"}
_BOOLS = {"true": True, "false": False}
_TARGETS = (*choices.TARGET_CHOICES, "all")


def parse_options(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Returns the options of each attack.

    Args:
      texts: Of the form attack.option=value.

    Raises:
      InputError: No such attack, option or value.
    """
    options: dict[str, dict[str, Any]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        name, dot, option = key.strip().partition(".")
        if not (equals and dot and option):
            raise errors.InputError(
                f"--options takes attack.option=value, such as pgd.num_steps=100; got {text!r}."
            )
        option_type = _get_option_type(name, option)
        value = _parse_value(f"{name}.{option}", value.strip(), option_type)
        options.setdefault(name, {})[option] = value
    return options


def check_options(name: str, options: dict[str, Any]) -> None:
    """Raises an InputError where the attack cannot take its options."""
    keyword_options = {key: value for key, value in options.items() if key != "targets"}
    attacks.bind(name, **keyword_options)
    if attacks.traits(name)["method"]:
        attacks.build_method(name, **keyword_options)
        return
    if "norm" in keyword_options:
        norms.check_norm(keyword_options["norm"], attacks.traits(name)["norms"])
    if "epsilon" in keyword_options:
        errors.check_number("epsilon", keyword_options["epsilon"], at_least=0)
    for option, value in keyword_options.items():
        if option.startswith("num_"):
            errors.check_number(f"{name}.{option}", value, at_least=1)


def get_attack_norm(name: str, options: dict[str, Any]) -> str:
    """Returns the norm that an attack's epsilon is measured in."""
    declared = inspect.signature(attacks.get(name)).parameters.get("norm")
    default = attacks.traits(name)["norms"][0]
    if declared is not None:
        default = declared.default
    return options.get("norm", default)


def _get_option_type(name: str, option: str) -> Any:
    """Returns the type that an attack declares for an option."""
    known = dict(inspect.signature(attacks.get(name)).parameters)
    is_targeted = attacks.traits(name)["targeted"]
    if option in _GLOBAL_OPTIONS:
        raise errors.InputError(
            f"--options={name}.{option}: this is no attack's own. It is set "
            f"for all of them by {_GLOBAL_OPTIONS[option]}."
        )
    if option == "targeted" and is_targeted:
        raise errors.InputError(
            f"--options={name}.targeted: the labels are the true classes, "
            f"and would be taken for targets. Set {name}.targets to one of: "
            f"{', '.join(_TARGETS)}."
        )
    if option == "targets":
        if not is_targeted:
            raise errors.InputError(
                f"--options={name}.targets: {name} takes no targets, it has "
                f"no targeted form. With one: {', '.join(_list_targeted())}."
            )
        return _TARGETS
    if option not in list(known)[3:]:
        raise errors.make_unknown_error(f"option of {name}", option, list(known)[3:])
    return known[option].annotation


def _list_targeted() -> list[str]:
    names = attacks.names()
    return [name for name in names if attacks.traits(name)["targeted"]]


def _parse_value(key: str, text: str, option_type: Any) -> Any:
    """Returns what a text says, as a value of a type."""
    if option_type is _TARGETS:
        if text not in _TARGETS:
            raise errors.make_unknown_error(key, text, _TARGETS)
        return text
    literal = _parse_literal(text)
    if option_type is str:
        return literal if isinstance(literal, str) else text
    if option_type is bool:
        literal = _BOOLS.get(text.lower(), literal)
        _require(isinstance(literal, bool), key, "true or false", text)
        return literal
    option_types = get_args(option_type) or (option_type,)
    if literal is None and type(None) in option_types:
        return None
    is_number = isinstance(literal, int | float) and not isinstance(literal, bool)
    is_number = is_number and math.isfinite(literal)
    if int in option_types or base.Count in option_types:
        is_integer = is_number and literal == int(literal)
        _require(is_integer, key, "an integer", text)
        return int(literal)
    if float in option_types:
        _require(is_number, key, "a finite number", text)
        return float(literal)
    return literal


def _parse_literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _require(condition: bool, key: str, expected: str, text: str) -> None:
    if not condition:
        raise errors.InputError(f"--options={key} must be {expected}; got {text!r}.")
