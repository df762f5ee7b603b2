"""Numbers from texts of the command line, and budgets as texts: fractions, lists and ranges.

```python
parse_fraction("8/255")           # 0.03137...
parse_epsilons("0:16/255:9")      # 9 numbers from 0 to 16/255
parse_epsilons("2/255,4/255,0.1") # 3 numbers
format_epsilon(8 / 255)           # "8/255"
```
"""

import math

import numpy as np

from qup.core.errors import InputError

_MAX_COUNT = 1000
_GREY_LEVELS = 255


def parse_fraction(text: str, name: str = "epsilon") -> float:
    """Returns the number of a text such as "0.1", "1e-3" or "8/255".

    Args:
      text: A number, or two with a slash.
      name: What the number is, for messages.

    Raises:
      InputError: The text is neither, or the number is not finite.
    """
    numerator, slash, denominator = text.partition("/")
    try:
        value = float(numerator) / (float(denominator) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{name} must be a number or a fraction, such as 0.1 or 8/255; received {text[:40]!r}."
        )
    return value


def parse_epsilons(text: str, name: str = "epsilon") -> list[float]:
    """Returns the budgets of a text, sorted and without repeats.

    Args:
      text: One number, several with commas, or first:last:count for equal steps; each number may be
        a fraction.
      name: What the numbers are, for messages.

    Raises:
      InputError: The text has another form, or a number is negative.
    """
    if ":" in text:
        values = _parse_range(text, name)
    else:
        values = [parse_fraction(part.strip(), name) for part in text.split(",")]
    if min(values) < 0:
        raise InputError(f"{name} must be at least 0; received {text[:40]!r}.")
    return sorted(set(values))


def _parse_range(text: str, name: str) -> list[float]:
    parts = [part.strip() for part in text.split(":")]
    if len(parts) != 3 or not parts[2].isdecimal():
        raise InputError(
            f"A range of {name} is first:last:count, such as 0:16/255:9; received {text[:40]!r}."
        )
    first, last = (parse_fraction(part, name) for part in parts[:2])
    count = int(parts[2])
    if not 2 <= count <= _MAX_COUNT or first >= last:
        raise InputError(
            f"A range of {name} goes upward in 2 to {_MAX_COUNT} values, such as 0:16/255:9; "
            f"received {text[:40]!r}."
        )
    return np.linspace(first, last, count).tolist()


def format_epsilon(epsilon: float) -> str:
    """Returns a budget as people write it: "0.1", "8/255" or four significant digits."""
    short = f"{epsilon:.3g}"
    if math.isclose(float(short), epsilon, rel_tol=1e-6, abs_tol=1e-12):
        return short
    levels = epsilon * _GREY_LEVELS
    if levels >= 0.5 and math.isclose(levels, round(levels), rel_tol=1e-5):
        return f"{round(levels)}/{_GREY_LEVELS}"
    return f"{epsilon:.4g}"
