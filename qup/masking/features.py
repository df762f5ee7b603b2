"""What a linear readout can be put on: the last features, or the logits.

```python
call = features(case)  # images -> float32 [batch, size]
```
"""

import functools
import math

import keras
import tensorflow as tf

from qup import compilation
from qup.attacks.base import checks
from qup.masking.case import DiagnosisCase
from qup.types import LogitsFn


def build_feature_fn(case: DiagnosisCase) -> LogitsFn:
    """Returns the features of a case's classifier.

    Args:
      case: Its classifier is a Keras model, or any function.

    Returns:
      A function of images, the same at every call; float32 [batch, size].
      Of a Keras model whose layers are known and one of which is Dense,
      what the last Dense layer receives; of anything else the logits.
    """
    probabilities = case.classifier_info.probabilities

    def build(call: LogitsFn) -> LogitsFn:
        feature_model = None
        if isinstance(case.classifier, keras.Model):
            feature_model = _truncate_at_last_dense(case.classifier)
        if feature_model is None:
            feature_fn = checks.convert_to_logits(call, probabilities)
        else:
            feature_fn = functools.partial(feature_model, training=False)
        return lambda images: _flatten(feature_fn(images))

    return compilation.get_program(case.classifier, "masking features", build)


def _flatten(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, (-1, math.prod(values.shape[1:])))


def _truncate_at_last_dense(model: keras.Model) -> keras.Model | None:
    for layer in reversed(model.layers):
        if isinstance(layer, keras.layers.Dense):
            try:
                return keras.Model(model.inputs, layer.input)
            except (AttributeError, ValueError):
                # A subclassed model keeps no graph, and a layer that is
                # used twice has no one input.
                return None
    return None
