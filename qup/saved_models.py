"""A SavedModel, whoever wrote it, as a classifier.

```python
classifier = load("serving/classifier/1")
logits = classifier(images)
```
"""

import pathlib

import tensorflow as tf

from qup import errors

_ENDPOINT = "serving_default"


class SavedModelClassifier:
    """The endpoint `serving_default` of a SavedModel."""

    def __init__(self, path: pathlib.Path):
        """Loads it, see `load_saved_model`."""
        # The variables live as long as this object.
        self._saved_model = tf.saved_model.load(str(path))
        signatures = self._saved_model.signatures
        if _ENDPOINT not in signatures:
            raise errors.InputError(
                f"The SavedModel {path} has no endpoint {_ENDPOINT!r}, only "
                f"{sorted(signatures)}. Export it with one."
            )
        self._endpoint_fn = signatures[_ENDPOINT]
        inputs = list(self._endpoint_fn.structured_input_signature[1])
        outputs = list(self._endpoint_fn.structured_outputs)
        self._input_name = inputs[0]
        self._output_name = "logits" if "logits" in outputs else outputs[0]
        if len(inputs) != 1 or (len(outputs) != 1 and self._output_name != "logits"):
            raise errors.InputError(
                f"The endpoint {_ENDPOINT!r} of {path} must take one batch of "
                "images and give one output, or one called 'logits'; it "
                f"takes {inputs} and gives {outputs}."
            )

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the logits of float32 [batch, ...]."""
        return self._endpoint_fn(**{self._input_name: images})[self._output_name]


def load_saved_model(path: pathlib.Path) -> SavedModelClassifier:
    """Returns the classifier of a SavedModel.

    A SavedModel is a program: load only what you trust.

    Raises:
      InputError: It cannot be read, or is no classifier.
    """
    try:
        return SavedModelClassifier(path)
    except errors.InputError:
        raise
    except Exception as error:
        # Of a damaged folder TensorFlow raises whatever comes.
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise errors.InputError(
            f"The SavedModel {path} cannot be read: {message.rstrip('.')}. Export it again."
        ) from error
