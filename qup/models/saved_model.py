"""A SavedModel as a classifier: one of its signatures, and one of that signature's outputs.

```python
logits = load_saved_model("serving/classifier/1")(images)
load_saved_model("exported", signature="serve", output="probabilities")
```
"""

import pathlib

import tensorflow as tf

from qup.core import errors
from qup.models.keras_files import format_names, format_path

DEFAULT_SIGNATURE = "serving_default"


class SavedModelClassifier:
    """One output of one signature of a SavedModel.

    Attributes:
      input_spec: Shape and type of the images that the signature declares.
    """

    def __init__(
        self,
        path: pathlib.Path | str,
        signature: str = DEFAULT_SIGNATURE,
        output: str | None = None,
    ):
        """Loads the folder; see `load_saved_model`."""
        # Referenced, because the variables live as long as this object.
        self._saved_model = tf.saved_model.load(str(path))
        self._path = format_path(path)
        # Messages of other modules call a function by this name.
        self.__name__ = pathlib.Path(path).name
        signatures = self._saved_model.signatures
        if signature not in signatures:
            raise errors.InputError(
                f"The SavedModel {self._path} has no signature {signature[:40]!r}; it has: "
                f"{format_names(sorted(signatures))}. Choose one by --signature=NAME, or export "
                "the model again: model.export('DIR')."
            )
        self._signature_fn = signatures[signature]
        inputs = self._signature_fn.structured_input_signature[1]
        self._check_inputs(signature, inputs)
        ((self._input_name, self.input_spec),) = inputs.items()
        self._output_name = self._choose_output(signature, output)

    def _check_inputs(self, signature: str, inputs: dict[str, tf.TensorSpec]) -> None:
        if len(inputs) == 1 and next(iter(inputs.values())).dtype == tf.string:
            others = sorted(set(self._saved_model.signatures) - {signature})
            raise errors.InputError(
                f"The signature {signature!r} of the SavedModel {self._path} takes strings: "
                "serialized tf.Example records, as TFX exports them, or encoded images. It must "
                f"take images. Other signatures: {format_names(others)}. Choose one by "
                "--signature=NAME, or export the Keras model itself: model.export('DIR')."
            )
        if len(inputs) != 1:
            raise errors.InputError(
                f"The signature {signature!r} of the SavedModel {self._path} must take one batch "
                f"of images; it takes {len(inputs)} inputs: {format_names(sorted(inputs))}. Export "
                "a signature that fixes the others, and choose it by --signature=NAME."
            )

    def _choose_output(self, signature: str, output: str | None) -> str:
        names = sorted(self._signature_fn.structured_outputs)
        description = f"The signature {signature!r} of the SavedModel {self._path}"
        return choose_output(names, output, description)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the chosen output for images of the declared shape and type."""
        return self._signature_fn(**{self._input_name: images})[self._output_name]


def choose_output(names: list[str], output: str | None, description: str) -> str:
    """Returns the name of the output that is used: the given one, "logits", or the only one.

    Args:
      names: The outputs.
      output: The name that the user gave, or None.
      description: What gives them, for the message.

    Raises:
      InputError: The given name is unknown, or there are several outputs and none is "logits".
    """
    if output is not None:
        if output in names:
            return output
        raise errors.InputError(
            f"{description} has no output {output[:40]!r}; it gives: {format_names(names)}. Choose "
            "one by --output=NAME."
        )
    if "logits" in names:
        return "logits"
    if len(names) == 1:
        return names[0]
    if not names:
        raise errors.InputError(
            f"{description} gives no output. Save a model that returns its logits."
        )
    raise errors.InputError(
        f"{description} gives {len(names)} outputs: {format_names(names)}. Choose the logits by "
        "--output=NAME, or save a model of the logits alone."
    )


def load_saved_model(
    path: pathlib.Path | str, *, signature: str = DEFAULT_SIGNATURE, output: str | None = None
) -> SavedModelClassifier:
    """Loads a SavedModel. It is a program: load only what you trust.

    Args:
      path: Its folder.
      signature: The signature to call.
      output: The output of the signature; None for "logits", or for the only one.

    Raises:
      InputError: It cannot be read, or the signature is not one of images to logits.
    """
    try:
        return SavedModelClassifier(path, signature, output)
    except errors.InputError:
        raise
    except Exception as error:
        # For a damaged folder TensorFlow raises many exception types.
        raise errors.InputError(
            f"The SavedModel {format_path(path)} cannot be read: "
            f"{errors.format_first_line(error)}. Export it again."
        ) from error
