"""Nested settings as a flat dictionary with dotted names.

```python
flatten({"attack": {"epsilon": 0.1}})  # {"attack.epsilon": 0.1}
```
"""

from typing import Any


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Returns {"group.key": value} of a mapping or an ml_collections ConfigDict."""
    flat = {}
    for key, value in tree.items():
        if hasattr(value, "items"):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def describe_changes(old: Any, new: Any) -> list[str]:
    """Returns "name (was ..., now ...)" for each setting that differs, sorted."""
    old, new = flatten(old), flatten(new)
    return [
        f"{key} (was {old.get(key)!r}, now {new.get(key)!r})"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
