"""Parameters of components: JSON values of the type the annotation says."""

import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from qup.orchestration import errors

_SCALARS = (bool, int, float, str, type(None))


def convert_value(annotation: Any, value: Any) -> Any:
    """Returns a copy of `value` in the type that `annotation` declares.

    Args:
      annotation: bool, int, float, str, None, list, tuple, dict with strings
        as keys, these with element types, Literal, unions of them, or Any.
      value: What was given; an int is taken for a float, a list for a
        tuple, a tuple for a list.

    Returns:
      The copy; JSON can express it.

    Raises:
      PipelineError: The value is of another type, or no JSON value.
    """
    kind = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    if kind in (typing.Union, types.UnionType):
        return _convert_union(annotation, arguments, value)
    if kind is Any:
        return convert_value(_infer_type(value), value)
    if kind is typing.Literal:
        if any(value == a and type(value) is type(a) for a in arguments):
            return value
    elif kind in (list, tuple) and isinstance(value, list | tuple):
        element_types = _get_element_types(kind, arguments, len(value))
        if len(element_types) == len(value):
            return kind(map(convert_value, element_types, value))
    elif kind is dict and isinstance(value, Mapping):
        _, value_type = arguments or (str, Any)
        return {convert_value(str, k): convert_value(value_type, v) for k, v in value.items()}
    elif _is_scalar(kind, value):
        return kind(value) if kind in (int, float) else value
    raise _build_type_error(annotation, value)


def _build_type_error(annotation: Any, value: Any) -> errors.PipelineError:
    expected, received = (
        kind.__name__ if type(kind) is type else str(kind) for kind in (annotation, type(value))
    )
    return errors.PipelineError(f"expected {expected}, received {value!r} ({received})")


def _is_scalar(kind: Any, value: Any) -> bool:
    if isinstance(value, bool) or kind not in _SCALARS:
        return kind is bool and isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, kind)


def _get_element_types(kind: type, arguments: tuple, length: int) -> tuple:
    """Returns the annotation of each element of a list or tuple."""
    if not arguments:
        return (Any,) * length
    if kind is tuple and arguments[-1] is not ...:
        return arguments
    return arguments[:1] * length


def _convert_union(union: Any, member_types: tuple, value: Any) -> Any:
    # The value's own type first: 1 stays an int in float | int.
    for member_type in sorted(member_types, key=lambda c: c is not type(value)):
        try:
            return convert_value(member_type, value)
        except errors.PipelineError:
            continue
    raise _build_type_error(union, value)


def _infer_type(value: Any) -> Any:
    """Returns the JSON type that `value` is of."""
    for kind in _SCALARS:
        if isinstance(value, kind):
            return kind
    if isinstance(value, list | tuple):
        return list
    return dict if isinstance(value, Mapping) else types.GenericAlias
