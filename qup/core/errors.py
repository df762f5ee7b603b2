"""Errors that a user can fix, and their messages.

`InputError` is for values from outside: a flag, a file, an array. Command lines print its message
without a traceback. Any other exception is a defect of the program and keeps its traceback.
"""

import difflib
import math
import numbers
from collections.abc import Iterable

# Characters of a received value in a message.
_MAX_SHOWN = 60


class InputError(ValueError):
    """An input cannot be used; the message says why and how to fix it."""


def make_unknown_error(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Returns the error for an unknown name: it suggests the closest valid name and lists all.

    Args:
      kind: The kind of thing, in the singular ("dataset").
      name: The name received.
      known: Every valid name.
    """
    # None among them means that nothing need be named.
    known = sorted(str(value) for value in known if value is not None)
    lower = str(name)[:_MAX_SHOWN].lower()
    closest = difflib.get_close_matches(lower, [c.lower() for c in known], n=3, cutoff=0.5)
    # Letters in another order are the likelier slip.
    closest.sort(key=lambda candidate: sorted(candidate) != sorted(lower))
    closest = [c for match in closest for c in known if c.lower() == match]
    hint = f" Did you mean {closest[0]!r}?" if closest else ""
    return InputError(f"Unknown {kind} {shorten(name)}.{hint} Known: {', '.join(known)}.")


def shorten(value) -> str:
    """Returns `repr(value)` with at most 60 characters, for a message."""
    try:
        text = repr(value)
    except ValueError:
        # Python does not convert integers of thousands of digits.
        return f"an integer of {value.bit_length()} bits"
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def format_first_line(error: BaseException, *, max_length: int = 200) -> str:
    """Returns the first line of an exception's message, shortened, without its last full stop."""
    message = str(error).strip() or type(error).__name__
    line = message.splitlines()[0].strip().rstrip(".:")
    return line if len(line) <= max_length else f"{line[: max_length - 3]}..."


def check_number(
    name: str,
    value,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
) -> None:
    """Raises an InputError unless `value` is a finite number, > above, >= at_least, < below.

    Args:
      name: The parameter's name, for the message.
      value: The value received.
      above: Lower limit, excluded.
      at_least: Lower limit, included.
      below: Upper limit, excluded.
    """
    is_valid = isinstance(value, numbers.Integral) or (
        isinstance(value, numbers.Real) and math.isfinite(value)
    )
    is_valid = is_valid and (above is None or value > above)
    is_valid = is_valid and (at_least is None or value >= at_least)
    is_valid = is_valid and (below is None or value < below)
    if not is_valid:
        ranges = ["" if above is None else f" above {above}"]
        ranges += ["" if at_least is None else f" of at least {at_least}"]
        ranges += ["" if below is None else f" below {below}"]
        raise InputError(
            f"{name} must be a finite number{' and'.join(filter(None, ranges))}; got "
            f"{shorten(value)}."
        )
