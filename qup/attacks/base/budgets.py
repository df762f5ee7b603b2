"""The budgets that a user gives: checked, and named as folders."""

import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from qup import errors


def validate_epsilon(epsilon: Any, count: int) -> Any:
    """Returns a budget as None, a float or float32 [count].

    Args:
      epsilon: A number, one an image, or None.
      count: Number of images.

    Raises:
      InputError: Not numbers, below zero, or not as many as images.
    """
    if epsilon is None or isinstance(epsilon, numbers.Real):
        if epsilon is not None:
            errors.check_number("epsilon", epsilon, at_least=0)
        return epsilon
    values = np.asarray(epsilon)
    if values.dtype.kind not in "fiu":
        raise errors.InputError(
            "epsilon must be a number, or one an image, in the units of the "
            f"pixels; got {epsilon!r}. Write 0.1 and not '0.1'."
        )
    if values.ndim == 0:
        return validate_epsilon(float(values), count)
    if values.shape != (count,):
        raise errors.InputError(
            f"epsilon must hold one value an image, {count}; got an array of "
            f"shape {values.shape}. Several budgets for all images are "
            "epsilons=[...]."
        )
    if not (np.isfinite(values) & (values >= 0)).all():
        raise errors.InputError(
            "epsilon must be finite and at least 0 for every image; got "
            f"{values.min()} to {values.max()}. None means no budget."
        )
    return values.astype(np.float32)


def validate_epsilons(epsilons: Any) -> list[float]:
    """Returns several budgets as floats.

    Raises:
      InputError: Not a list of at least one number, all at least zero.
    """
    values = None
    if isinstance(epsilons, Iterable) and not isinstance(epsilons, str):
        values = list(epsilons)
    if not values:
        raise errors.InputError(
            "epsilons must be a list of at least one number, such as "
            f"[0.1, 0.3]; got {epsilons!r}. A single budget is epsilon=0.1."
        )
    for value in values:
        if not np.ndim(value) and hasattr(value, "numpy"):
            value = value.numpy()
        errors.check_number("Each of epsilons", value, at_least=0)
    return [float(value) for value in values]


def build_epsilon_folders(epsilons: Sequence[float]) -> list[str]:
    """Returns a folder's name for each budget, another for each other."""
    short_names = [f"epsilon-{value:g}" for value in epsilons]
    if len(set(short_names)) == len(set(epsilons)):
        return short_names
    return [f"epsilon-{value!r}" for value in epsilons]
