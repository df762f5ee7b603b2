"""Nested settings as one level of dotted names.

```python
flatten({"attack": {"epsilon": 0.1}})  # {"attack.epsilon": 0.1}
```
"""

from typing import Any


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Returns {"group.key": value}.

    Args:
      tree: A mapping, or an ml_collections ConfigDict.
      prefix: Put before every name.
    """
    flat = {}
    for key, value in tree.items():
        if hasattr(value, "items"):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def changes(was: Any, now: Any) -> list[str]:
    """Returns "name (was ..., now ...)" for each setting that differs."""
    was, now = flatten(was), flatten(now)
    return [
        f"{key} (was {was.get(key)!r}, now {now.get(key)!r})"
        for key in sorted(was.keys() | now.keys())
        if was.get(key) != now.get(key)
    ]
