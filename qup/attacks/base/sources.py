"""Examples from arrays or streams of batches, checked, in shards."""

from collections.abc import Iterable, Iterator

import numpy as np

from qup import errors
from qup.attacks.base import checks, integers
from qup.attacks.base.engine import ExampleBatch
from qup.types import Bounds


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
    columns = (labels, integers.validate_ids(ids, count), np.full(count, np.nan, np.float32))
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
        images_of_shard, labels_of_shard = checks.check_batch(images_of_shard, rows[0], bounds)
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
    integers.check_class_numbers("targets", target_labels)
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
