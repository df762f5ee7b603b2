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

import contextlib
import dataclasses
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from qup.core import compilation, errors, gradients
from qup.core.types import LogitsFn

LOGITS = "logits"
LOG_PROBABILITIES = "log_probabilities"
SOFTMAX = "softmax"
SIGMOID = "sigmoid"
BINARY_LOGIT = "binary_logit"
BINARY_PROBABILITY = "binary_probability"
OUTPUT_KINDS = (LOGITS, LOG_PROBABILITIES, SOFTMAX, SIGMOID, BINARY_LOGIT, BINARY_PROBABILITY)
UNIT_RANGE = (0.0, 1.0)
# A softmax rounds its sum: about the square root of the number of classes times the type's step.
_SUM_ATOL = {"float16": 1e-2, "bfloat16": 3e-2}
# Layers that pass values on unchanged, apart from their shape or type.
_IDENTITY_LAYERS = (keras.layers.Dropout, keras.layers.Flatten, keras.layers.Reshape)
# Scales that turn bytes into [0, 1] or [-1, 1]: 1/255 and 1/127.5, with room for 1/256.
_BYTE_SCALES = (1 / 260, 1 / 120)
# A grey level of 256, by which the probe of the gradient moves each pixel.
_PROBE_STEP = 1 / 255
_PREDICT_METHODS = ("predict", "predict_on_batch", "predict_step")
_activation_lock = threading.RLock()


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


class GradientInfo(NamedTuple):
    """What one batch of images shows about the gradient of the margin with respect to the image.

    Attributes:
      exists: Whether the logits are differentiable.
      non_finite: Share of images whose gradient holds NaN or infinite elements.
      zero: Share of images whose gradient is zero everywhere.
      misleading: Share of images for which a step of one grey level against the gradient does not
        lower the margin by a tenth to ten times of what the gradient predicts.
    """

    exists: bool
    non_finite: float = 0.0
    zero: float = 0.0
    misleading: float = 0.0


@dataclasses.dataclass(frozen=True)
class _FinalActivation:
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
        self._gradient_info: GradientInfo | None = None
        self._is_random: bool | None = None
        self._output_dtype = "float32"
        self._final = _find_final_activation(logits_fn)
        self._byte_input = _build_byte_input(logits_fn)
        self._rounds_images = self._byte_input is not None

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
        if self._byte_input is not None:
            model = self._byte_input
        if self._is_stripped and self._final.truncated is not None:
            model = self._final.truncated
        options = {"training": training} if isinstance(model, keras.Layer) else {}
        try:
            if self._is_stripped and self._final.layer is not None:
                with _replace_activation(self._final.layer):
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
            self._check_pixel_range(images)
            info, outputs = self._find_info(images)
            if not np.isfinite(outputs).all():
                raise errors.InputError(
                    f"The classifier {self.name} returns NaN or infinite logits for clean images. "
                    "Check its training and the range of its input."
                )
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
        model = self.model if self._byte_input is None else self._byte_input
        if not self._is_stripped:
            return model, None
        return self._final.truncated or model, self._final.layer

    def replace_model(self, logits_fn: LogitsFn) -> "Classifier":
        """Returns the classifier with another function from its input to its logits."""
        copy = Classifier(logits_fn, pixel_range=self.pixel_range)
        copy._final, copy._byte_input = None, None
        copy._rounds_images = self._rounds_images
        copy._info = self._info and self._info._replace(is_exact=self._is_stripped)
        return copy

    @property
    def program_key(self) -> tuple:
        """What a compiled program depends on besides the classifier itself."""
        return self.conversion, self._is_stripped

    def is_random(self, images: Any) -> bool:
        """Returns whether the same images get other logits in a second run.

        Args:
          images: float32 [batch, ...] in [0, 1].
        """
        if self._is_random is None:
            first, second = (predict_logits(self, images).numpy() for _ in range(2))
            scale = float(np.abs(first).max()) or 1.0
            self._is_random = float(np.abs(first - second).max()) > 1e-3 * scale
        return self._is_random

    def probe_gradient(self, images: Any) -> GradientInfo:
        """Differentiates the classifier once on real images; warns once of what it finds.

        Args:
          images: float32 [batch, ...] in [0, 1], the first batch.
        """
        if self._gradient_info is None:
            self.inspect(images)
            images = tf.convert_to_tensor(images)
            run = get_classifier_program(self, "gradient probe", _build_gradient_probe)
            masks = run(images)
            info = GradientInfo(masks is not None)
            if masks is not None:
                info = GradientInfo(True, *(float(np.mean(mask)) for mask in masks))
            if info.non_finite:
                logging.warning(
                    "The gradient of the classifier %s is NaN or infinite for %.0f %% of the "
                    "images. Such elements count as 0, so attacks are weaker than they could be. "
                    "Look for a square root, a logarithm or a division of 0.",
                    self.name,
                    100 * info.non_finite,
                )
            self._gradient_info = info
        return self._gradient_info

    def _check_pixel_range(self, images: tf.Tensor) -> None:
        """Raises an InputError if the model's first layers expect bytes and nobody said so."""
        if self.states_range or not images.shape.num_elements():
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


_classifiers: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _build_gradient_probe(call: LogitsFn) -> Callable:
    """Returns images -> (is_non_finite, is_zero, is_misleading), bool [n], or None without one."""

    def compute_margin(logits: tf.Tensor) -> tf.Tensor:
        top = tf.math.top_k(logits, 2).values
        return top[:, 0] - top[:, 1]

    @tf.function(autograph=False)
    def run(images):
        logits, _, gradient = gradients.differentiate_raw(call, compute_margin, images)
        if gradient is None:
            return None
        axes = list(range(1, len(images.shape)))
        is_non_finite = ~tf.reduce_all(tf.math.is_finite(gradient), axes)
        finite_gradient = gradients.replace_non_finite(gradient)
        margin = compute_margin(logits)
        top_class = tf.argmax(logits, -1)
        stepped_logits = call(images - _PROBE_STEP * tf.sign(finite_gradient))
        change = margin - _compute_class_margin(stepped_logits, top_class)
        predicted = _PROBE_STEP * tf.reduce_sum(tf.abs(finite_gradient), axes)
        is_misleading = (change < predicted / 10) | (change > 10 * predicted)
        # Rounding of the logits hides a smaller change.
        is_measurable = tf.maximum(predicted, change) > 1e-4 * tf.reduce_max(tf.abs(logits), -1)
        return (is_non_finite, tf.reduce_all(gradient == 0, axes), is_misleading & is_measurable)

    return run


def _compute_class_margin(logits: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Returns the logit of a class minus the largest other one: float32 [batch]."""
    is_class = tf.one_hot(classes, logits.shape[1], on_value=True, off_value=False, dtype=tf.bool)
    class_logit = tf.reduce_max(tf.where(is_class, logits, logits.dtype.min), -1)
    return class_logit - tf.reduce_max(tf.where(is_class, logits.dtype.min, logits), -1)


def inspect_classifier(logits_fn: LogitsFn, images: Any) -> ClassifierInfo:
    """Runs the classifier once on real images, see `Classifier.inspect`."""
    return wrap_classifier(logits_fn).inspect(images)


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


def _get_activation_kind(function: Any, num_columns: int) -> str | None:
    """Returns the kind of outputs that an activation gives; None if it is none of the known."""
    name = getattr(function, "__name__", type(function).__name__).lower().replace("_", "")
    if name == "softmax":
        return SOFTMAX
    if name == "sigmoid":
        return BINARY_PROBABILITY if num_columns == 1 else SIGMOID
    return LOG_PROBABILITIES if name == "logsoftmax" else None


def _find_final_activation(logits_fn: LogitsFn) -> _FinalActivation | None:
    """Returns the activation at the end of a Keras model whose layers are known, or None."""
    outputs = getattr(logits_fn, "outputs", None)
    if not isinstance(logits_fn, keras.Model) or not outputs or len(outputs) != 1:
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
            return _FinalActivation(BINARY_LOGIT if num_columns == 1 else LOGITS)
        kind = _get_activation_kind(operation if activation is None else activation, num_columns)
        if kind is None:
            return None
        if activation is not None:
            return _FinalActivation(kind, layer=operation)
        if is_nested or len(node.input_tensors) != 1 or tensor is not outputs[0]:
            return None
        truncated = keras.Model(logits_fn.inputs, node.input_tensors[0])
        return _FinalActivation(kind, truncated=truncated)


@contextlib.contextmanager
def _replace_activation(layer: keras.Layer) -> Iterator[None]:
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


def _build_byte_input(logits_fn: LogitsFn) -> keras.Model | None:
    """Returns a model of integer images as one of float32 with the same layers, else None.

    Keras casts images to the declared type, and a cast to integers has no gradient.
    """
    inputs = getattr(logits_fn, "inputs", None)
    is_functional = isinstance(logits_fn, keras.Model) and hasattr(logits_fn, "_operations")
    if not (is_functional or isinstance(logits_fn, keras.Sequential)) or not inputs:
        return None
    if len(inputs) != 1 or "int" not in str(inputs[0].dtype):
        return None
    tensors = [keras.Input(batch_shape=inputs[0].shape, dtype="float32")]
    if not isinstance(logits_fn, keras.Sequential):
        tensors = keras.tree.pack_sequence_as(logits_fn.input, tensors)
    try:
        return keras.models.clone_model(
            logits_fn, input_tensors=tensors, clone_function=lambda layer: layer
        )
    except (ValueError, TypeError):
        return None
