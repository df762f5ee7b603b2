"""Results on disk: a shard at a time, whole or absent.

A killed attack goes on where it stopped. What was kept belongs to one
classifier, one attack and one set of examples; anything else is refused.
"""

import ast
import functools
import inspect
import json
import pathlib
import textwrap
import types
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from qup.attacks.inputs import ExampleBatch
from qup.attacks.results import DISTANCE_NORMS, AttackResult, ShardedImages, concatenate_results
from qup.core import code, compilation, errors, files, hashing, syntax
from qup.core.types import LogitsFn


def compute_classifier_digest(logits_fn: LogitsFn, images: np.ndarray) -> str:
    """Returns a hash that tells one classifier from another.

    Of a Keras model its weights; of any other function its logits of
    `images`, to three digits.

    Args:
      logits_fn: The classifier.
      images: float32 [batch, ...].
    """
    weights_digest = hashing.hash_weights(logits_fn)
    if weights_digest is not None:
        return weights_digest
    logits = compilation.predict(logits_fn, images).numpy()
    return hashing.hash_bytes(np.round(logits, 3))


class ShardStore:
    """A folder of shards."""

    def __init__(self, folder, description: Mapping[str, Any]):
        """Opens the folder, or makes it.

        Args:
          folder: Where the shards lie.
          description: What they belong to, of JSON values.

        Raises:
          InputError: The folder belongs to something else.
        """
        self._folder = pathlib.Path(folder)
        self._num_shards = 0
        text = json.dumps(description, sort_keys=True, indent=1)
        record = self._folder / "attack.json"
        if record.exists():
            _check_same_attack(record, json.loads(text))
        elif self._folder.is_dir() and any(self._folder.iterdir()):
            raise errors.InputError(
                f"{self._folder} holds files but no attack.json: not results "
                "of an attack. Choose another folder."
            )
        else:
            files.write_text(record, text)

    def _get_paths(self, shard_number: int) -> tuple[pathlib.Path, pathlib.Path]:
        stem = f"shard-{shard_number:05}"
        return self._folder / f"{stem}.npy", self._folder / f"{stem}.npz"

    def read(self, shard_number: int, examples: ExampleBatch) -> AttackResult | None:
        """Returns a shard that is there and whole, else None.

        Args:
          shard_number: Of the shard.
          examples: The examples it must belong to.

        Raises:
          InputError: It belongs to other examples.
        """
        self._num_shards = max(self._num_shards, shard_number + 1)
        images_path, columns_path = self._get_paths(shard_number)
        try:
            with np.load(columns_path, allow_pickle=False) as stored:
                arrays = dict(stored)
            pixels = np.load(images_path, mmap_mode="r")
        except FileNotFoundError:
            return None
        except (ValueError, OSError, EOFError, zipfile.BadZipFile):
            return None
        if str(arrays.pop("examples")) != _compute_examples_digest(examples):
            raise errors.InputError(
                f"{columns_path} belongs to other images, labels or ids. Name "
                "another output folder, or remove this one."
            )
        if pixels.shape != examples.images.shape:
            return None
        return AttackResult(
            images=pixels,
            distances={norm: arrays.pop(norm) for norm in DISTANCE_NORMS},
            stages=tuple(map(str, arrays.pop("stages"))),
            **arrays,
        )

    def write(self, shard_number: int, examples: ExampleBatch, result: AttackResult) -> None:
        """Keeps a shard.

        Raises:
          InputError: The disk is full or the folder forbidden.
        """
        images_path, columns_path = self._get_paths(shard_number)
        with files.atomic_write(images_path) as temporary_path:
            np.save(temporary_path, result.images)
        with files.atomic_write(columns_path) as temporary_path:
            np.savez(
                temporary_path,
                examples=_compute_examples_digest(examples),
                stages=np.array(result.stages),
                **result.columns(),
            )

    def combine(self, shard_results: list[AttackResult]) -> AttackResult:
        """Returns all shards as one result whose images stay on disk."""
        paths = [self._get_paths(shard_number)[0] for shard_number in range(self._num_shards)]
        return concatenate_results(shard_results, ShardedImages(paths))


def _check_same_attack(record: pathlib.Path, expected: Mapping[str, Any]) -> None:
    try:
        stored = json.loads(record.read_text())
    except ValueError as error:
        raise errors.InputError(
            f"{record} cannot be read: {error}. Name another output folder."
        ) from error
    for key in sorted({*stored, *expected}):
        if stored.get(key) != expected.get(key):
            raise errors.InputError(
                f"{record.parent} holds another attack's results: its {key} "
                f"is {stored.get(key)!r}, this one's {expected.get(key)!r}. "
                "Name another output folder."
            )


def _compute_examples_digest(examples: ExampleBatch) -> str:
    return hashing.hash_parts(np.ascontiguousarray(column).tobytes() for column in examples)


# What tells one function from another: its code and all that it holds.
#
# ```python
# digest(attack)  # 64 hex digits, other ones for another lambda or closure
# ```
#
# Code counts by its syntax tree, with what it reaches in its own package, see
# `qup.core.code`: neither comments and formatting nor the version of Python
# and the names of the package's modules make another. Where there is no source,
# as after `exec` and for a lambda at a Python prompt, or where the file was
# edited since it was imported, its bytecode counts: another version of Python
# may then take it for another function.


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
    return hashing.hash_json(_describe_value(function, package, ()))


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
        return hashing.hash_weights(value)
    if isinstance(value, np.ndarray | np.generic) or tf.is_tensor(value):
        return hashing.hash_array(np.asarray(value))
    if isinstance(value, tf.Variable | keras.Variable):
        return hashing.hash_array(value.numpy())
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
            return syntax.summarize(ast.parse(text).body[0]).text
        except (OSError, TypeError, SyntaxError, IndexError):
            pass  # It has no source.
    return f"{value.__module__}.{value.__qualname__}"


def _code(value: types.FunctionType, package: str) -> str | types.CodeType:
    """Returns a function's tree, or its bytecode where there is no source."""
    tree = syntax.find_tree(value)
    if tree is None:
        return value.__code__
    if package != __package__.split(".")[0]:
        try:
            return code.compute_digest(value, tree=tree)
        except code.CodeError:
            pass  # It is in no file, as in a notebook.
    return syntax.summarize(tree).text


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
