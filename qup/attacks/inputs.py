"""What is asked of a classifier, a batch and options before an attack."""

import numbers
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from qup.core import compilation, errors
from qup.core.types import Bounds, LogitsFn

# Options, ids and classes that must be integers.


def check_integer(name: str, value, *, least: float | None = None) -> None:
    """Raises an InputError unless `value` is an integer of at least `least`.

    Tensors pass unread: reading one would stop a device.
    """
    if tf.is_tensor(value):
        return
    errors.check_number(name, value, at_least=least)
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise errors.InputError(f"{name} must be an integer; got {value!r}.")


def validate_ids(ids, count: int) -> np.ndarray:
    """Returns ids as int64 [count]; 0, 1, 2, ... for None.

    Raises:
      InputError: They are not integers, one an image.
    """
    if ids is None:
        return np.arange(count, dtype=np.int64)
    ids = np.asarray(ids)
    if ids.shape != (count,) or ids.dtype.kind not in "iu":
        raise errors.InputError(
            f"ids must hold one value an image, {count} integers; got "
            f"{ids.dtype.name} of shape {ids.shape}."
        )
    return ids.astype(np.int64)


def check_class_numbers(name: str, values: np.ndarray) -> None:
    """Raises an InputError for what no class of a classifier can be."""
    if not values.size:
        return
    if values.min() < 0:
        raise errors.InputError(f"{name} must not be negative; got {values.min()}.")
    if values.max() > np.iinfo(np.int32).max:
        raise errors.InputError(f"{name} must be classes, 0, 1, 2, ...; got {values.max()}.")


def validate_bounds(bounds) -> Bounds:
    """Returns the pixel box as a tuple, or None.

    Raises:
      InputError: It is not (lowest, highest).
    """
    if bounds is None:
        return None
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        low = high = 0.0
    if not low < high:
        raise errors.InputError(
            f"bounds must be (lowest, highest), such as (0, 1), or None; got {bounds!r}."
        )
    return low, high


def check_number(name: str, value, *, least: float) -> None:
    """Raises an InputError unless `value` is a number of at least `least`.

    Tensors pass unread: reading one would stop a device.
    """
    if not tf.is_tensor(value):
        errors.check_number(name, value, at_least=least)


def check_batch(images, labels, bounds: Bounds) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns images and labels as tensors an attack can use.

    Args:
      images: float [batch, ...], inside `bounds` to 1e-6, without NaN.
      labels: Integers [batch], none negative.
      bounds: The pixel box, or None.

    Returns:
      (images, labels): float32 [batch, ...] and int32 [batch].

    Raises:
      InputError: A shape, dtype or value that cannot be attacked.
    """
    images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)
    if not images.dtype.is_floating or images.shape.rank < 2:
        raise errors.InputError(
            "Images must be floating point [batch, ...]; got "
            f"{images.dtype.name} {images.shape}. Divide bytes by 255."
        )
    if not labels.dtype.is_integer or labels.shape != images.shape[:1]:
        raise errors.InputError(
            f"Labels must be integers [{images.shape[0]}], one an image; got "
            f"{labels.dtype.name} {labels.shape}. One-hot labels need an "
            "argmax over the last axis."
        )
    if tf.executing_eagerly():
        check_values(images.numpy(), labels.numpy(), bounds)
    return tf.cast(images, tf.float32), tf.cast(labels, tf.int32)


def check_values(images, labels, bounds: Bounds) -> None:
    """Raises an InputError for pixels or labels that cannot be attacked."""
    if not images.size:
        return
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise errors.InputError("Images hold NaN or infinite values.")
    if bounds and (low < bounds[0] - 1e-6 or high > bounds[1] + 1e-6):
        raise errors.InputError(
            f"Images reach from {low:.4g} to {high:.4g}, outside the bounds "
            f"{tuple(bounds)}. Rescale them, or pass bounds=None."
        )
    check_class_numbers("Labels", labels)


class ClassifierInfo:
    """What a classifier answers to its first batch.

    Attributes:
      num_classes: Number of logits.
      probabilities: The rows sum to one: a softmax was left in.
    """

    def __init__(self, logits_fn: LogitsFn, images: tf.Tensor):
        """Asks once.

        Args:
          logits_fn: The classifier.
          images: float32 [batch, ...].

        Raises:
          InputError: The answer is not [batch, classes], or not finite.
        """
        logits = compilation.predict(logits_fn, images).numpy()
        if logits.ndim != 2 or len(logits) != len(images):
            raise errors.InputError(
                f"The classifier must map images {images.shape} to logits "
                f"[{len(images)}, classes]; got {logits.shape}."
            )
        if not np.isfinite(logits).all():
            raise errors.InputError(
                "The classifier answers NaN or infinite logits to clean "
                "images. Look at its training, or at the range of its input."
            )
        self.num_classes = logits.shape[1]
        self.probabilities = bool(
            logits.min() >= 0 and logits.shape[1] > 1 and np.abs(logits.sum(1) - 1).max() < 1e-4
        )
        if self.probabilities:
            logging.warning(
                "The classifier answers probabilities, not logits; their "
                "logarithm is attacked. A softmax in float32 hides small "
                "gradients: give the logits where you can."
            )


def inspect_classifier(logits_fn: LogitsFn, images: tf.Tensor) -> ClassifierInfo:
    """Returns what the classifier answers, from memory after the first call."""
    return compilation.get_program(
        logits_fn, "answers", lambda _: ClassifierInfo(logits_fn, images)
    )


def check_label_range(labels: np.ndarray, num_classes: int, name: str = "Labels") -> None:
    """Raises an InputError where a label is no class of the classifier."""
    if labels.size and labels.max() >= num_classes:
        raise errors.InputError(
            f"{name} reach {labels.max()}, but the classifier has "
            f"{num_classes} classes, 0 to {num_classes - 1}."
        )


def convert_to_logits(call: LogitsFn, probabilities: bool) -> LogitsFn:
    """Returns a function of logits where `call` gives probabilities.

    A logarithm has its softmax unchanged, and every loss here is one of
    logits up to a constant of each row.
    """
    if not probabilities:
        return call
    tiny = np.finfo(np.float32).tiny
    return lambda images: tf.math.log(tf.maximum(call(images), tiny))


def get_logits_fn(logits_fn: LogitsFn, classifier_info: ClassifierInfo) -> LogitsFn:
    """Returns a classifier of logits, the same object at every call."""
    if not classifier_info.probabilities:
        return logits_fn
    return compilation.get_program(
        logits_fn, "logits of probabilities", lambda call: convert_to_logits(call, True)
    )


# The budgets that a user gives: checked, and named as folders.


def validate_epsilon(epsilon: Any, count: int) -> Any:
    """Returns a budget as None, a float or float32 [count].

    Args:
      epsilon: A number, one an image, or None.
      count: Number of images.

    Raises:
      InputError: Not numbers, below zero, or not as many as images.
    """
    if epsilon is None or isinstance(epsilon, numbers.Real):
        if epsilon is not None:
            errors.check_number("epsilon", epsilon, at_least=0)
        return epsilon
    values = np.asarray(epsilon)
    if values.dtype.kind not in "fiu":
        raise errors.InputError(
            "epsilon must be a number, or one an image, in the units of the "
            f"pixels; got {epsilon!r}. Write 0.1 and not '0.1'."
        )
    if values.ndim == 0:
        return validate_epsilon(float(values), count)
    if values.shape != (count,):
        raise errors.InputError(
            f"epsilon must hold one value an image, {count}; got an array of "
            f"shape {values.shape}. Several budgets for all images are "
            "epsilons=[...]."
        )
    if not (np.isfinite(values) & (values >= 0)).all():
        raise errors.InputError(
            "epsilon must be finite and at least 0 for every image; got "
            f"{values.min()} to {values.max()}. None means no budget."
        )
    return values.astype(np.float32)


def validate_epsilons(epsilons: Any) -> list[float]:
    """Returns several budgets as floats.

    Raises:
      InputError: Not a list of at least one number, all at least zero.
    """
    values = None
    if isinstance(epsilons, Iterable) and not isinstance(epsilons, str):
        values = list(epsilons)
    if not values:
        raise errors.InputError(
            "epsilons must be a list of at least one number, such as "
            f"[0.1, 0.3]; got {epsilons!r}. A single budget is epsilon=0.1."
        )
    for value in values:
        if not np.ndim(value) and hasattr(value, "numpy"):
            value = value.numpy()
        errors.check_number("Each of epsilons", value, at_least=0)
    return [float(value) for value in values]


def build_epsilon_folders(epsilons: Sequence[float]) -> list[str]:
    """Returns a folder's name for each budget, another for each other."""
    short_names = [f"epsilon-{value:g}" for value in epsilons]
    if len(set(short_names)) == len(set(epsilons)):
        return short_names
    return [f"epsilon-{value!r}" for value in epsilons]


class ExampleBatch(NamedTuple):
    """Examples on the host, one row an example.

    Attributes:
      images: float32 [n, ...].
      labels: int32 [n].
      ids: int64 [n].
      epsilon: float32 [n].
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    epsilon: np.ndarray

    def take(self, index: np.ndarray) -> "ExampleBatch":
        """Returns the rows at `index`."""
        return ExampleBatch(*(column[index] for column in self))


# Examples from arrays or streams of batches, checked, in shards.


def broadcast_to_examples(values, dtype, count: int, name: str) -> np.ndarray:
    """Returns one value an example, from a scalar or an array."""
    values = np.asarray(values)
    if values.ndim == 0:
        values = np.full(count, values)
    if values.shape != (count,):
        raise errors.InputError(
            f"{name} must hold one value an image, {count}; got an array of shape {values.shape}."
        )
    return values.astype(dtype)


def iterate_shards(
    images, labels, *, ids, bounds: Bounds, shard_size: int | None
) -> Iterator[ExampleBatch]:
    """Yields the examples in pieces that fit in memory.

    Args:
      images: float [n, ...], or an iterable of such arrays.
      labels: int [n].
      ids: int [n], or None for 0, 1, 2, ...
      bounds: What pixels must keep within.
      shard_size: Examples a piece; None for all in one.

    Yields:
      The pieces in order, without budgets; only the last is smaller.

    Raises:
      InputError: Something that cannot be attacked, or lengths that differ.
    """
    labels = validate_labels(labels)
    count = len(labels)
    columns = (labels, validate_ids(ids, count), np.full(count, np.nan, np.float32))
    _check_not_single_images(images, count)
    start = end = 0
    if not count:
        no_images = np.empty((0, *np.shape(images)[1:]), np.float32)
        yield ExampleBatch(no_images, labels.astype(np.int32), *columns[1:])
        return
    for images_of_shard in _iterate_chunks(images, shard_size or max(count, 1)):
        end = start + len(images_of_shard)
        if end > count:
            break
        rows = [column[start:end] for column in columns]
        images_of_shard, labels_of_shard = check_batch(images_of_shard, rows[0], bounds)
        yield ExampleBatch(images_of_shard.numpy(), labels_of_shard.numpy(), *rows[1:])
        start = end
    else:
        if start == count:
            return
    raise errors.InputError(
        f"There must be as many images as labels; got {count} labels and "
        f"{'more' if end > count else start} images."
    )


def validate_labels(labels) -> np.ndarray:
    """Returns labels as an array.

    Raises:
      InputError: They are not integers, one an image.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise errors.InputError(
            f"Labels must be integers, one an image; got {labels.dtype.name} "
            f"of shape {labels.shape}. One-hot labels need an argmax over "
            "the last axis."
        )
    return labels


def validate_targets(targets, labels: np.ndarray) -> np.ndarray | None:
    """Returns targets given one by one, or None.

    Raises:
      InputError: They are no classes, one an image, other than the labels.
    """
    if targets is None or isinstance(targets, str):
        return None
    target_labels = np.asarray(targets)
    if target_labels.shape != labels.shape or target_labels.dtype.kind not in "iu":
        raise errors.InputError(
            f"targets must be integers {labels.shape}, one an image; got "
            f"{target_labels.dtype.name} {target_labels.shape}."
        )
    check_class_numbers("targets", target_labels)
    equal_indices = np.flatnonzero(target_labels == labels)
    if equal_indices.size:
        raise errors.InputError(
            "targets must be other classes than the labels; got the label "
            f"itself for {equal_indices.size} images, the first at index {equal_indices[0]}."
        )
    return target_labels.astype(np.int32)


def _check_not_single_images(images, count: int) -> None:
    """Raises an InputError for a list of single images."""
    if not isinstance(images, list | tuple) or len(images) != count:
        return
    shapes = [np.shape(image) for image in images]
    if sum(shape[0] if shape else 1 for shape in shapes) != count:
        raise errors.InputError(
            "A list must hold batches [batch, ...]; got "
            f"{count} arrays, as many as labels, the first of shape "
            f"{shapes[0]}. Single images need np.stack(images)."
        )


def _iterate_chunks(images, chunk_size: int) -> Iterator[np.ndarray]:
    """Cuts an array, or a stream of arrays, into arrays of `chunk_size` rows."""
    if hasattr(images, "shape"):
        for start in range(0, len(images), chunk_size):
            yield np.asarray(images[start : start + chunk_size])
        return
    if not isinstance(images, Iterable) or isinstance(images, str | bytes):
        raise errors.InputError(
            "Images must be an array [n, ...] or an iterable of arrays; got "
            f"{type(images).__name__}."
        )
    pending, num_pending = [], 0
    for batch in images:
        batch = np.asarray(batch)
        while num_pending + len(batch) >= chunk_size:
            num_missing = chunk_size - num_pending
            yield np.concatenate([*pending, batch[:num_missing]])
            pending, num_pending, batch = [], 0, batch[num_missing:]
        if len(batch):
            pending.append(batch)
            num_pending += len(batch)
    if pending:
        yield np.concatenate(pending)
