"""A faster copy of a Keras classifier, only for attacks.

The copy computes in bfloat16. Each batch normalisation after a convolution or dense layer is folded
into the weights of this layer.
"""

import keras
import numpy as np

from qup.core import errors
from qup.core.classifier import Classifier, get_classifier_program, wrap_classifier
from qup.core.types import LogitsFn

NAMES = ("float32", "bfloat16")
_LINEAR_LAYERS = (keras.layers.Conv2D, keras.layers.Dense)


def get_precision_copy(logits_fn: LogitsFn, precision: str, images=None) -> LogitsFn:
    """Returns the classifier itself, or its copy in another precision.

    A model has one copy, and every call copies the current weights into it.

    Args:
      logits_fn: The classifier.
      precision: "float32" (the classifier itself) or "bfloat16".
      images: float32 [batch, ...], the first ones, which show what the outputs are; None if the
        classifier was inspected before, or returns logits.

    Raises:
      InputError: Unknown precision, or a classifier that is not a Keras model.
    """
    if precision not in NAMES:
        raise errors.make_unknown_error("precision", precision, NAMES)
    if precision == "float32":
        return logits_fn
    classifier = wrap_classifier(logits_fn)
    if not isinstance(classifier.model, keras.Model):
        raise errors.InputError(
            f"precision={precision!r} needs a Keras model, whose layers can be copied; received "
            f"{classifier.name}. Use precision='float32'."
        )
    if images is not None:
        classifier.inspect(images)
    copy = get_classifier_program(
        classifier, ("copy", precision), lambda _: _Bfloat16Copy(classifier)
    )
    copy.update_weights(classifier)
    return copy.classifier


class _IdentityLayer(keras.layers.Layer):
    """Replaces a folded batch normalisation and accepts its arguments."""

    def call(self, inputs, mask=None):
        return inputs


class _Bfloat16Copy:
    """A model with the same layers in bfloat16."""

    def __init__(self, classifier: Classifier):
        model, self._linear_layer = classifier.get_logits_model()
        self._layers: list[tuple[keras.Layer, str, str | None]] = []
        try:
            copied_model = self._clone_model(model, "")
        except (ValueError, TypeError, NotImplementedError) as error:
            raise errors.InputError(
                f"The model {model.name!r} cannot be copied layer by layer: {error}. Use "
                "precision='float32'."
            ) from error
        del self._linear_layer  # It would keep the original model alive.
        self.classifier = classifier.replace_model(copied_model)

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
            if layer is self._linear_layer:
                config["activation"] = "linear"
            copied_layer = type(layer).from_config(config)
            batch_norm = batch_norm and f"{prefix}{batch_norm}"
            self._layers.append((copied_layer, path, batch_norm))
            return copied_layer

        return keras.models.clone_model(model, clone_function=clone)

    def update_weights(self, classifier: Classifier) -> None:
        """Copies the current weights of the original."""
        model, _ = classifier.get_logits_model()
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
