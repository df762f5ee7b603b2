"""Moments, durations, states and settings, as people read them.

```python
moment(run.created), lasted(run), state(run), settings(run.parameters)
# "2026-03-01T16:01:21", "3 min 12 s", "COMPLETE", "seed=0 attack.name=pgd"
```
"""

import datetime
import json
import re
from collections.abc import Mapping
from typing import Any

from qup.orchestration import processes
from qup.orchestration.executions import Execution, Run, State

_MAX_VALUE_LENGTH = 60
# Strings that need no quotes, because nothing else looks like them.
_UNQUOTED = re.compile(r"""(?!(?:true|false|null)$)[^\s\d"\[{-]\S*""")


def format_time(milliseconds: int, *, utc: bool = False) -> str:
    """Returns an ISO 8601 time to the second.

    Args:
      milliseconds: Since 1970.
      utc: UTC, and says so; otherwise the local time.
    """
    zone = datetime.UTC if utc else None
    timestamp = datetime.datetime.fromtimestamp(milliseconds / 1000, zone)
    text = timestamp.replace(tzinfo=None).isoformat(timespec="seconds")
    return f"{text}Z" if utc else text


def format_duration(milliseconds: int) -> str:
    """Returns about three digits of a duration, such as "3 min 12 s"."""
    seconds = milliseconds / 1000
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def format_state(record: Execution | Run) -> str:
    """Returns how something ended: "abandoned" if its process died."""
    if record.state is not State.RUNNING:
        return record.state.name
    is_dead = processes.is_alive(record.owner) is False
    return "abandoned" if is_dead else "RUNNING"


def format_elapsed(record: Execution | Run) -> str:
    """Returns how long something that has ended took, or ""."""
    if record.state is State.RUNNING:
        return ""
    return format_duration(record.updated - record.created)


def format_settings(values: Mapping[str, Any], prefix: str = "") -> str:
    """Returns "name=value group.name=value", values cut to 60 characters."""
    return " ".join(
        format_settings(value, f"{prefix}{name}.")
        if isinstance(value, Mapping) and value
        else f"{to_printable(prefix + name)}={_format_value(value)}"
        for name, value in values.items()
    )


def to_printable(text: str) -> str:
    """Returns text that cannot move the cursor or break the line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _format_value(value: Any) -> str:
    text = value
    if not isinstance(value, str) or not _UNQUOTED.fullmatch(value):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = to_printable(text)
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[: _MAX_VALUE_LENGTH - 1]}…"
