"""Checks of options and examples before an attack."""

import numbers
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup.core import errors
from qup.core.classifier import UNIT_RANGE, Classifier
from qup.core.types import Bounds


class ExampleBatch(NamedTuple):
    """Examples as arrays, one row per example.

    Attributes:
      images: float32 [n, ...].
      labels: int32 [n].
      ids: int64 [n].
      epsilon: float32 [n]; NaN for no budget.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    epsilon: np.ndarray

    def take(self, index: np.ndarray) -> "ExampleBatch":
        """Returns the rows at `index`."""
        return ExampleBatch(*(column[index] for column in self))


def check_integer(name: str, value, *, least: float | None = None) -> None:
    """Raises an InputError unless `value` is an integer of at least `least`.

    The value of a tensor is not checked, because reading it would synchronise the device.
    """
    if tf.is_tensor(value):
        return
    errors.check_number(name, value, at_least=least)
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise errors.InputError(f"{name} must be an integer; got {value!r}.")


def validate_ids(ids, count: int) -> np.ndarray:
    """Returns ids as int64 [count]; 0, 1, 2, ... for None.

    Raises:
      InputError: They are not integers, one per image.
    """
    if ids is None:
        return np.arange(count, dtype=np.int64)
    ids = np.asarray(ids)
    if ids.shape != (count,) or ids.dtype.kind not in "iu":
        raise errors.InputError(
            f"ids must be {count} integers, one per image; got {ids.dtype.name} of shape "
            f"{ids.shape}."
        )
    return ids.astype(np.int64)


def check_class_numbers(name: str, values: np.ndarray) -> None:
    """Raises an InputError if a value is negative or above int32."""
    if not values.size:
        return
    if values.min() < 0:
        raise errors.InputError(f"{name} must not be negative; got {values.min()}.")
    if values.max() > np.iinfo(np.int32).max:
        raise errors.InputError(f"{name} must be classes, 0, 1, 2, ...; got {values.max()}.")


def validate_bounds(bounds) -> Bounds:
    """Returns the bounds of the pixels as a tuple, or None.

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


def check_unit_box(classifier: Classifier, bounds: Bounds) -> None:
    """Raises an InputError if a range of pixels is stated and images are not in [0, 1]."""
    if classifier.pixel_range != UNIT_RANGE and bounds not in (None, UNIT_RANGE):
        raise errors.InputError(
            f"With pixel_range={classifier.pixel_range} images are in [0, 1] and are rescaled for "
            f"the classifier; received bounds={bounds}. Pass images in [0, 1] without bounds, or "
            "images as the classifier takes them without pixel_range."
        )


def check_number(name: str, value, *, least: float) -> None:
    """Raises an InputError unless `value` is a number of at least `least`.

    The value of a tensor is not checked, because reading it would synchronise the device.
    """
    if not tf.is_tensor(value):
        errors.check_number(name, value, at_least=least)


def check_batch(images, labels, bounds: Bounds) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns images and labels as the tensors that attacks use.

    Args:
      images: float [batch, ...], inside `bounds` to 1e-6, without NaN; or uint8, see `scale_bytes`.
      labels: Integers [batch], none negative.
      bounds: (lowest, highest) pixel, or None.

    Returns:
      (images, labels): float32 [batch, ...] and int32 [batch].

    Raises:
      InputError: A shape, dtype or value is invalid.
    """
    images = _convert_images(images)
    if images.dtype == tf.uint8 and tf.executing_eagerly():
        images = tf.constant(scale_bytes(images.numpy(), bounds))
    if not tf.is_tensor(labels) or tf.executing_eagerly():
        labels = validate_labels(labels)
    labels = tf.convert_to_tensor(labels)
    if not images.dtype.is_floating or images.shape.rank < 2:
        raise errors.InputError(
            "Images must be floating point or uint8 [batch, ...]; received "
            f"{images.dtype.name} {images.shape}. Pass images / 255 if white is 255."
        )
    if not labels.dtype.is_integer or labels.shape != images.shape[:1]:
        raise errors.InputError(
            f"Labels must be integers [{images.shape[0]}], one per image; received "
            f"{labels.dtype.name} {labels.shape}."
        )
    if tf.executing_eagerly():
        check_values(images.numpy(), labels.numpy(), bounds)
    return tf.cast(images, tf.float32), tf.cast(labels, tf.int32)


def scale_bytes(images: np.ndarray, bounds: Bounds = UNIT_RANGE) -> np.ndarray:
    """Returns bytes as the images in [0, 1] that they stand for: value / 255, as float32.

    Args:
      images: uint8 [batch, ...].
      bounds: (lowest, highest) pixel, or None.

    Raises:
      InputError: The bounds are not (0, 1), or white may be 1: then a byte does not say what it
        stands for.
    """
    if bounds != UNIT_RANGE:
        raise errors.InputError(
            f"Images of uint8 are read as value / 255, in [0, 1]; received bounds={bounds}. Pass "
            "images.astype('float32') for pixels as they are, or images / 255 for [0, 1]."
        )
    if images.size and images.max() == 1:
        raise errors.InputError(
            "The images are uint8 of 0 and 1 alone: 1 can be white, or nearly black. Pass "
            "images.astype('float32') if 1 is white, images / 255 if 255 is."
        )
    return images / np.float32(255)


def _convert_images(images: Any) -> tf.Tensor:
    """Returns images as a tensor, or raises an InputError that says what they are instead."""
    if not tf.is_tensor(images):
        try:
            images = np.asarray(images)
        except ValueError as error:
            raise errors.InputError(
                "Images must be one array [batch, ...]; received a list of arrays of different "
                "shapes. Bring them to one size and use np.stack(images)."
            ) from error
        if images.dtype.kind not in "fiub":
            raise errors.InputError(
                f"Images must be numbers; received an array of {images.dtype.name}. Convert them "
                "with np.stack(images).astype('float32')."
            )
    return tf.convert_to_tensor(images)


def check_values(images, labels, bounds: Bounds) -> None:
    """Raises an InputError for pixels outside the bounds or negative labels."""
    if not images.size:
        return
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise errors.InputError("Images hold NaN or infinite values.")
    if bounds and (low < bounds[0] - 1e-6 or high > bounds[1] + 1e-6):
        raise errors.InputError(
            f"The pixels are in [{low:.4g}, {high:.4g}], outside the bounds {tuple(bounds)}. "
            f"{_get_range_advice(low, high, bounds)}"
        )
    check_class_numbers("Labels", labels)


def _get_range_advice(low: float, high: float, bounds: tuple[float, float]) -> str:
    if tuple(bounds) != (0.0, 1.0):
        return "Rescale them, or pass bounds=(LOWEST, HIGHEST), or None for none."
    if low >= 0 and high <= 255:
        low, high, conversion = 0, 255, "Divide them by 255"
    elif low >= -1 and high <= 1:
        low, high, conversion = -1, 1, "Pass (images + 1) / 2"
    else:
        conversion = "Scale them to [0, 1]"
        return f"{conversion}; a classifier that takes other pixels says so with pixel_range."
    return (
        f"{conversion}; if the classifier takes such pixels, pass pixel_range=({low}, {high}) too."
    )


def check_label_range(labels: np.ndarray, num_classes: int, name: str = "Labels") -> None:
    """Raises an InputError if a label is not a class of the classifier."""
    if labels.size and labels.max() >= num_classes:
        raise errors.InputError(
            f"{name} must be 0 to {num_classes - 1}, because the classifier has {num_classes} "
            f"classes; got {labels.max()}."
        )


def validate_epsilon(epsilon: Any, count: int) -> Any:
    """Returns a budget as None, a float or float32 [count].

    Args:
      epsilon: A number, one per image, or None.
      count: Number of images.

    Raises:
      InputError: A value is not a number or is negative, or the length is not `count`.
    """
    if epsilon is None or isinstance(epsilon, numbers.Real):
        if epsilon is not None:
            errors.check_number("epsilon", epsilon, at_least=0)
        return epsilon
    values = np.asarray(epsilon)
    if values.dtype.kind not in "fiu":
        raise errors.InputError(
            "epsilon must be a number, or one per image, in the units of the pixels; got "
            f"{epsilon!r}. Write 0.1 and not '0.1'."
        )
    if values.ndim == 0:
        return validate_epsilon(float(values), count)
    if values.shape != (count,):
        raise errors.InputError(
            f"epsilon must have one value per image, {count}; got an array of shape "
            f"{values.shape}. Pass several budgets for all images as epsilons=[...]."
        )
    if not (np.isfinite(values) & (values >= 0)).all():
        raise errors.InputError(
            "epsilon must be finite and at least 0 for every image; got values from "
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
            f"epsilons must be a list of at least one number, such as [0.1, 0.3]; got "
            f"{epsilons!r}. Pass a single budget as epsilon=0.1."
        )
    for value in values:
        if not np.ndim(value) and hasattr(value, "numpy"):
            value = value.numpy()
        errors.check_number("Each of epsilons", value, at_least=0)
    return [float(value) for value in values]


def build_epsilon_folders(epsilons: Sequence[float]) -> list[str]:
    """Returns a folder name for each budget; different budgets have different names."""
    short_names = [f"epsilon-{value:g}" for value in epsilons]
    if len(set(short_names)) == len(set(epsilons)):
        return short_names
    return [f"epsilon-{value!r}" for value in epsilons]


def iterate_shards(
    images, labels, *, ids, bounds: Bounds, shard_size: int | None
) -> Iterator[ExampleBatch]:
    """Yields the examples in shards that fit in memory, without budgets.

    Args:
      images: float or uint8 [n, ...], or an iterable of such arrays.
      labels: int [n].
      ids: int [n], or None for 0, 1, 2, ...
      bounds: (lowest, highest) pixel, or None.
      shard_size: Examples per shard; None for a single shard. Only the last shard is smaller.

    Raises:
      InputError: Images or labels are invalid, or their numbers differ.
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
    for shard_images in _iterate_chunks(images, shard_size or max(count, 1)):
        end = start + len(shard_images)
        if end > count:
            break
        rows = [column[start:end] for column in columns]
        shard_images, shard_labels = check_batch(shard_images, rows[0], bounds)
        yield ExampleBatch(shard_images.numpy(), shard_labels.numpy(), *rows[1:])
        start = end
    else:
        if start == count:
            return
    raise errors.InputError(
        f"There must be as many images as labels; got {count} labels and "
        f"{'more' if end > count else start} images."
    )


def iterate_padded_rows(count: int, batch_size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yields row indices, int64 [batch_size], and how many of them are not padding.

    The last batch is padded by repeats of the last row, so that only one shape is compiled.
    """
    for start in range(0, count, batch_size):
        rows = np.minimum(np.arange(start, start + batch_size), count - 1)
        yield rows, min(batch_size, count - start)


def validate_labels(labels) -> np.ndarray:
    """Returns labels as an array of integers [n]; [n, 1] is accepted.

    Raises:
      InputError: They are not integers, one per image; the advice is for what they are.
    """
    try:
        labels = np.asarray(labels)
    except ValueError:
        labels = np.empty(0, object)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer):
        return labels
    raise errors.InputError(
        f"Labels must be integers, one per image; received {labels.dtype.name} of shape "
        f"{labels.shape}. {_get_label_advice(labels)}"
    )


def _get_label_advice(labels: np.ndarray) -> str:
    kind = labels.dtype.kind
    if labels.ndim == 2 and kind in "fiub":
        return "Convert one-hot labels by labels.argmax(-1)."
    if labels.ndim == 0:
        return "Pass one label per image as an array."
    if kind == "b":
        return "Convert two classes by labels.astype(int)."
    if kind == "f":
        return "Convert class numbers by labels.astype(int)."
    if kind in "USO":
        return "Number the classes: np.unique(labels, return_inverse=True)[1]."
    return "Pass class numbers 0, 1, 2, ..."


def split_labelled_dataset(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images and labels of a tf.data.Dataset of (image, label), in memory.

    Batches and single images are accepted.

    Raises:
      InputError: It is not such a dataset, or it is empty.
    """
    spec = getattr(dataset, "element_spec", None)
    if not isinstance(spec, tuple) or len(spec) != 2:
        raise errors.InputError(
            "Without labels, images must be a tf.data.Dataset of (image, label); received "
            f"{type(dataset).__name__}. Pass attacks.run(attack, classifier, images, labels)."
        )
    image_shape, label_shape = spec[0].shape, spec[1].shape
    # A label may be [1].
    is_single_label = label_shape.rank == 1 and label_shape[0] == 1 and image_shape[:1] != [1]
    if (
        label_shape.rank == 0
        or is_single_label
        or (label_shape.rank is None and image_shape.rank == 3)
    ):
        dataset = dataset.batch(128)
    batches = list(dataset.as_numpy_iterator())
    if not batches:
        raise errors.InputError(
            "The dataset of images and labels is empty. Check its filters, take() and repeat()."
        )
    images, labels = (np.concatenate(columns) for columns in zip(*batches, strict=True))
    return images, labels


def validate_targets(targets, labels: np.ndarray) -> np.ndarray | str | None:
    """Returns targets as int32 [n]; a name or None is returned unchanged.

    Raises:
      InputError: They are not integers, one per image, or equal to a label.
    """
    if targets is None or isinstance(targets, str):
        return targets
    target_labels = np.asarray(targets)
    if target_labels.shape != labels.shape or target_labels.dtype.kind not in "iu":
        raise errors.InputError(
            f"targets must be integers {labels.shape}, one per image; got "
            f"{target_labels.dtype.name} {target_labels.shape}."
        )
    check_class_numbers("targets", target_labels)
    equal_indices = np.flatnonzero(target_labels == labels)
    if equal_indices.size:
        raise errors.InputError(
            "targets must differ from the labels; they are equal for "
            f"{equal_indices.size} images, the first at index {equal_indices[0]}."
        )
    return target_labels.astype(np.int32)


def _check_not_single_images(images, count: int) -> None:
    """Raises an InputError for a list of single images."""
    if not isinstance(images, list | tuple) or len(images) != count:
        return
    shapes = [np.shape(image) for image in images]
    if sum(shape[0] if shape else 1 for shape in shapes) != count:
        raise errors.InputError(
            f"A list must hold batches [batch, ...]; got {count} arrays, as many as labels, the "
            f"first of shape {shapes[0]}. Pass single images as np.stack(images)."
        )


def _iterate_chunks(images, chunk_size: int) -> Iterator[np.ndarray]:
    """Splits an array, or a stream of arrays, into arrays of `chunk_size` rows."""
    if hasattr(images, "shape"):
        for start in range(0, len(images), chunk_size):
            yield np.asarray(images[start : start + chunk_size])
        return
    if not isinstance(images, Iterable) or isinstance(images, str | bytes):
        raise errors.InputError(
            "Images must be an array [n, ...] or an iterable of arrays; got "
            f"{type(images).__name__}."
        )
    pending: list[np.ndarray] = []
    num_pending = 0
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
