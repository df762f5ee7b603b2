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

_ROOM = 60
# Strings that need no quotes, because nothing else looks like them.
_BARE = re.compile(r"""(?!(?:true|false|null)$)[^\s\d"\[{-]\S*""")


def moment(milliseconds: int, *, universal: bool = False) -> str:
    """Returns an ISO 8601 time to the second.

    Args:
      milliseconds: Since 1970.
      universal: UTC, and says so; otherwise the local time.
    """
    zone = datetime.UTC if universal else None
    found = datetime.datetime.fromtimestamp(milliseconds / 1000, zone)
    text = found.replace(tzinfo=None).isoformat(timespec="seconds")
    return f"{text}Z" if universal else text


def duration(milliseconds: int) -> str:
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


def state(held: Execution | Run) -> str:
    """Returns how something ended: "abandoned" if its process died."""
    if held.state is not State.RUNNING:
        return held.state.name
    dead = processes.alive(held.owner) is False
    return "abandoned" if dead else "RUNNING"


def lasted(held: Execution | Run) -> str:
    """Returns how long something that has ended took, or ""."""
    if held.state is State.RUNNING:
        return ""
    return duration(held.updated - held.created)


def settings(values: Mapping[str, Any], prefix: str = "") -> str:
    """Returns "name=value group.name=value", values cut to 60 characters."""
    return " ".join(
        settings(value, f"{prefix}{name}.")
        if isinstance(value, Mapping) and value
        else f"{printable(prefix + name)}={_value(value)}"
        for name, value in values.items()
    )


def printable(text: str) -> str:
    """Returns text that cannot move the cursor or break the line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _value(value: Any) -> str:
    text = value
    if not isinstance(value, str) or not _BARE.fullmatch(value):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = printable(text)
    return text if len(text) <= _ROOM else f"{text[: _ROOM - 1]}…"
