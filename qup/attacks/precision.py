"""A faster copy of a Keras classifier, only for attacks.

The copy computes in bfloat16. Each batch normalisation after a convolution or dense layer is folded
into the weights of this layer.
"""

import keras
import numpy as np
import tensorflow as tf

from qup.core import compilation, errors
from qup.core.types import LogitsFn

NAMES = ("float32", "bfloat16")
_LINEAR_LAYERS = (keras.layers.Conv2D, keras.layers.Dense)


def get_precision_copy(logits_fn: LogitsFn, precision: str) -> LogitsFn:
    """Returns the classifier itself, or its copy in another precision.

    A model has one copy, and every call copies the current weights into it.

    Args:
      logits_fn: The classifier.
      precision: "float32" (the classifier itself) or "bfloat16".

    Raises:
      InputError: Unknown precision, or a classifier that is not a Keras model.
    """
    if precision not in NAMES:
        raise errors.make_unknown_error("precision", precision, NAMES)
    if precision == "float32":
        return logits_fn
    if not isinstance(logits_fn, keras.Model):
        raise errors.InputError(
            f"precision={precision!r} needs a Keras model, whose layers can be copied; got "
            f"{type(logits_fn).__name__}. Use precision='float32'."
        )
    copy = compilation.get_program(
        logits_fn, ("copy", precision), lambda _: _Bfloat16Copy(logits_fn)
    )
    copy.update_weights(logits_fn)
    return copy


class _IdentityLayer(keras.layers.Layer):
    """Replaces a folded batch normalisation and accepts its arguments."""

    def call(self, inputs, mask=None):
        return inputs


class _Bfloat16Copy:
    """A model with the same layers in bfloat16."""

    def __init__(self, model: keras.Model):
        self._layers: list[tuple[keras.Layer, str, str | None]] = []
        try:
            self._model = self._clone_model(model, "")
        except (ValueError, TypeError, NotImplementedError) as error:
            raise errors.InputError(
                f"The model {model.name!r} cannot be copied layer by layer: {error}. Use "
                "precision='float32'."
            ) from error

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Returns float32 logits."""
        return tf.cast(self._model(images, training=False), tf.float32)

    def _clone_model(self, model: keras.Model, prefix: str) -> keras.Model:
        batch_norms = _find_foldable_norms(model)

        def clone(layer: keras.Layer) -> keras.Layer:
            path = f"{prefix}{layer.name}"
            if isinstance(layer, keras.Model):
                return self._clone_model(layer, f"{path}/")
            if layer.name in batch_norms.values():
                return _IdentityLayer(name=layer.name)
            if not isinstance(layer, keras.Layer):
                # An operation of keras.ops computes in the dtype of its inputs.
                return type(layer).from_config(layer.get_config())
            config = layer.get_config() | {"dtype": "mixed_bfloat16"}
            batch_norm = batch_norms.get(layer.name)
            if batch_norm:
                config["use_bias"] = True
            copied_layer = type(layer).from_config(config)
            batch_norm = batch_norm and f"{prefix}{batch_norm}"
            self._layers.append((copied_layer, path, batch_norm))
            return copied_layer

        return keras.models.clone_model(model, clone_function=clone)

    def update_weights(self, model: keras.Model) -> None:
        """Copies the current weights of `model`."""
        source_layers = dict(_iterate_layers(model, ""))
        for copied_layer, path, batch_norm in self._layers:
            weights = [w.numpy() for w in source_layers[path].weights]
            if batch_norm:
                weights = _fold_batch_norm(weights, source_layers[batch_norm])
            copied_layer.set_weights(weights)


def _iterate_layers(model: keras.Model, prefix: str):
    for layer in model.layers:
        yield f"{prefix}{layer.name}", layer
        if isinstance(layer, keras.Model):
            yield from _iterate_layers(layer, f"{prefix}{layer.name}/")


def _find_foldable_norms(model: keras.Model) -> dict[str, str]:
    """Returns the batch norm of each linear layer whose only consumer is that batch norm."""
    foldable = {}
    for layer in model.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        (node, *more) = layer._inbound_nodes
        source = node.input_tensors[0]._keras_history.operation
        if (
            not more
            and isinstance(source, _LINEAR_LAYERS)
            and source.activation is keras.activations.linear
            and len(source._outbound_nodes) == 1
        ):
            foldable[source.name] = layer.name
    return foldable


def _fold_batch_norm(weights, batch_norm: keras.layers.BatchNormalization):
    """Returns the kernel and bias of a linear layer that includes its batch norm.

    gamma (W x + b - mean) / sqrt(var + eps) + beta = W' x + b'
    """
    kernel, *bias = weights
    variance = batch_norm.moving_variance.numpy()
    scale = 1 / np.sqrt(variance + batch_norm.epsilon)
    if batch_norm.gamma is not None:
        scale = scale * batch_norm.gamma.numpy()
    shift = (bias[0] if bias else 0.0) - batch_norm.moving_mean.numpy()
    beta = 0.0 if batch_norm.beta is None else batch_norm.beta.numpy()
    return [kernel * scale, scale * shift + beta]
