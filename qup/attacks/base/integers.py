"""Options, ids and classes that must be integers."""

import numbers

import numpy as np
import tensorflow as tf

from qup import errors


def check_integer(name: str, value, *, least: float | None = None) -> None:
    """Raises an InputError unless `value` is an integer of at least `least`.

    Tensors pass unread: reading one would stop a device.
    """
    if tf.is_tensor(value):
        return
    errors.check_number(name, value, at_least=least)
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise errors.InputError(f"{name} must be an integer; got {value!r}.")


def validate_ids(ids, count: int) -> np.ndarray:
    """Returns ids as int64 [count]; 0, 1, 2, ... for None.

    Raises:
      InputError: They are not integers, one an image.
    """
    if ids is None:
        return np.arange(count, dtype=np.int64)
    ids = np.asarray(ids)
    if ids.shape != (count,) or ids.dtype.kind not in "iu":
        raise errors.InputError(
            f"ids must hold one value an image, {count} integers; got "
            f"{ids.dtype.name} of shape {ids.shape}."
        )
    return ids.astype(np.int64)


def check_class_numbers(name: str, values: np.ndarray) -> None:
    """Raises an InputError for what no class of a classifier can be."""
    if not values.size:
        return
    if values.min() < 0:
        raise errors.InputError(f"{name} must not be negative; got {values.min()}.")
    if values.max() > np.iinfo(np.int32).max:
        raise errors.InputError(f"{name} must be classes, 0, 1, 2, ...; got {values.max()}.")
