"""An attack as a function: `name(logits_fn, images, labels, *, ...)`."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from qup import errors
from qup.attacks.base import options as settings
from qup.attacks.base import single
from qup.attacks.base.method import Method
from qup.types import LogitsFn

_POSITIONAL = ("logits_fn", "images", "labels")


def create_method(method_class: type[Method], options: dict[str, Any]) -> Method:
    """Returns a method with options, checked.

    Raises:
      InputError: An option that is unknown, missing or out of its range.
    """
    fields = {field.name: field for field in dataclasses.fields(method_class)}
    for option in options:
        if option not in fields:
            raise errors.make_unknown_error(f"option of {method_class.name}", option, fields)
    for name, field in fields.items():
        is_required = field.default is dataclasses.MISSING
        if is_required and name not in options:
            raise errors.InputError(
                f"{method_class.name} needs {name}=..., in the units of the pixels."
            )
    return settings.validate_method(method_class(**options))


def build_function(method_class: type[Method]) -> Callable[..., tf.Tensor]:
    """Returns the attack as a function of one batch.

    It takes logits_fn, images and labels, and by keyword `ids` and the
    options; it returns float32 images.
    """

    def attack(logits_fn: LogitsFn, images, labels, *, ids=None, **options) -> tf.Tensor:
        if not tf.executing_eagerly():
            raise errors.InputError(
                f"{method_class.name} compiles its own steps: call it outside tf.function."
            )
        return single.run_one_batch(
            create_method(method_class, options), logits_fn, images, labels, ids
        )

    keyword_only = inspect.Parameter.KEYWORD_ONLY
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    options = [
        inspect.Parameter(
            field.name,
            keyword_only,
            default=inspect.Parameter.empty
            if field.default is dataclasses.MISSING
            else field.default,
            annotation=field.type,
        )
        for field in dataclasses.fields(method_class)
    ]
    ids = inspect.Parameter("ids", keyword_only, default=None)
    attack.__signature__ = inspect.Signature(
        [inspect.Parameter(name, positional) for name in _POSITIONAL] + [*options, ids]
    )
    attack.__name__ = attack.__qualname__ = method_class.name
    attack.__module__ = method_class.__module__
    attack.__doc__ = method_class.__doc__
    return attack
