"""Numbers as text: one format for tables, logs and the report.

```python
format_number(0.123456)            # "0.1235"
format_with_error(0.50042, 0.0012) # "0.5004 ± 0.0012"
format_percent(97.053, 0.121)      # "97.05 ± 0.12"
```
"""

import math

NOT_ESTIMATED = "not estimated"
# Smaller numbers are written with a power of ten.
_SCIENTIFIC_BELOW = 1e-3
_MAX_DECIMALS = 9


def format_number(value: float | None, digits: int = 4) -> str:
    """Returns `digits` significant digits; "not estimated" for None, NaN and infinity."""
    if value is None or not math.isfinite(value):
        return NOT_ESTIMATED
    return f"{value:.{digits}g}"


def format_with_error(value: float | None, error: float | None) -> str:
    """Returns a value and its standard error with two digits of the error.

    Args:
      value: None and NaN give "not estimated".
      error: In the unit of `value`. None and NaN give "0.5004 ± ?"; 0 gives "0.5 ± 0".

    Returns:
      "0.5004 ± 0.0012", or "(3.00 ± 0.10)e-7" where both are below 0.001.
    """
    if value is None or not math.isfinite(value):
        return NOT_ESTIMATED
    if error is None or not math.isfinite(error):
        return f"{format_number(value)} ± ?"
    if error == 0:
        return f"{format_number(value, 6)} ± 0"
    largest = max(abs(value), error)
    exponent = 0 if largest >= _SCIENTIFIC_BELOW else math.floor(math.log10(largest))
    value, error = value / 10**exponent, error / 10**exponent
    decimals = min(max(0, 1 - math.floor(math.log10(error))), _MAX_DECIMALS)
    text = f"{value:.{decimals}f} ± {error:.{decimals}f}"
    return f"({text})e{exponent}" if exponent else text


def format_percent(value: float | None, error: float | None = None, digits: int = 2) -> str:
    """Returns a number in percent, "97.05" or "97.05 ± 0.12", without the sign "%".

    Args:
      value: In percent, as in measurements.csv; None and NaN give "not estimated".
      error: Its standard error; left out where None or NaN.
      digits: Decimals of both.
    """
    if value is None or not math.isfinite(value):
        return NOT_ESTIMATED
    text = f"{value:.{digits}f}"
    if error is None or not math.isfinite(error):
        return text
    return f"{text} ± {error:.{digits}f}"


def format_count(number: int, noun: str) -> str:
    """Returns "1 epoch" or "30 epochs"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """Returns a time in rounded units: "8 s", "40 s", "3 min", "1 h 20 min", "2 days 3 h"."""
    if seconds < 1:
        return "1 s"
    if seconds < 20:
        return f"{seconds:.0f} s"
    if seconds < 57.5:
        return f"{5 * round(seconds / 5)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{format_count(days, 'day')} {hours} h" if hours else format_count(days, "day")


def format_bytes(count: float) -> str:
    """Returns a size in decimal units with two or three digits: "35 MB", "1.2 GB"."""
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.5:
            return f"{count:.1f} {unit}" if count < 9.95 else f"{count:.0f} {unit}"
    return f"{count / 1000:.1f} TB"
