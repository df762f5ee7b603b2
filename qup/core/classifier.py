"""The contract of a classifier: what it takes, what its outputs mean, and how it becomes logits.

```python
classifier = wrap_classifier(model, pixel_range=(0, 255))
info = classifier.inspect(images)  # Runs it once on real images.
logits = classifier(images)  # float32 [batch, num_classes], images in [0, 1].
```

Every program of this package sees a classifier through `Classifier`: float32 images in, float32
logits out. So attacks, measures, checks and training agree about what the outputs are, and a
misunderstanding is refused or flagged in one place.

- Outputs may be logits, log-probabilities, a softmax, one sigmoid per class, or one number for two
  classes. The last activation of a Keras model is left out; for other functions its inverse is
  applied, which loses what float32 has rounded away.
- Images are in [0, 1]. `pixel_range` states the range of a model that takes others; it is applied
  inside, so that epsilon stays a share of the whole range.
"""

import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from qup.core import compilation, errors, gradients
from qup.core.declarations import (
    BINARY_LOGIT,
    BINARY_PROBABILITY,
    LOG_PROBABILITIES,
    LOGITS,
    SIGMOID,
    SOFTMAX,
    build_float_input,
    find_byte_scaling,
    find_final_activation,
    find_shape_conflict,
    replace_activation,
)
from qup.core.types import LogitsFn

OUTPUT_KINDS = (LOGITS, LOG_PROBABILITIES, SOFTMAX, SIGMOID, BINARY_LOGIT, BINARY_PROBABILITY)
UNIT_RANGE = (0.0, 1.0)
# A softmax rounds its sum: about the square root of the number of classes times the type's step.
_SUM_ATOL = {"float16": 1e-2, "bfloat16": 3e-2}
# A grey level of 256, by which the probe of the gradient moves each pixel.
_PROBE_STEP = 1 / 255
_PREDICT_METHODS = ("predict", "predict_on_batch", "predict_step")


class ClassifierInfo(NamedTuple):
    """What one batch of images shows about a classifier.

    Attributes:
      num_classes: Number of classes.
      output_kind: What the outputs are, one of `OUTPUT_KINDS`.
      is_exact: Whether the logits are those before the last activation. False if they are computed
        back from probabilities, which float32 has rounded.
    """

    num_classes: int
    output_kind: str
    is_exact: bool = True

    @property
    def probabilities(self) -> bool:
        """Whether the outputs are probabilities."""
        return self.output_kind in (SOFTMAX, SIGMOID, BINARY_PROBABILITY)


class ProbeInfo(NamedTuple):
    """What two runs and one gradient of the margin show about a classifier, on one batch of images.

    Attributes:
      is_random: Whether the same images had other logits in the second run.
      has_gradient: Whether the logits are differentiable; None if that was not asked.
      non_finite: Share of images whose gradient holds NaN or infinite elements.
      zero: Share of images whose gradient is zero everywhere.
      misleading: Share of images for which a step of one grey level against the gradient does not
        lower the margin by a tenth to ten times of what the gradient predicts.
    """

    is_random: bool = False
    has_gradient: bool | None = None
    non_finite: float = 0.0
    zero: float = 0.0
    misleading: float = 0.0


class Classifier:
    """A classifier of the user, as a function of images in [0, 1] that returns logits.

    Attributes:
      pixel_range: (lowest, highest) pixel that the model takes.
      states_range: Whether the user stated the range.
    """

    def __init__(
        self,
        logits_fn: LogitsFn,
        *,
        pixel_range: tuple[float, float] | None = None,
        keep_alive: bool = True,
    ):
        """Reads what the classifier declares; does not run it.

        Args:
          logits_fn: A Keras model (run in inference mode) or a function of a batch of images.
          pixel_range: (lowest, highest) pixel that it takes; None for [0, 1], unless its own layers
            contradict that.
          keep_alive: Whether to hold a strong reference.

        Raises:
          InputError: It is not a classifier of one batch of images.
        """
        _check_callable(logits_fn)
        self.states_range = pixel_range is not None
        self.pixel_range = validate_pixel_range(pixel_range) or UNIT_RANGE
        self._strong_reference = logits_fn if keep_alive else None
        self._reference = _create_weak_reference(logits_fn)
        self._info: ClassifierInfo | None = None
        # The hashes of images and logits of the last probe, and what it found.
        self._last_probe: tuple[tuple, ProbeInfo] = ((), ProbeInfo())
        self._has_warned_of_gradient = False
        self._output_dtype = "float32"
        # Only a Keras model declares anything.
        self._final, self._float_input = None, None
        if isinstance(logits_fn, keras.Model):
            self._final = find_final_activation(logits_fn)
            self._float_input = build_float_input(logits_fn)
        self._rounds_images = self._float_input is not None

    @property
    def model(self) -> LogitsFn:
        """The user's object."""
        return self._reference()

    @property
    def name(self) -> str:
        """A name for messages."""
        return describe_function(self.model)

    @property
    def info(self) -> ClassifierInfo | None:
        """What `inspect` found; None before."""
        return self._info

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns logits, float32 [batch, num_classes].

        Args:
          images: float32 [batch, ...] in [0, 1].
          training: The mode of a Keras model; other functions have none.

        Raises:
          InputError: The classifier fails, or does not return one tensor of numbers.
        """
        outputs = self._compute_outputs(images, training)
        return convert_to_logits(outputs, self.conversion)

    @property
    def declares_logits(self) -> bool:
        """Whether the layers of a Keras model show, without running it, that it needs nothing.

        It takes float32 images in [0, 1] and ends in a linear layer of one logit per class.
        """
        return (
            self._final is not None
            and self._final.kind == LOGITS
            and getattr(self.model, "compute_dtype", None) == "float32"
            and self.pixel_range == UNIT_RANGE
            and find_byte_scaling(self.model) is None
        )

    @property
    def conversion(self) -> ClassifierInfo | None:
        """How outputs become logits; None if they are logits, or before `inspect`."""
        needs_none = self._info is None or self._info.output_kind in (LOGITS, LOG_PROBABILITIES)
        return None if needs_none else self._info

    @property
    def _is_stripped(self) -> bool:
        return self._final is not None and self._final.is_stripped

    def _compute_outputs(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the outputs in float32, without the last activation if it is known."""
        model = self.model
        if model is None:
            raise errors.InputError(
                "The model of this classifier no longer exists: nothing else held it. Keep a "
                "reference to the model, or use Classifier(model)."
            )
        if self.pixel_range != UNIT_RANGE:
            low, high = self.pixel_range
            images = low + (high - low) * images
        if self._rounds_images:
            # The model takes whole numbers: the same values, with the gradient of the identity.
            images += tf.stop_gradient(tf.round(images) - images)
        if self._float_input is not None:
            model = self._float_input
        if self._is_stripped and self._final.truncated is not None:
            model = self._final.truncated
        options = {"training": training} if isinstance(model, keras.Layer) else {}
        try:
            if self._is_stripped and self._final.layer is not None:
                with replace_activation(self._final.layer):
                    outputs = model(images, **options)
            else:
                outputs = model(images, **options)
        except (errors.InputError, MemoryError, tf.errors.ResourceExhaustedError):
            raise
        except Exception as error:
            raise errors.InputError(
                f"The classifier {self.name} failed on images {tuple(images.shape)}: "
                f"{errors.format_first_line(error)}. {_get_call_remedy(error)}"
            ) from error
        outputs = _extract_outputs(outputs, self.name)
        self._output_dtype = outputs.dtype.name
        return tf.cast(outputs, tf.float32)

    def inspect(self, images: Any) -> ClassifierInfo:
        """Runs the classifier once on real images and finds out what its outputs are.

        Args:
          images: float32 [batch, ...] in [0, 1], the first batch.

        Raises:
          InputError: Its outputs are not [batch, classes] or not finite, or its own layers
            contradict the range of the images.
        """
        if self._info is None:
            images = tf.convert_to_tensor(images)
            self._check_shape(images)
            self._check_pixel_range(images)
            info, outputs = self._find_info(images)
            self._check_finite(outputs)
            self._info = info
            _warn_of_outputs(self, info)
        return self._info

    def _find_info(self, images: tf.Tensor) -> tuple[ClassifierInfo, np.ndarray]:
        """Returns the kind of the outputs, and the outputs or logits that show it."""
        logits = self._run(images)
        _check_output_shape(logits, images, self.name)
        if self._final is not None and not self._final.is_stripped:
            return _build_info(logits, self._final.kind, is_exact=True), logits
        if self._final is None:
            return _build_info(logits, self._guess_kind(images, logits), is_exact=False), logits
        final, self._final = self._final, None
        outputs = self._run(images)
        if not np.allclose(_apply_activation(logits, final.kind), outputs, atol=2e-2):
            # The activation is not at the end after all.
            return _build_info(outputs, self._guess_kind(images, outputs), is_exact=False), outputs
        self._final = final
        return _build_info(logits, final.kind, is_exact=True), logits

    def _guess_kind(self, images: tf.Tensor, outputs: np.ndarray) -> str:
        """Returns the kind that the outputs show.

        Logits of a few images may lie in [0, 1] by chance. So outputs that look like probabilities
        must stay so for inputs far outside the range of pixels.
        """
        dtype = getattr(self.model, "compute_dtype", None) or self._output_dtype
        kind = guess_output_kind(outputs, dtype)
        if kind in (LOGITS, BINARY_LOGIT):
            return kind
        try:
            far_outputs = self._run(200.0 * images - 100.0)
        except errors.InputError:
            return kind  # It refuses such inputs.
        if not np.isfinite(far_outputs).all():
            return kind
        stays = kind == guess_output_kind(far_outputs, dtype)
        if kind in (SIGMOID, BINARY_PROBABILITY):
            stays = far_outputs.min() >= 0 and far_outputs.max() <= 1
        return kind if stays else (LOGITS if outputs.shape[1] > 1 else BINARY_LOGIT)

    def _run(self, images: tf.Tensor) -> np.ndarray:
        """Returns the outputs, by the program that `predict_logits` uses if they are logits."""
        try:
            return _get_predict_program(self)(images).numpy()
        except tf.errors.ResourceExhaustedError:
            raise
        except tf.errors.OpError as error:
            raise errors.InputError(
                f"The classifier {self.name} failed on images {tuple(images.shape)}: "
                f"{errors.format_first_line(error)}. {_get_call_remedy(error)}"
            ) from error

    def get_logits_model(self) -> tuple[keras.Model, keras.Layer | None]:
        """Returns the Keras model up to its logits, and the layer whose activation is left out."""
        model = self.model if self._float_input is None else self._float_input
        if not self._is_stripped:
            return model, None
        return self._final.truncated or model, self._final.layer

    def replace_model(self, logits_fn: LogitsFn) -> "Classifier":
        """Returns the classifier with another function from its input to its logits."""
        copy = Classifier(logits_fn, pixel_range=self.pixel_range)
        copy._final, copy._float_input = None, None
        copy._rounds_images = self._rounds_images
        copy._info = self._info and self._info._replace(is_exact=self._is_stripped)
        return copy

    @property
    def program_key(self) -> tuple:
        """What a compiled program depends on besides the classifier itself."""
        return self.conversion, self._is_stripped

    def probe(self, images: Any, *, needs_gradient: bool = True) -> ProbeInfo:
        """Runs the classifier twice on real images, and differentiates it; warns once of NaN.

        The result is kept for the same images and the same logits: after a further training they
        differ, and the classifier is probed again.

        Args:
          images: float32 [batch, ...] in [0, 1], the first batch.
          needs_gradient: Whether to differentiate.

        Raises:
          InputError: See `inspect`.
        """
        self.inspect(images)
        images = tf.convert_to_tensor(images)
        logits = predict_logits(self, images).numpy()
        self._check_finite(logits)
        key = (needs_gradient, hash(images.numpy().tobytes()), hash(logits.tobytes()))
        if self._last_probe[0] != key:
            difference = np.abs(logits - predict_logits(self, images).numpy()).max()
            is_random = bool(difference > 1e-3 * (np.abs(logits).max() or 1.0))
            info = ProbeInfo(is_random)
            if needs_gradient:
                info = self._probe_gradient(images, is_random)
            self._last_probe = (key, info)
        return self._last_probe[1]

    def _probe_gradient(self, images: tf.Tensor, is_random: bool) -> ProbeInfo:
        masks = get_classifier_program(self, "gradient probe", _build_gradient_probe)(images)
        if masks is None:
            return ProbeInfo(is_random, has_gradient=False)
        info = ProbeInfo(is_random, True, *(float(np.mean(mask)) for mask in masks))
        if info.non_finite and not self._has_warned_of_gradient:
            self._has_warned_of_gradient = True
            logging.warning(
                "The gradient of the classifier %s is NaN or infinite for %.0f %% of the "
                "images. Such elements count as 0, so attacks are weaker than they could be. "
                "Look for a square root, a logarithm or a division of 0.",
                self.name,
                100 * info.non_finite,
            )
        # A random classifier answers the second image of a pair by chance.
        return info._replace(misleading=0.0) if is_random else info

    def _check_finite(self, logits: np.ndarray) -> None:
        if not np.isfinite(logits).all():
            raise errors.InputError(
                f"The classifier {self.name} returns NaN or infinite logits for clean images. "
                "Check its training and the range of its input."
            )

    def _check_shape(self, images: tf.Tensor) -> None:
        """Raises an InputError if a Keras model declares images of another size."""
        shape = tuple(images.shape[1:])
        if not isinstance(self.model, keras.Model):
            return
        declared = find_shape_conflict(self.model, shape)
        if declared is not None:
            raise errors.InputError(
                f"The classifier {self.name} takes images {declared}; received images "
                f"{' x '.join(map(str, shape))}. Resize them, or use the model of this data set."
            )

    def _check_pixel_range(self, images: tf.Tensor) -> None:
        """Raises an InputError if the model's first layers expect bytes and nobody said so."""
        is_keras_model = isinstance(self.model, keras.Model)
        if self.states_range or not is_keras_model or not images.shape.num_elements():
            return
        reason = find_byte_scaling(self.model)
        if reason is None or float(tf.reduce_max(images)) > 1.0:
            return
        raise errors.InputError(
            f"The classifier {self.name} expects pixels of 0 to 255: {reason}. The images are in "
            "[0, 1], which it would see as black. State the range with pixel_range=(0, 255) "
            "(--pixel_range=0,255); epsilon stays in units of [0, 1]. If it does take [0, 1], "
            "state pixel_range=(0, 1)."
        )


def get_classifier_program(
    logits_fn: LogitsFn, key: Hashable, build: Callable[[LogitsFn], Callable]
) -> Callable:
    """Returns a compiled program of a classifier, see `compilation.get_program`.

    `build` receives the classifier as a function of images in [0, 1] that returns logits.
    """
    classifier = wrap_classifier(logits_fn)
    return compilation.get_program(classifier, (key, *classifier.program_key), build)


def _get_predict_program(classifier: Classifier) -> Callable:
    return get_classifier_program(
        classifier, "predict", lambda call: tf.function(call, autograph=False)
    )


def predict_logits(logits_fn: LogitsFn, images: Any) -> tf.Tensor:
    """Returns logits, float32 [batch, num_classes], by a compiled program.

    The first call inspects the classifier.

    Raises:
      InputError: See `Classifier.inspect`.
    """
    classifier = wrap_classifier(logits_fn)
    if tf.executing_eagerly():
        classifier.inspect(images)
    return _get_predict_program(classifier)(images)


def _build_gradient_probe(call: LogitsFn) -> Callable:
    """Returns images -> (is_non_finite, is_zero, is_misleading), bool [n], or None without one."""

    @tf.function(autograph=False)
    def run(images):
        top_class = tf.argmax(call(images), -1)
        logits, margin, gradient = gradients.differentiate_raw(
            call, lambda logits: _compute_margin(logits, top_class), images
        )
        if gradient is None:
            return None
        axes = list(range(1, len(images.shape)))
        finite_gradient = gradients.replace_non_finite(gradient)
        stepped_logits = call(images - _PROBE_STEP * tf.sign(finite_gradient))
        change = margin - _compute_margin(stepped_logits, top_class)
        predicted = _PROBE_STEP * tf.reduce_sum(tf.abs(finite_gradient), axes)
        is_misleading = (change < predicted / 10) | (change > 10 * predicted)
        # Rounding of the logits hides a smaller change.
        is_measurable = tf.maximum(predicted, change) > 1e-4 * tf.reduce_max(tf.abs(logits), -1)
        return (
            ~tf.reduce_all(tf.math.is_finite(gradient), axes),
            tf.reduce_all(gradient == 0, axes),
            is_misleading & is_measurable,
        )

    return run


def _compute_margin(logits: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Returns the logit of a class minus the largest other one: float32 [batch]."""
    is_class = tf.one_hot(classes, logits.shape[1], on_value=True, off_value=False, dtype=tf.bool)
    class_logit = tf.reduce_sum(tf.where(is_class, logits, 0.0), -1)
    return class_logit - tf.reduce_max(tf.where(is_class, logits.dtype.min, logits), -1)


def inspect_classifier(logits_fn: LogitsFn, images: Any) -> ClassifierInfo:
    """Runs the classifier once on real images, see `Classifier.inspect`."""
    return wrap_classifier(logits_fn).inspect(images)


_classifiers: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def wrap_classifier(
    logits_fn: LogitsFn, *, pixel_range: tuple[float, float] | None = None
) -> Classifier:
    """Returns the `Classifier` of an object, the same one at every call.

    Args:
      logits_fn: A Keras model or a function; pass the same object each time, because a new lambda
        or bound method is a new classifier and compiles again. A `Classifier` is returned itself.
      pixel_range: See `Classifier`.

    Raises:
      InputError: It is not a classifier, or it is one with another range.
    """
    pixel_range = validate_pixel_range(pixel_range)
    if isinstance(logits_fn, Classifier):
        if pixel_range is not None and pixel_range != logits_fn.pixel_range:
            raise errors.InputError(
                f"The classifier takes pixels in {logits_fn.pixel_range}, as was stated before; "
                f"received pixel_range={pixel_range}. State the range once."
            )
        return logits_fn
    _check_callable(logits_fn)
    _create_weak_reference(logits_fn)
    by_range = _classifiers.setdefault(logits_fn, {})
    if pixel_range not in by_range:
        by_range[pixel_range] = Classifier(logits_fn, pixel_range=pixel_range, keep_alive=False)
    return by_range[pixel_range]


def validate_pixel_range(pixel_range: Any) -> tuple[float, float] | None:
    """Returns the range as two floats, or None.

    Raises:
      InputError: It is not (lowest, highest).
    """
    if pixel_range is None:
        return None
    try:
        low, high = (float(value) for value in pixel_range)
    except (TypeError, ValueError):
        low = high = np.nan
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise errors.InputError(
            "pixel_range must be (lowest, highest), such as (0, 1), (0, 255) or (-1, 1); received "
            f"{pixel_range!r}."
        )
    return low, high


def describe_function(logits_fn: Any) -> str:
    """Returns a short name of a classifier for messages."""
    if isinstance(logits_fn, Classifier):
        return logits_fn.name
    if isinstance(logits_fn, keras.Layer):
        return repr(logits_fn.name)
    return repr(getattr(logits_fn, "__name__", type(logits_fn).__name__))


def _check_callable(logits_fn: Any) -> None:
    """Raises an InputError unless `logits_fn` is a function of one batch."""
    owner = getattr(logits_fn, "__self__", None)
    method = getattr(logits_fn, "__name__", "")
    if isinstance(owner, keras.Model) and method in _PREDICT_METHODS:
        raise errors.InputError(
            f"model.{method} returns NumPy arrays, which have no gradient. Pass the model itself."
        )
    if not callable(logits_fn):
        raise errors.InputError(
            "A classifier must be callable on a batch of images; received "
            f"{type(logits_fn).__name__}. Pass a Keras model or a function."
        )
    inputs = getattr(logits_fn, "inputs", None)
    if isinstance(logits_fn, keras.Model) and inputs is not None and len(inputs) != 1:
        raise errors.InputError(
            f"The model {logits_fn.name!r} takes {len(inputs)} inputs; a classifier takes one "
            "batch of images. Pass a function of the images that fixes the other inputs."
        )


def _create_weak_reference(logits_fn: LogitsFn) -> Callable[[], LogitsFn]:
    try:
        hash(logits_fn)
        return weakref.ref(logits_fn)
    except TypeError as error:
        raise errors.InputError(
            f"A {type(logits_fn).__name__} cannot be used as a classifier: {error}. Wrap it in a "
            "function of one tensor."
        ) from error


def _get_call_remedy(error: Exception) -> str:
    text = f"{type(error).__name__} {error}"
    if any(word in text for word in ("numpy", "NumPy", "NotImplementedError", "symbolic")):
        return (
            "It must compute with TensorFlow. NumPy code must be wrapped in tf.numpy_function; it "
            "has no gradient, so attack it with square, one_pixel or spsa."
        )
    return "It must take one batch of float32 images of any batch size and return its logits."


def _extract_outputs(outputs: Any, name: str) -> tf.Tensor:
    """Returns one tensor of floating-point outputs.

    Raises:
      InputError: There are several outputs, or they are not floating-point numbers.
    """
    expected = "one tensor of logits [batch, classes]"
    if isinstance(outputs, Mapping):
        if "logits" not in outputs and len(outputs) != 1:
            raise errors.InputError(
                f"The classifier {name} must return {expected}; received a dictionary of "
                f"{sorted(map(str, outputs))}. Name one 'logits', or pass a function that returns "
                "it."
            )
        outputs = outputs["logits"] if "logits" in outputs else next(iter(outputs.values()))
    if isinstance(outputs, list | tuple):
        if len(outputs) != 1:
            raise errors.InputError(
                f"The classifier {name} must return {expected}; received {len(outputs)} outputs. "
                "Pass a function that returns the logits alone: lambda x: model(x)[0]."
            )
        outputs = outputs[0]
    try:
        outputs = tf.convert_to_tensor(outputs)
    except (TypeError, ValueError) as error:
        raise errors.InputError(
            f"The classifier {name} must return {expected}; received {type(outputs).__name__}."
        ) from error
    if not outputs.dtype.is_floating:
        raise errors.InputError(
            f"The classifier {name} must return {expected}, floating-point numbers; received "
            f"{outputs.dtype.name}. Return the logits, not the predicted classes."
        )
    return outputs


def _check_output_shape(outputs: np.ndarray, images: tf.Tensor, name: str) -> None:
    if outputs.ndim == 2 and len(outputs) == len(images) and outputs.shape[1]:
        return
    remedy = ""
    if outputs.ndim == 1 and len(outputs) == len(images):
        remedy = " One number for two classes must have the shape [batch, 1]."
    raise errors.InputError(
        f"The classifier {name} must map images {tuple(images.shape)} to logits [{len(images)}, "
        f"classes]; received {outputs.shape}.{remedy}"
    )


def guess_output_kind(outputs: np.ndarray, dtype: str = "float32") -> str:
    """Returns the kind of outputs that their values show.

    Args:
      outputs: float32 [batch, columns].
      dtype: The type that they were computed in, which decides how far a sum may be from one.
    """
    if not outputs.size or not np.isfinite(outputs).all():
        return BINARY_LOGIT if outputs.shape[1] == 1 else LOGITS
    is_share = outputs.min() >= 0 and outputs.max() <= 1
    if outputs.shape[1] == 1:
        return BINARY_PROBABILITY if is_share else BINARY_LOGIT
    atol = _SUM_ATOL.get(dtype.removeprefix("mixed_"), 1e-4)
    if is_share:
        return SOFTMAX if np.abs(outputs.sum(1) - 1).max() < atol else SIGMOID
    if outputs.max() <= 0:
        sums = np.exp(outputs.astype(np.float64)).sum(1)
        if np.abs(sums - 1).max() < 10 * atol:
            return LOG_PROBABILITIES
    return LOGITS


def _build_info(outputs: np.ndarray, kind: str, *, is_exact: bool) -> ClassifierInfo:
    is_binary = kind in (BINARY_LOGIT, BINARY_PROBABILITY)
    is_exact = is_exact or kind in (LOGITS, LOG_PROBABILITIES, BINARY_LOGIT)
    return ClassifierInfo(2 if is_binary else outputs.shape[1], kind, is_exact)


def _apply_activation(logits: np.ndarray, kind: str) -> np.ndarray:
    if kind == SOFTMAX:
        return keras.ops.convert_to_numpy(keras.activations.softmax(logits))
    if kind == LOG_PROBABILITIES:
        return keras.ops.convert_to_numpy(keras.activations.log_softmax(logits))
    return keras.ops.convert_to_numpy(keras.activations.sigmoid(logits))


def convert_to_logits(outputs: tf.Tensor, info: ClassifierInfo | None) -> tf.Tensor:
    """Returns logits, float32 [batch, num_classes], of outputs as the classifier gives them.

    The logarithm of a softmax has the same softmax. A sigmoid is monotone, so its inverse keeps
    the order of the classes. One number for two classes is the log odds of the second. With None
    the outputs are logits.
    """
    if info is None:
        return outputs
    if not info.is_exact:
        tiny, step = np.finfo(np.float32).tiny, np.finfo(np.float32).eps / 2
        log_values = tf.math.log(tf.maximum(outputs, tiny))
        if info.output_kind == SOFTMAX:
            return log_values
        outputs = log_values - tf.math.log1p(-tf.minimum(outputs, 1 - step))
    if info.output_kind in (BINARY_LOGIT, BINARY_PROBABILITY):
        return tf.concat([tf.zeros_like(outputs), outputs], -1)
    return outputs


def _warn_of_outputs(classifier: Classifier, info: ClassifierInfo) -> None:
    if not info.probabilities:
        return
    kind = "one sigmoid per class" if info.output_kind == SIGMOID else "probabilities"
    if info.is_exact:
        message = "The logits before its last activation are used"
    else:
        message = (
            "The inverse of the activation is applied, but float32 has rounded small gradients "
            "away: return logits if possible"
        )
    logging.warning("The classifier %s returns %s. %s.", classifier.name, kind, message)
