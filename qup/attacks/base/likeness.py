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

_SCALAR_TYPES = (bool, int, float, complex, str, bytes, type(None), type(...))


def compute_function_digest(function: Callable) -> str:
    """Returns SHA-256, in hex, of a function.

    Of its code, its defaults, what it closes over and the globals it reads;
    of functions and classes of other packages their names. Of this package
    the code counts of the function alone: a later version's results are
    still its own.

    Raises:
      InputError: It holds something that cannot be told from another.
    """
    package = _get_package(function)
    return hashing.json_digest(_describe_value(function, package, ()))


def _get_package(function: Callable) -> str:
    return (getattr(function, "__module__", None) or "").split(".")[0]


def _describe_value(value: Any, package: str, ancestors: tuple[int, ...]) -> Any:
    """Returns JSON values that tell `value` from another.

    Args:
      value: Anything.
      package: That of the function, whose own functions are looked into.
      ancestors: Ids of the functions that led here.
    """
    describe = functools.partial(_describe_value, package=package, ancestors=ancestors)
    if isinstance(value, _SCALAR_TYPES):
        return repr(value)
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(describe, value)]
    if isinstance(value, set | frozenset):
        return ["set", *sorted(json.dumps(describe(item)) for item in value)]
    if isinstance(value, Mapping):
        pairs = [[repr(key), describe(item)] for key, item in value.items()]
        return ["mapping", *sorted(pairs, key=lambda pair: pair[0])]
    if isinstance(value, types.ModuleType):
        # What is read of an own one, the code that reads it tells.
        code_parts = value.__name__.split(".")[0] == package
        return "module" if code_parts else value.__name__
    if isinstance(value, type):
        return _class(value, package)
    if isinstance(value, keras.Model):
        return model_files.hash_weights(value)
    if isinstance(value, np.ndarray | np.generic) or tf.is_tensor(value):
        return hashing.array_digest(np.asarray(value))
    if isinstance(value, tf.Variable | keras.Variable):
        return hashing.array_digest(value.numpy())
    if isinstance(value, types.CodeType):
        code_parts = (value.co_names, value.co_varnames, *value.co_consts)
        return [value.co_code.hex(), *map(describe, code_parts)]
    if isinstance(value, functools.partial):
        return describe([value.func, value.args, value.keywords])
    if isinstance(value, types.MethodType):
        return describe([value.__func__, value.__self__])
    if isinstance(value, types.FunctionType):
        return _describe_function(value, package, ancestors)
    if hasattr(value, "python_function"):  # A tf.function.
        return describe(value.python_function)
    if callable(value) and getattr(value, "__qualname__", ""):
        return f"{value.__module__}.{value.__qualname__}"
    raise errors.InputError(
        f"output=... cannot keep this attack's results: it holds a "
        f"{type(value).__name__}, and another of these cannot be told from "
        "it. Pass numbers, strings and arrays instead, or leave output out."
    )


def _class(value: type, package: str) -> str:
    """Returns a class's tree if it is the package's own, else its name."""
    if _get_package(value) == package:
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


def _describe_function(value: types.FunctionType, package: str, ancestors: tuple[int, ...]) -> Any:
    if id(value) in ancestors:
        return value.__qualname__
    if ancestors and _get_package(value) != package:
        return f"{value.__module__}.{value.__qualname__}"
    describe = functools.partial(
        _describe_value, package=package, ancestors=(*ancestors, id(value))
    )
    closure_values = [_get_cell_contents(cell) for cell in value.__closure__ or ()]
    global_values = {
        key: value.__globals__[key]
        for key in _collect_names(value.__code__)
        if key in value.__globals__
    }
    return [
        describe(_code(value, package)),
        describe(value.__defaults__),
        describe(value.__kwdefaults__),
        *map(describe, closure_values),
        describe(global_values),
    ]


def _get_cell_contents(cell) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # Not filled yet.
        return None


def _collect_names(code: types.CodeType) -> set[str]:
    """Returns the names that code reads, and the functions within it."""
    inner_codes = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*map(_collect_names, inner_codes))
