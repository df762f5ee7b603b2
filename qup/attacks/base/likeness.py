"""What tells one function from another: its code and all that it holds.

```python
digest(attack)  # 64 hex digits, other ones for another lambda or closure
```
"""

import functools
import hashlib
import json
import types
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from qup import errors, model_files

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))


def digest(function: Callable) -> str:
    """Returns SHA-256, in hex, of a function.

    Of its code, its defaults, what it closes over and the globals it reads;
    of functions and classes of other packages their names.

    Raises:
      InputError: It holds something that cannot be told from another.
    """
    package = _package(function)
    text = json.dumps(_told(function, package, ()), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _package(function: Callable) -> str:
    return (getattr(function, "__module__", None) or "").split(".")[0]


def _told(value: Any, package: str, above: tuple[int, ...]) -> Any:
    """Returns JSON values that tell `value` from another.

    Args:
      value: Anything.
      package: That of the function, whose own functions are looked into.
      above: Ids of the functions that led here.
    """
    again = functools.partial(_told, package=package, above=above)
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(again, value)]
    if isinstance(value, set | frozenset):
        return ["set", *sorted(json.dumps(again(item)) for item in value)]
    if isinstance(value, Mapping):
        pairs = [[repr(key), again(own)] for key, own in value.items()]
        return ["mapping", *sorted(pairs, key=lambda pair: pair[0])]
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, keras.Model):
        return model_files.digest(value)
    if isinstance(value, np.ndarray | np.generic) or tf.is_tensor(value):
        return _array(np.asarray(value))
    if isinstance(value, tf.Variable | keras.Variable):
        return _array(value.numpy())
    if isinstance(value, types.CodeType):
        own = (value.co_names, value.co_varnames, *value.co_consts)
        return [value.co_code.hex(), *map(again, own)]
    if isinstance(value, functools.partial):
        return again([value.func, value.args, value.keywords])
    if isinstance(value, types.MethodType):
        return again([value.__func__, value.__self__])
    if isinstance(value, types.FunctionType):
        return _function(value, package, above)
    if hasattr(value, "python_function"):  # A tf.function.
        return again(value.python_function)
    if callable(value) and getattr(value, "__qualname__", ""):
        return f"{value.__module__}.{value.__qualname__}"
    raise errors.InputError(
        f"output=... cannot keep this attack's results: it holds a "
        f"{type(value).__name__}, and another of these cannot be told from "
        "it. Pass numbers, strings and arrays instead, or leave output out."
    )


def _array(value: np.ndarray) -> list[str]:
    content = np.ascontiguousarray(value).tobytes()
    return [
        str(value.dtype),
        str(value.shape),
        hashlib.sha256(content).hexdigest(),
    ]


def _function(
    value: types.FunctionType, package: str, above: tuple[int, ...]
) -> Any:
    name = f"{value.__module__}.{value.__qualname__}"
    if id(value) in above or (above and _package(value) != package):
        return name
    again = functools.partial(_told, package=package, above=(*above, id(value)))
    held = [_content(cell) for cell in value.__closure__ or ()]
    read = {
        key: value.__globals__[key]
        for key in _names(value.__code__)
        if key in value.__globals__
    }
    return [
        again(value.__code__),
        again(value.__defaults__),
        again(value.__kwdefaults__),
        *map(again, held),
        again(read),
    ]


def _content(cell) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # Not filled yet.
        return None


def _names(code: types.CodeType) -> set[str]:
    """Returns the names that code reads, and the functions within it."""
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))
