"""Options of a method: checked, and divided into static ones and scalars."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from qup import compilation, errors, norms
from qup.attacks.base import checks, integers
from qup.attacks.base.method import Count, Method


def validate_method(method: Method) -> Method:
    """Returns the method with its bounds as a tuple, its options checked.

    Raises:
      InputError: An option out of its range.
    """
    method = dataclasses.replace(method, bounds=checks.validate_bounds(method.bounds))
    compilation.use_xla(method.xla)
    norm = getattr(method, "norm", None)
    if norm is not None:
        norms.check_norm(norm, method.traits["norms"])
    if hasattr(method, "epsilon") and method.epsilon is not None:
        checks.check_number("epsilon", method.epsilon, least=0)
    for field in dataclasses.fields(method):
        _check_field_type(field, getattr(method, field.name))
    method.check()
    return method


def _check_field_type(field: dataclasses.Field, value: Any) -> None:
    """Raises an InputError unless a value is what its field is for."""
    if value is None and field.type in (int | None, Count | None):
        return
    if field.type in (int, int | None):
        integers.check_integer(field.name, value)
    elif field.type in (Count, Count | None):
        least = None if field.name == "seed" else 1
        integers.check_integer(field.name, value, least=least)
    elif field.type is bool and not isinstance(value, bool | np.bool_):
        raise errors.InputError(f"{field.name} must be True or False; got {value!r}.")


def split_scalars(method: Method) -> tuple[Method, dict[str, Any]]:
    """Separates what is compiled in from what is passed at every call.

    Returns:
      (static, scalars): the method with None for each scalar, and the
      scalars' values. `merge_scalars` puts them together again.
    """
    scalars = {
        field.name: (tf.int32 if field.type is Count else tf.float32)
        for field in dataclasses.fields(method)
        if field.type in (Count, float, float | None)
        and field.name != "epsilon"
        and getattr(method, field.name) is not None
    }
    values = {name: tf.cast(getattr(method, name), dtype) for name, dtype in scalars.items()}
    blanks = {name: None for name in scalars}
    if hasattr(method, "epsilon"):
        blanks["epsilon"] = None
    return dataclasses.replace(method, **blanks), values


def merge_scalars(static: Method, scalars: Mapping[str, tf.Tensor]) -> Method:
    """Returns the method with its scalars as the tensors given."""
    return dataclasses.replace(static, **scalars)
