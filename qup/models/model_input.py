"""What a model declares about its images, and a model fitted to the images of a dataset.

A declaration is read before the model runs: a network with global pooling runs on images of any
size and is right for one.

```python
describe_input(keras_model)  # ModelInput((28, 28, 1), None, "float32")
# A SavedModel of single flat images becomes one of batches of images.
model = adapt_model(model, path, (28, 28, 1), pixel_range=None)
```
"""

import logging
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from qup.core import errors
from qup.core.classifier import Classifier
from qup.core.declarations import find_byte_scaling
from qup.core.types import LogitsFn
from qup.models.keras_files import format_names, format_path
from qup.models.saved_model import SavedModelClassifier

_log = logging.getLogger("qup")


class ModelInput(NamedTuple):
    """What a model declares about its images.

    Attributes:
      image_shape: Sizes without the batch, None for a free size; None if nothing is declared.
      batch_size: The only batch size that it takes; None for any.
      dtype: Name of the type; None if nothing is declared.
    """

    image_shape: tuple[int | None, ...] | None = None
    batch_size: int | None = None
    dtype: str | None = None


def describe_input(logits_fn: LogitsFn) -> ModelInput:
    """Returns what a classifier declares about its images, without running it.

    Args:
      logits_fn: A Keras model, a SavedModel, a `tf.function`, or any other function, which declares
        nothing.

    Raises:
      InputError: It takes several inputs.
    """
    if isinstance(logits_fn, Classifier):
        return describe_input(logits_fn.model)
    if isinstance(logits_fn, AdaptedModel):
        return ModelInput(logits_fn.image_shape, None, "float32")
    specs = _list_input_specs(logits_fn)
    if not specs:
        return ModelInput()
    if len(specs) != 1:
        names = [spec.name or f"input {i}" for i, spec in enumerate(specs)]
        raise errors.InputError(
            f"A classifier takes one batch of images; this model takes {len(specs)} inputs: "
            f"{format_names(names)}. Save a model that fixes the others."
        )
    (spec,) = specs
    dtype = tf.as_dtype(spec.dtype).name
    try:
        batch_size, *image_shape = tuple(spec.shape)
    except ValueError:
        # A shape of unknown rank, or a number.
        return ModelInput(None, None, dtype)
    return ModelInput(tuple(image_shape), batch_size, dtype)


def _list_input_specs(logits_fn: LogitsFn) -> list[Any]:
    """Returns the declared inputs, with shape, type and name; none if nothing is declared."""
    if isinstance(logits_fn, keras.Model):
        return list(getattr(logits_fn, "inputs", None) or ())
    if isinstance(logits_fn, SavedModelClassifier):
        return [logits_fn.input_spec]
    signature = getattr(logits_fn, "structured_input_signature", None)
    signature = signature or getattr(logits_fn, "input_signature", None)
    return [spec for spec in tf.nest.flatten(signature) if isinstance(spec, tf.TensorSpec)]


class AdaptedModel:
    """A model in another shape, type or batch size than the images of a dataset.

    Attributes:
      image_shape: (height, width, channels) of the images that it takes.
    """

    def __init__(
        self,
        model: LogitsFn,
        image_shape: tuple[int, ...],
        declared: ModelInput,
        batch_size: int | None,
    ):
        """Keeps what the model declares; it sees pieces of `batch_size` images, or all for None."""
        self.image_shape = image_shape
        self.__name__ = getattr(model, "__name__", getattr(model, "name", "model"))
        self._model = model
        self._declared = declared
        self._batch_size = batch_size

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the outputs for float32 images [batch, height, width, channels]."""
        # A gradient of a SavedModel has an unknown batch size. That of a reshape has the shape of
        # the images, and compiled attacks need it.
        count = images.shape[0]
        shape = _resolve_shape(self._declared.image_shape, self.image_shape)
        inputs = tf.reshape(images, [-1 if count is None else count, *shape])
        dtype = tf.as_dtype(self._declared.dtype or "float32")
        if dtype.is_integer:
            inputs = tf.round(inputs)
        inputs = tf.cast(inputs, dtype)
        if self._batch_size is None:
            outputs = self._run(inputs)
        else:
            outputs = _map_pieces(self._run, inputs, self._batch_size)
        if outputs.shape.rank:
            outputs = tf.ensure_shape(outputs, [count, *outputs.shape[1:]])
        return outputs

    def _run(self, inputs: tf.Tensor) -> tf.Tensor:
        options = {"training": False} if isinstance(self._model, keras.Layer) else {}
        return self._model(inputs, **options)


def _map_pieces(
    call: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor, batch_size: int
) -> tf.Tensor:
    """Calls a function of `batch_size` images on pieces of a batch; repeats fill the last piece."""
    count = images.shape[0] or tf.shape(images)[0]
    padding = (-count) % batch_size
    padded = tf.concat([images, tf.repeat(images[-1:], padding, axis=0)], 0)
    pieces = tf.reshape(padded, [-1, batch_size, *images.shape[1:]])
    first = call(pieces[0])
    spec = tf.TensorSpec(first.shape, first.dtype)
    outputs = tf.map_fn(call, pieces, fn_output_signature=spec)
    return tf.reshape(outputs, [-1, first.shape[-1] or tf.shape(first)[-1]])[:count]


def _resolve_shape(
    declared: tuple[int | None, ...] | None, image_shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Returns the sizes that a model sees: the declared ones, free ones taken from the images."""
    if declared is None:
        return image_shape
    if len(declared) == len(image_shape):
        pairs = zip(declared, image_shape, strict=True)
        return tuple(size if known is None else known for known, size in pairs)
    return (math.prod(image_shape),) if len(declared) == 1 else declared


def adapt_model(
    model: LogitsFn,
    path: pathlib.Path,
    image_shape: tuple[int, ...],
    pixel_range: tuple[float, float] | None,
) -> LogitsFn:
    """Returns a model that takes batches of any size of the images; the same one where it does.

    Raises:
      InputError: The model declares other images, or pixels of 0 to 255 that are not stated.
    """
    try:
        declared = describe_input(model)
    except errors.InputError as error:
        raise errors.InputError(f"The model {format_path(path)} cannot be used. {error}") from error
    check_declared_shape(declared, path, image_shape)
    _check_declared_pixels(model, declared, path, pixel_range)
    shape = _resolve_shape(declared.image_shape, image_shape)
    pieces = declared.batch_size
    if shape != image_shape:
        _log.info(
            "The model %s takes %s: the images %s are reshaped to it, row by row.",
            format_path(path),
            _format_shape(shape),
            _format_shape(image_shape),
        )
    if isinstance(model, keras.Model):
        if pieces is not None and _takes_any_batch(model, shape, pieces):
            pieces = None
        if pieces is None and shape == image_shape:
            return model
        if pieces is None and not tf.as_dtype(declared.dtype).is_integer:
            # A Keras model again: attacks can copy it in another precision.
            image = keras.Input(image_shape, name="image")
            flat = keras.layers.Reshape(shape)(image)
            return keras.Model(image, model(flat), name=model.name)
    if pieces is not None:
        _log.info(
            "The model %s takes %d image(s) at a time: batches are attacked in such pieces, which "
            "is slow.",
            format_path(path),
            pieces,
        )
    return AdaptedModel(model, image_shape, declared, pieces)


def check_declared_shape(
    declared: ModelInput, path: pathlib.Path, image_shape: tuple[int, ...]
) -> None:
    """Raises an InputError unless images of the dataset fit, as they are or reshaped."""
    expected = declared.image_shape
    if expected is None or _fits(expected, image_shape):
        return
    requirement = f"{format_requirement(path, image_shape)}; it takes {_format_shape(expected)}"
    if _fits(expected, (image_shape[-1], *image_shape[:-1])):
        raise errors.InputError(
            f"{requirement}, with the channels first. Save a model that transposes its images."
        )
    *size, channels = expected
    if len(expected) != len(image_shape) or None in size:
        remedy = "Save a model for this dataset"
    elif channels not in (None, image_shape[-1]):
        remedy = f"Choose a dataset of {channels} channels, or save a model for this one"
    else:
        sides = size[:1] if len(set(size)) == 1 else size
        remedy = (
            "Resize the images with --config.dataset.image_size="
            f"{','.join(map(str, sides))}, or save a model for this dataset"
        )
    raise errors.InputError(f"{requirement}. {remedy}.")


def _fits(expected: tuple[int | None, ...], image_shape: tuple[int, ...]) -> bool:
    """Returns whether images can be given as they are, or with another number of axes."""
    if len(expected) == len(image_shape):
        return all(n in (None, size) for n, size in zip(expected, image_shape, strict=True))
    if len(expected) == 1:
        return expected[0] in (None, math.prod(image_shape))
    # An axis of one channel may be missing.
    return [n for n in expected if n != 1] == [n for n in image_shape if n != 1]


def _check_declared_pixels(
    model: LogitsFn,
    declared: ModelInput,
    path: pathlib.Path,
    pixel_range: tuple[float, float] | None,
) -> None:
    """Raises an InputError for images that are no numbers, or bytes without a stated range."""
    dtype = tf.as_dtype(declared.dtype or "float32")
    if not (dtype.is_floating or dtype.is_integer):
        raise errors.InputError(
            f"The model {format_path(path)} takes images of the type {dtype.name}; it must take "
            "float32. Save a model of float32 images."
        )
    if pixel_range is not None:
        if dtype.is_integer and not dtype.min <= pixel_range[0] < pixel_range[1] <= dtype.max:
            raise errors.InputError(
                f"The model {format_path(path)} takes {dtype.name} images, which cannot hold the "
                f"stated range of pixels, {pixel_range[0]:g} to {pixel_range[1]:g}. State its own "
                "range, such as --pixel_range=0,255."
            )
        return
    reason = f"it declares {dtype.name} images" if dtype.is_integer else find_byte_scaling(model)
    if reason is not None:
        raise errors.InputError(
            f"The model {format_path(path)} expects pixels of 0 to 255: {reason}. The images are "
            "in [0, 1], which it would see as black. State the range: --pixel_range=0,255; epsilon "
            "stays in units of [0, 1]. If it does take [0, 1], state --pixel_range=0,1."
        )


def _takes_any_batch(model: keras.Model, shape: tuple[int, ...], batch_size: int) -> bool:
    """Returns whether a Keras model that declares a batch size is right for others too.

    Keras writes the size of the first batch into a model without an `Input`, and does not insist
    on it.
    """
    count = batch_size + 1
    images = np.random.default_rng(0).random((count, *shape), np.float32)
    try:
        whole = model(images, training=False)
        parts = [model(images[i : i + batch_size], training=False) for i in range(2)]
        return all(
            np.allclose(whole[i : i + batch_size], part, rtol=1e-3, atol=1e-4)
            for i, part in enumerate(parts)
        )
    except Exception:
        # Keras and TensorFlow raise many exception types.
        return False


def format_requirement(path: pathlib.Path | str, image_shape: Sequence[int]) -> str:
    """Returns the beginning of a message about other images."""
    return (
        f"The model {format_path(path)} must take batches of any size of float32 images "
        f"{_format_shape(image_shape)}"
    )


def _format_shape(shape: Sequence[int | None]) -> str:
    sizes = ["any" if size is None else str(size) for size in shape]
    return f"[batch, {sizes[0]}]" if len(sizes) == 1 else " x ".join(sizes)
