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

_GIVEN = ("logits_fn", "images", "labels")


def built(kind: type[Method], options: dict[str, Any]) -> Method:
    """Returns a method with options, checked.

    Raises:
      InputError: An option that is unknown, missing or out of its range.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for option in options:
        if option not in fields:
            raise errors.unknown(f"option of {kind.name}", option, fields)
    for name, field in fields.items():
        nothing = field.default is dataclasses.MISSING
        if nothing and name not in options:
            raise errors.InputError(
                f"{kind.name} needs {name}=..., in the units of the pixels."
            )
    return settings.checked(kind(**options))


def function(kind: type[Method]) -> Callable[..., tf.Tensor]:
    """Returns the attack as a function of one batch.

    It takes logits_fn, images and labels, and by keyword `ids` and the
    options; it returns float32 images.
    """

    def attack(
        logits_fn: LogitsFn, images, labels, *, ids=None, **options
    ) -> tf.Tensor:
        if not tf.executing_eagerly():
            raise errors.InputError(
                f"{kind.name} compiles its own steps: call it outside "
                "tf.function."
            )
        return single.one_batch(
            built(kind, options), logits_fn, images, labels, ids
        )

    keyword = inspect.Parameter.KEYWORD_ONLY
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    options = [
        inspect.Parameter(
            field.name,
            keyword,
            default=inspect.Parameter.empty
            if field.default is dataclasses.MISSING
            else field.default,
            annotation=field.type,
        )
        for field in dataclasses.fields(kind)
    ]
    ids = inspect.Parameter("ids", keyword, default=None)
    attack.__signature__ = inspect.Signature(
        [inspect.Parameter(name, positional) for name in _GIVEN]
        + [*options, ids]
    )
    attack.__name__ = attack.__qualname__ = kind.name
    attack.__module__ = kind.__module__
    attack.__doc__ = kind.__doc__
    return attack
