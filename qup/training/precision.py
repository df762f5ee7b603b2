"""Training of a float32 model in half precision.

Weights and the state of the optimizer stay float32, and the model keeps its own precision: the
policies of its layers differ only while a program is traced.

```python
logits_fn = MixedPrecisionCall(model, model, "mixed_bfloat16")
logits = logits_fn(images, training=True)  # float32
```

Method: Micikevicius et al. 2018, "Mixed precision training", arXiv 1710.03740.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

import keras
import tensorflow as tf

from qup.core import errors

POLICIES = ("mixed_bfloat16", "mixed_float16")
_policy_lock = threading.RLock()


def choose_policy(mixed_precision: bool | str) -> str | None:
    """Returns the name of a policy of Keras; None for the model's own precision.

    Args:
      mixed_precision: A name of `POLICIES`; True for the faster one of this machine, float16 on a
        GPU and bfloat16 elsewhere; False for none.

    Raises:
      InputError: Another value.
    """
    if isinstance(mixed_precision, bool):
        if not mixed_precision:
            return None
        return POLICIES[bool(tf.config.list_logical_devices("GPU"))]
    if mixed_precision not in POLICIES:
        raise errors.make_unknown_error("mixed_precision", mixed_precision, POLICIES)
    return mixed_precision


class MixedPrecisionCall:
    """A model as a function to float32 logits, whose layers compute in half precision.

    The last layer with weights stays float32: half precision would round the logits.
    """

    def __init__(self, model: keras.Model, logits_fn: Callable, policy: str):
        """Does not change the model.

        Args:
          model: The model whose layers change while `logits_fn` is traced.
          logits_fn: The model, or its `Classifier`.
          policy: One of `POLICIES`.
        """
        layers = list(model._flatten_layers(include_self=False))
        leaves = [layer for layer in layers if not list(layer._flatten_layers(include_self=False))]
        weighted = [layer for layer in leaves if layer.weights]
        self._layers = [
            layer
            for layer in leaves
            if layer.dtype_policy.name == "float32" and layer is not weighted[-1]
        ]
        self._logits_fn = logits_fn
        self._policy = keras.dtype_policies.DTypePolicy(policy)
        self.__name__ = model.name

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns logits, float32 [batch, num_classes], of float32 images in [0, 1].

        Raises:
          InputError: An operation of the model does not accept half precision.
        """
        try:
            with _replace_policies(self._layers, self._policy):
                logits = self._logits_fn(images, training=training)
        except (errors.InputError, MemoryError, tf.errors.ResourceExhaustedError):
            raise
        except Exception as error:
            raise errors.InputError(
                f"The model {self.__name__!r} cannot compute in {self._policy.name}: "
                f"{errors.format_first_line(error)}. Use mixed_precision=False."
            ) from error
        return tf.cast(logits, tf.float32)


@contextlib.contextmanager
def _replace_policies(
    layers: Sequence[keras.Layer], policy: keras.dtype_policies.DTypePolicy
) -> Iterator[None]:
    """Sets the policy of layers while a program is traced."""
    with _policy_lock:
        policies = [layer.dtype_policy for layer in layers]
        for layer in layers:
            layer.dtype_policy = policy
        try:
            yield
        finally:
            for layer, previous in zip(layers, policies, strict=True):
                layer.dtype_policy = previous


def needs_loss_scaling(model: keras.Model, policy: str | None) -> bool:
    """Returns whether gradients may underflow: some layer computes in float16."""
    layers = model._flatten_layers()
    return policy == "mixed_float16" or any(layer.compute_dtype == "float16" for layer in layers)
