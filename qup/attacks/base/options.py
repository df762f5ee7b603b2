"""Options of a method: checked, and divided into static ones and scalars."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from qup import compilation, errors, norms
from qup.attacks.base import checks
from qup.attacks.base.method import Count, Method


def checked(method: Method) -> Method:
    """Returns the method with its bounds as a tuple, its options checked.

    Raises:
      InputError: An option out of its range.
    """
    method = dataclasses.replace(
        method, bounds=checks.checked_bounds(method.bounds)
    )
    compilation.use_xla(method.xla)
    norm = getattr(method, "norm", None)
    if norm is not None:
        norms.check(norm, method.traits["norms"])
    if hasattr(method, "epsilon") and method.epsilon is not None:
        checks.check_number("epsilon", method.epsilon, least=0)
    for field in dataclasses.fields(method):
        if field.type is Count and field.name != "seed":
            value = getattr(method, field.name)
            if not tf.is_tensor(value):
                _check_count(field.name, value)
    method.check()
    return method


def _check_count(name: str, value: Any) -> None:
    errors.check_number(name, value, least=1)
    if int(value) != value:
        raise errors.InputError(f"{name} must be an integer; got {value!r}.")


def divided(method: Method) -> tuple[Method, dict[str, Any]]:
    """Separates what is compiled in from what is passed at every call.

    Returns:
      (static, scalars): the method with None for each scalar, and the
      scalars' values. `joined` puts them together again.
    """
    scalars = {
        field.name: (tf.int32 if field.type is Count else tf.float32)
        for field in dataclasses.fields(method)
        if field.type in (Count, float, float | None)
        and field.name != "epsilon"
        and getattr(method, field.name) is not None
    }
    values = {
        name: tf.cast(getattr(method, name), dtype)
        for name, dtype in scalars.items()
    }
    blank = {name: None for name in scalars}
    if hasattr(method, "epsilon"):
        blank["epsilon"] = None
    return dataclasses.replace(method, **blank), values


def joined(static: Method, scalars: Mapping[str, tf.Tensor]) -> Method:
    """Returns the method with its scalars as the tensors given."""
    return dataclasses.replace(static, **scalars)
