"""What the layers of a Keras model say about its images and its outputs, without running it."""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from qup.core.types import LogitsFn

# The kinds of outputs of a classifier.
LOGITS = "logits"
LOG_PROBABILITIES = "log_probabilities"
SOFTMAX = "softmax"
SIGMOID = "sigmoid"
BINARY_LOGIT = "binary_logit"
BINARY_PROBABILITY = "binary_probability"
# Layers that pass values on unchanged, apart from their shape or type.
_IDENTITY_LAYERS = (keras.layers.Dropout, keras.layers.Flatten, keras.layers.Reshape)
# Scales that turn bytes into [0, 1] or [-1, 1]: 1/255 and 1/127.5, with room for 1/256.
_BYTE_SCALES = (1 / 260, 1 / 120)
_activation_lock = threading.RLock()


@dataclasses.dataclass(frozen=True)
class FinalActivation:
    """The activation at the end of a Keras model.

    Attributes:
      kind: The kind of outputs that it gives.
      layer: The layer whose `activation` is left out, or None.
      truncated: The model without its last layer, or None.
    """

    kind: str
    layer: keras.Layer | None = None
    truncated: keras.Model | None = None

    @property
    def is_stripped(self) -> bool:
        """Whether an activation is left out."""
        return self.layer is not None or self.truncated is not None


def _get_activation_kind(function: Any, num_columns: int) -> str | None:
    """Returns the kind of outputs that an activation gives; None if it is none of the known."""
    name = getattr(function, "__name__", type(function).__name__).lower().replace("_", "")
    if name == "softmax":
        return SOFTMAX
    if name == "sigmoid":
        return BINARY_PROBABILITY if num_columns == 1 else SIGMOID
    return LOG_PROBABILITIES if name == "logsoftmax" else None


def find_final_activation(model: keras.Model) -> FinalActivation | None:
    """Returns the activation at the end of a model whose layers are known, or None."""
    outputs = getattr(model, "outputs", None)
    if not outputs or len(outputs) != 1:
        return None
    tensor, is_nested = outputs[0], False
    while True:
        history = getattr(tensor, "_keras_history", None)
        if history is None:
            return None
        operation = history.operation
        if isinstance(operation, keras.Model):
            if len(operation.outputs or ()) != 1:
                return None
            tensor, is_nested = operation.outputs[0], True
            continue
        num_columns = tensor.shape[-1]
        node = operation._inbound_nodes[history.node_index]
        activation = getattr(operation, "activation", None)
        is_linear = activation is keras.activations.linear
        is_pass_through = isinstance(operation, _IDENTITY_LAYERS) or (
            isinstance(operation, keras.layers.Activation) and is_linear
        )
        if is_pass_through and len(node.input_tensors) == 1:
            tensor = node.input_tensors[0]
            continue
        if is_linear and isinstance(operation, keras.layers.Dense):
            return FinalActivation(BINARY_LOGIT if num_columns == 1 else LOGITS)
        kind = _get_activation_kind(operation if activation is None else activation, num_columns)
        if kind is None:
            return None
        if activation is not None:
            return FinalActivation(kind, layer=operation)
        if is_nested or len(node.input_tensors) != 1 or tensor is not outputs[0]:
            return None
        truncated = keras.Model(model.inputs, node.input_tensors[0])
        return FinalActivation(kind, truncated=truncated)


@contextlib.contextmanager
def replace_activation(layer: keras.Layer) -> Iterator[None]:
    """Leaves the activation of a layer out while a program is traced."""
    with _activation_lock:
        activation = layer.activation
        layer.activation = keras.activations.linear
        try:
            yield
        finally:
            layer.activation = activation


def _iterate_first_operations(model: Any) -> Iterator[Any]:
    """Yields the operations of a Keras model from its input up to the first one that learns."""
    for operation in getattr(model, "_operations", None) or getattr(model, "layers", ()):
        if isinstance(operation, keras.Model):
            yield from _iterate_first_operations(operation)
            if operation.trainable_variables:
                return
            continue
        yield operation
        if getattr(operation, "trainable_variables", ()):
            return


def find_shape_conflict(model: keras.Model, image_shape: tuple[int, ...]) -> str | None:
    """Returns the declared shape of one image if images of another shape contradict it, or None.

    A network with global pooling runs on images of every size, and is right for one. An image of
    another rank is left to Keras, which adds or removes an axis of length 1.
    """
    inputs = getattr(model, "inputs", None)
    declared = tuple(inputs[0].shape[1:]) if inputs else ()
    pairs = list(zip(declared, image_shape, strict=False))
    if len(declared) != len(image_shape) or all(a in (None, b) for a, b in pairs):
        return None
    return " x ".join("any" if size is None else str(size) for size in declared)


def find_byte_scaling(logits_fn: LogitsFn) -> str | None:
    """Returns why a Keras model expects pixels of 0 to 255, or None."""
    if not isinstance(logits_fn, keras.Model):
        return None
    inputs = getattr(logits_fn, "inputs", None)
    if inputs and "int" in str(inputs[0].dtype):
        return f"it declares {inputs[0].dtype} images"
    # A model may first scale [0, 1] to bytes and then back: the product of all factors counts.
    product, name = 1.0, ""
    for operation in _iterate_first_operations(logits_fn):
        factor = _get_constant_factor(operation)
        if isinstance(operation, keras.layers.Rescaling):
            factor = float(np.max(np.abs(np.asarray(operation.scale, np.float64))))
        if factor is not None:
            product, name = product * abs(factor), operation.name
        if isinstance(operation, keras.layers.Normalization):
            mean = getattr(operation, "mean", None)
            if mean is not None and np.max(keras.ops.convert_to_numpy(mean)) > 2 * max(product, 1):
                return f"its layer {operation.name!r} subtracts a mean above 2"
    if _BYTE_SCALES[0] <= product <= _BYTE_SCALES[1]:
        return f"its layer {name!r} multiplies them by {product:.4g}"
    return None


def _get_constant_factor(operation: Any) -> float | None:
    """Returns the number by which an operation of keras.ops multiplies its input, or None."""
    kind = type(operation).__name__
    if kind not in ("TrueDivide", "Divide", "Multiply") or not operation._inbound_nodes:
        return None
    arguments = operation._inbound_nodes[0].arguments.args
    numbers = [value for value in arguments if isinstance(value, int | float) and value]
    if len(numbers) != 1:
        return None
    return float(numbers[0]) if kind == "Multiply" else 1 / float(numbers[0])


def build_float_input(model: keras.Model) -> keras.Model | None:
    """Returns a model of integer images as one of float32 with the same layers, else None.

    Keras casts images to the declared type, and a cast to integers has no gradient.
    """
    inputs, is_sequential = getattr(model, "inputs", None), isinstance(model, keras.Sequential)
    if not (is_sequential or hasattr(model, "_operations")) or not inputs:
        return None
    if len(inputs) != 1 or "int" not in str(inputs[0].dtype):
        return None
    tensors = [keras.Input(batch_shape=inputs[0].shape, dtype="float32")]
    if not is_sequential:
        tensors = keras.tree.pack_sequence_as(model.input, tensors)
    try:
        return keras.models.clone_model(
            model, input_tensors=tensors, clone_function=lambda layer: layer
        )
    except (ValueError, TypeError):
        return None
