"""Results on disk, one shard at a time, so that a killed attack resumes from its last shard.

A folder belongs to one classifier, one attack and one set of examples. Digests of these three
refuse any other.
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

from qup.attacks.functional import FunctionAttack
from qup.attacks.inputs import ExampleBatch
from qup.attacks.method import Method
from qup.attacks.results import DISTANCE_NORMS, AttackResult, ShardedImages, concatenate_results
from qup.core import code, compilation, errors, files, hashing, syntax
from qup.core.types import LogitsFn


def compute_classifier_digest(logits_fn: LogitsFn, images: np.ndarray) -> str:
    """Returns a digest of the weights of a Keras model.

    For any other function: of its logits for `images`, float32 [batch, ...], to three digits.
    """
    weights_digest = hashing.hash_weights(logits_fn)
    if weights_digest is not None:
        return weights_digest
    logits = compilation.predict(logits_fn, images).numpy()
    return hashing.hash_bytes(np.round(logits, 3))


class ShardStore:
    """A folder of shards."""

    def __init__(self, folder, description: Mapping[str, Any]):
        """Opens or creates the folder.

        Args:
          folder: The folder.
          description: JSON values that describe the classifier and the attack.

        Raises:
          InputError: The folder belongs to another classifier or attack.
        """
        self._folder = pathlib.Path(folder)
        self._num_shards = 0
        text = json.dumps(description, sort_keys=True, indent=1)
        record = self._folder / "attack.json"
        if record.exists():
            _check_same_attack(record, json.loads(text))
        elif self._folder.is_dir() and any(self._folder.iterdir()):
            raise errors.InputError(
                f"{self._folder} holds files but no attack.json, so they are not results of an "
                "attack. Choose another folder."
            )
        else:
            files.write_text(record, text)

    def _get_paths(self, shard_number: int) -> tuple[pathlib.Path, pathlib.Path]:
        stem = f"shard-{shard_number:05}"
        return self._folder / f"{stem}.npy", self._folder / f"{stem}.npz"

    def read(self, shard_number: int, examples: ExampleBatch) -> AttackResult | None:
        """Returns a shard if it exists and is complete, else None.

        Args:
          shard_number: The number of the shard.
          examples: The examples to which it must belong.

        Raises:
          InputError: The shard belongs to other examples.
        """
        self._num_shards = max(self._num_shards, shard_number + 1)
        images_path, columns_path = self._get_paths(shard_number)
        try:
            with np.load(columns_path, allow_pickle=False) as stored:
                arrays = dict(stored)
            pixels = np.load(images_path, mmap_mode="r")
        except (ValueError, OSError, EOFError, zipfile.BadZipFile):
            return None  # It is missing or incomplete.
        if str(arrays.pop("examples")) != _compute_examples_digest(examples):
            raise errors.InputError(
                f"{columns_path} belongs to other images, labels or ids. Name another output "
                "folder, or remove this one."
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
        """Stores a shard.

        Raises:
          InputError: The disk is full or the folder is not writable.
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
        """Returns the results of all shards as one result whose images stay on disk."""
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
                f"{record.parent} holds another attack's results: {key} is {stored.get(key)!r} "
                f"there and {expected.get(key)!r} here. Name another output folder."
            )


def _compute_examples_digest(examples: ExampleBatch) -> str:
    return hashing.hash_parts(np.ascontiguousarray(column).tobytes() for column in examples)


def describe_attack(
    attack: Method | FunctionAttack, *, batch_size: int, targets: Any, epsilon: Any
) -> dict[str, Any]:
    """Returns JSON values that describe an attack and its options, for `ShardStore`.

    Raises:
      InputError: The attack is a function that depends on values without a digest.
    """
    is_function = isinstance(attack, FunctionAttack)
    options = attack.options if is_function else vars(attack)
    description = {
        "attack": attack.name,
        "options": {key: _shorten_array(value) for key, value in options.items()},
        "batch_size": batch_size,
        "targets": _shorten_array(targets),
        "epsilon": _shorten_array(epsilon),
    }
    if is_function:
        description["function"] = compute_function_digest(attack.function)
    return json.loads(json.dumps(description, default=repr))


def _shorten_array(value: Any) -> Any:
    """Returns the shape and digest of an array, or the value itself."""
    if isinstance(value, np.ndarray | list) or tf.is_tensor(value):
        content = np.ascontiguousarray(value)
        return f"{content.shape} {hashing.hash_bytes(content)}"
    return value


# The digest of a function.
#
# The source counts as its syntax tree, with the code that it reaches in its own package (see
# `qup.core.code`). So comments, formatting, the version of Python and the names of modules do not
# change the digest. Without a source file (`exec`, a lambda at a Python prompt), or if the file
# changed after its import, the bytecode counts, which depends on the version of Python.

_SCALAR_TYPES = (bool, int, float, complex, str, bytes, type(None), type(...))


def compute_function_digest(function: Callable) -> str:
    """Returns a SHA-256 digest of a function, 64 hex digits.

    It covers the code, the defaults, the closure and the globals that the code reads; of functions
    and classes of other packages only their names. If the function belongs to this package, only
    its own code counts, so that results stay valid in later versions.

    Raises:
      InputError: The function depends on a value without a digest.
    """
    package = _get_package(function)
    return hashing.hash_json(_describe_value(function, package, ()))


def _get_package(function: Callable) -> str:
    return (getattr(function, "__module__", None) or "").split(".")[0]


def _describe_value(value: Any, package: str, ancestors: tuple[int, ...]) -> Any:
    """Returns JSON values that identify `value`.

    Args:
      value: Any object.
      package: The package of the function. Functions of this package are described by their code.
      ancestors: The ids of the functions that refer to `value`, to end recursion.
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
        # The digest of the code covers what it reads from modules of its own package.
        is_own_module = value.__name__.split(".")[0] == package
        return "module" if is_own_module else value.__name__
    if isinstance(value, type):
        return _describe_class(value, package)
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
        f"output=... cannot store the results of this attack: it depends on a "
        f"{type(value).__name__}, which has no digest. Use numbers, strings and arrays instead, "
        "or omit output."
    )


def _describe_class(value: type, package: str) -> str:
    """Returns the syntax tree of a class of the package, or the name of any other class."""
    if _get_package(value) == package:
        try:
            text = textwrap.dedent(inspect.getsource(value))
            return syntax.summarize(ast.parse(text).body[0]).text
        except (OSError, TypeError, SyntaxError, IndexError):
            pass  # There is no source.
    return f"{value.__module__}.{value.__qualname__}"


def _get_code(value: types.FunctionType, package: str) -> str | types.CodeType:
    """Returns the syntax tree of a function, or its bytecode if there is no source."""
    tree = syntax.find_tree(value)
    if tree is None:
        return value.__code__
    if package != __package__.split(".")[0]:
        try:
            return code.compute_digest(value, tree=tree)
        except code.CodeError:
            pass  # It is not in a file, for example in a notebook.
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
        describe(_get_code(value, package)),
        describe(value.__defaults__),
        describe(value.__kwdefaults__),
        *map(describe, closure_values),
        describe(global_values),
    ]


def _get_cell_contents(cell) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # The cell is empty.
        return None


def _collect_names(code: types.CodeType) -> set[str]:
    """Returns the names that code and its inner functions read."""
    inner_codes = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*map(_collect_names, inner_codes))
