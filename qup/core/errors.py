"""Errors a user can mend, and the words they are told in.

`InputError` is raised for what came from outside (a flag, a file, an
array): binaries print its message without a traceback. Anything else that
escapes is a defect of the program and keeps its traceback.
"""

import difflib
import math
import numbers
from collections.abc import Iterable


class InputError(ValueError):
    """What was given cannot be used; the message says how to mend it."""


def make_unknown_error(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Returns the error for a `name` that is none of `known`.

    Args:
      kind: What the name should have named, in the singular ("dataset").
      name: The name received.
      known: Every valid name.

    Returns:
      An `InputError` that names the nearest valid name and lists all.
    """
    known = sorted(known)
    closest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f" Did you mean {closest[0]!r}?" if closest else ""
    return InputError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(known)}.")


def check_number(
    name: str,
    value,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
) -> None:
    """Raises an InputError unless `value` is a finite number in range.

    Args:
      name: What the number is, for the message.
      value: The value received.
      above: It must be greater than this, if given.
      at_least: It must be at least this, if given.
      below: It must be less than this, if given.
    """
    is_valid = isinstance(value, numbers.Real) and math.isfinite(value)
    is_valid = is_valid and (above is None or value > above)
    is_valid = is_valid and (at_least is None or value >= at_least)
    is_valid = is_valid and (below is None or value < below)
    if not is_valid:
        ranges = ["" if above is None else f" above {above}"]
        ranges += ["" if at_least is None else f" of at least {at_least}"]
        ranges += ["" if below is None else f" below {below}"]
        raise InputError(
            f"{name} must be a finite number{' and'.join(filter(None, ranges))}; got {value!r}."
        )
