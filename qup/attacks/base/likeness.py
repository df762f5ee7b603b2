"""What tells one function from another: its code and all that it holds.

```python
digest(attack)  # 64 hex digits, other ones for another lambda or closure
```

Code counts by its syntax tree, with what it reaches in its own package, see
`qup.core.code`: neither comments and formatting nor the version of Python
and the names of the package's modules make another. Where there is no source,
as after `exec` and for a lambda at a Python prompt, or where the file was
edited since it was imported, its bytecode counts: another version of Python
may then take it for another function.
"""

import ast
import functools
import inspect
import json
import textwrap
import types
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from qup import errors, model_files
from qup.core import code, hashing, sources, syntax

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))


def digest(function: Callable) -> str:
    """Returns SHA-256, in hex, of a function.

    Of its code, its defaults, what it closes over and the globals it reads;
    of functions and classes of other packages their names. Of this package
    the code counts of the function alone: a later version's results are
    still its own.

    Raises:
      InputError: It holds something that cannot be told from another.
    """
    package = _package(function)
    return hashing.json_digest(_told(function, package, ()))


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
        # What is read of an own one, the code that reads it tells.
        own = value.__name__.split(".")[0] == package
        return "module" if own else value.__name__
    if isinstance(value, type):
        return _class(value, package)
    if isinstance(value, keras.Model):
        return model_files.digest(value)
    if isinstance(value, np.ndarray | np.generic) or tf.is_tensor(value):
        return hashing.array_digest(np.asarray(value))
    if isinstance(value, tf.Variable | keras.Variable):
        return hashing.array_digest(value.numpy())
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


def _class(value: type, package: str) -> str:
    """Returns a class's tree if it is the package's own, else its name."""
    if _package(value) == package:
        try:
            text = textwrap.dedent(inspect.getsource(value))
            return syntax.read(ast.parse(text).body[0]).text
        except (OSError, TypeError, SyntaxError, IndexError):
            pass  # It has no source.
    return f"{value.__module__}.{value.__qualname__}"


def _code(value: types.FunctionType, package: str) -> str | types.CodeType:
    """Returns a function's tree, or its bytecode where there is no source."""
    tree = sources.tree_of(value)
    if tree is None:
        return value.__code__
    if package != __package__.split(".")[0]:
        try:
            return code.identity(value, tree=tree)
        except code.CodeError:
            pass  # It is in no file, as in a notebook.
    return syntax.read(tree).text


def _function(
    value: types.FunctionType, package: str, above: tuple[int, ...]
) -> Any:
    if id(value) in above:
        return value.__qualname__
    if above and _package(value) != package:
        return f"{value.__module__}.{value.__qualname__}"
    again = functools.partial(_told, package=package, above=(*above, id(value)))
    held = [_content(cell) for cell in value.__closure__ or ()]
    read = {
        key: value.__globals__[key]
        for key in _names(value.__code__)
        if key in value.__globals__
    }
    return [
        again(_code(value, package)),
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
