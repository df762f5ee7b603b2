"""Who a classifier or a function is, so that no result is taken for that of another one.

A Keras network is its graph with the configuration of every layer, and its weights. The names of
layers do not count: Keras numbers them anew in every process. Any other function is its code with
all that the code reads, its first logits and its first gradients. The range of pixels belongs to a
classifier as well.

```python
compute_classifier_identity(model, images)  # SHA-256, 64 hex digits.
compute_function_digest(attack)
```
"""

import ast
import functools
import inspect
import json
import textwrap
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from qup.core import code, errors, gradients, hashing, syntax
from qup.core.classifier import Classifier, get_classifier_program, predict_logits, wrap_classifier
from qup.core.types import LogitsFn

# Decimals of logits, and significant digits of gradients, that identify a function. More would tell
# one batch size from another.
_DIGITS = 3


def compute_classifier_identity(logits_fn: LogitsFn, images: np.ndarray) -> str:
    """Returns a SHA-256 digest of a classifier, 64 hex digits.

    Args:
      logits_fn: The classifier.
      images: float32 [batch, ...] in [0, 1]; a function that is not made of Keras layers alone is
        also identified by its logits and gradients there.
    """
    classifier = wrap_classifier(logits_fn)
    model = classifier.model
    description: dict[str, Any] = {"pixel_range": list(classifier.pixel_range)}
    if isinstance(model, keras.Model):
        description["network"] = compute_network_identity(model)
    else:
        description["function"] = _describe_function_or_type(model)
        variables = getattr(model, "variables", ())
        if isinstance(variables, list | tuple):
            description["variables"] = [hashing.hash_array(v.numpy()) for v in variables]
    if not is_declared_network(model):
        description |= _compute_responses(classifier, images)
    return hashing.hash_json(description)


def compute_network_identity(network: keras.Model) -> str:
    """Returns a SHA-256 digest of the layers and the weights of a Keras model."""
    return hashing.hash_json([describe_architecture(network), hashing.hash_weights(network)])


def is_declared_network(model: Any) -> bool:
    """Returns whether the configuration of a Keras model says everything that it computes."""
    if not isinstance(model, keras.Sequential) and type(model) is not _get_functional_class():
        return False
    return all(
        is_declared_network(layer)
        if isinstance(layer, keras.Model)
        else type(layer).__module__.split(".")[0] in ("keras", "qup")
        and not isinstance(layer, keras.layers.Lambda)
        for layer in model.layers
    )


def _get_functional_class() -> type:
    inputs = keras.Input((1,))
    # Keras 3.11 refuses a model whose output is its input.
    return type(keras.Model(inputs, keras.layers.Identity()(inputs)))


def describe_architecture(network: keras.Model) -> Any:
    """Returns the configuration of a Keras model as JSON values, without the names of layers."""
    try:
        config = keras.saving.serialize_keras_object(network)
    except Exception:
        # A subclassed model need not be serialisable; its responses identify it as well.
        return f"{type(network).__module__}.{type(network).__qualname__}"
    config = json.loads(json.dumps(config, default=repr))
    names: dict[str, str] = {}
    for name in _iterate_names(config):
        names.setdefault(name, f"layer {len(names)}")
    return _replace_names(config, names)


def _iterate_names(config: Any) -> Iterator[str]:
    """Yields the name of each layer in a configuration, in its order."""
    if isinstance(config, dict):
        layer_config = config.get("config")
        if "class_name" in config and isinstance(layer_config, dict) and "name" in layer_config:
            yield layer_config["name"]
    for item in config.values() if isinstance(config, dict) else config:
        if isinstance(item, dict | list):
            yield from _iterate_names(item)


def _replace_names(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [_replace_names(item, names) for item in value]
    if isinstance(value, dict):
        return {key: _replace_names(item, names) for key, item in value.items()}
    return value


def _describe_function_or_type(function: Any) -> str:
    """Returns the digest of a function, or the name of a type whose objects have none."""
    try:
        return compute_function_digest(function)
    except errors.InputError:
        return f"{type(function).__module__}.{type(function).__qualname__}"


def _compute_responses(classifier: Classifier, images: np.ndarray) -> dict[str, str]:
    """Returns digests of the logits and of the gradients, rounded."""
    images = tf.convert_to_tensor(images)
    logits = predict_logits(classifier, images).numpy()
    responses = {"logits": hashing.hash_array(_round(logits, _DIGITS))}
    gradient = get_classifier_program(classifier, "sum gradient", _build_sum_gradient)(images)
    if gradient is not None:
        values = gradient.numpy()
        scale = np.abs(values).max() or 1.0
        responses["gradients"] = hashing.hash_array(_round(values / scale, _DIGITS))
    return responses


def _round(values: np.ndarray, digits: int) -> np.ndarray:
    return np.round(values, digits) + 0.0  # Without negative zeros.


def _build_sum_gradient(call: LogitsFn) -> Callable:
    """Returns the gradient of a weighted sum of the logits; that of probabilities is constant."""

    def weigh(logits: tf.Tensor) -> tf.Tensor:
        weights = tf.range(1, logits.shape[1] + 1, dtype=logits.dtype)
        return tf.reduce_sum(logits * weights, -1)

    return tf.function(
        lambda images: gradients.differentiate_logits(call, weigh, images)[2], autograph=False
    )


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
    if isinstance(value, weakref.WeakKeyDictionary):
        return "cache"  # What it holds depends on what ran before.
    if isinstance(value, Mapping):
        pairs = [[repr(key), describe(item)] for key, item in value.items()]
        return ["mapping", *sorted(pairs, key=lambda pair: pair[0])]
    if isinstance(value, types.ModuleType):
        # The digest of the code covers what it reads from modules of its own package.
        is_own_module = value.__name__.split(".")[0] == package
        return "module" if is_own_module else value.__name__
    if isinstance(value, type):
        return _describe_class(value, package)
    if isinstance(value, Classifier):
        return describe([value.model, value.pixel_range])
    if isinstance(value, keras.Model):
        return compute_network_identity(value)
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
        f"Results of this function cannot be stored in output=...: it depends on a "
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
