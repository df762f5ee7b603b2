"""The user's images as arrays in memory.

```python
data = datasets.from_arrays(x_test, y_test, train_images=x_train, train_labels=y_train)
```

Images are kept in 8 bits, like those of every dataset: floats are rounded to 256 levels.
"""

import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from qup.core import errors
from qup.core.errors import InputError
from qup.datasets import dataset
from qup.datasets.dataset import Dataset, InputRecord, Source
from qup.datasets.labels import choose_class_names, convert_labels, convert_to_array

# Images per block: memory-mapped files may be larger than the memory.
_BLOCK_SIZE = 512
_BIT_DEPTHS = (8, 10, 12, 14, 16)
# Rounding errors of a division by 255 are not values out of the range.
_TOLERANCE = 1e-5
# Levels of 8 bits by which rounding changes a pixel, below which it is not mentioned.
_EXACT = 0.01


def from_arrays(
    images: Any,
    labels: Any,
    *,
    train_images: Any = None,
    train_labels: Any = None,
    value_range: Sequence[float] | None = None,
    class_names: Sequence[str] | None = None,
    train_size: int | None = None,
    test_size: int | None = None,
    validation_size: int = 0,
    seed: int = 0,
) -> Dataset:
    """Returns a dataset of images and labels in memory.

    Args:
      images: [n, height, width, channels] or, grey, [n, height, width]. Without `value_range`:
        floats in [0, 1], bool, or integers in [0, 255]. Where integers are above 255, white is the
        highest value of the fewest bits, of 10, 12, 14 and 16, in which all fit.
      labels: Class numbers from 0, [n] or [n, 1], or one-hot rows [n, classes].
      train_images: Training images like `images`; None: the data has the split "test" alone.
      train_labels: Their labels.
      value_range: (black, white) in the images' numbers, such as (-1, 1) or (0, 255).
      class_names: One name per class; None: their numbers, up to the highest label.
      train_size: See `datasets.load`.
      test_size: See `datasets.load`.
      validation_size: See `datasets.load`.
      seed: See `datasets.load`.

    Returns:
      The dataset "arrays". Its `report` says how the arrays were changed.

    Raises:
      InputError: An array has the wrong shape, type or values; the message says what to pass.
    """
    splits = {"test": (images, labels)}
    if (train_images is None) != (train_labels is None):
        raise InputError("train_images and train_labels belong together; received one of them.")
    if train_images is not None:
        splits["train"] = (train_images, train_labels)
    source = build_source(splits, value_range=value_range, class_names=class_names)
    return Dataset(
        "arrays",
        source,
        train_size=train_size,
        test_size=test_size,
        validation_size=validation_size,
        seed=seed,
    )


def build_source(
    splits: Mapping[str, tuple[Any, Any]],
    *,
    value_range: Sequence[float] | None = None,
    class_names: Sequence[str] | None = None,
    origin: str = "arrays of the user",
    files: Mapping[str, pathlib.Path] | None = None,
) -> Source:
    """Returns a source of (images, labels) per split; other arguments: `from_arrays`, `Source`."""
    arrays = {}
    for split, (images, labels) in splits.items():
        shaped, note = _check_images(f"{split} images", images)
        numbers, label_notes = convert_labels(f"{split} labels", labels, len(shaped))
        arrays[split] = (shaped, numbers, (*note, *label_notes))
    shapes = {split: images.shape[1:] for split, (images, _, _) in arrays.items()}
    if len(set(shapes.values())) > 1:
        raise InputError(
            f"All splits must have images of one shape; received {shapes}. Resize them."
        )
    ranges = _choose_ranges({s: images for s, (images, _, _) in arrays.items()}, value_range)
    names = choose_class_names([labels for _, labels, _ in arrays.values()], class_names)
    built, report = {}, []
    for split, (images, labels, notes) in arrays.items():
        scaled, change = _convert_to_bytes(images, ranges[split])
        notes += _describe_scaling(images, ranges[split], change)
        built[split] = dataset.build_split(scaled, labels)
        report.append(InputRecord(f"{split} images", True, notes))
        is_exact = change <= _EXACT and ranges[split].is_certain
        dataset.log_once(
            logging.INFO if is_exact else logging.WARNING,
            f"arrays, {split}: {images.dtype} {list(images.shape)}: {'; '.join(notes)}.",
        )
    return Source(
        image_shape=tuple(int(side) for side in next(iter(shapes.values()))),
        class_names=names,
        origin=origin,
        splits=built,
        files=files or {},
        report=tuple(report),
    )


# Images


class _ValueRange(NamedTuple):
    """The numbers of black and white, and whether they were stated or leave no doubt."""

    low: float
    high: float
    is_certain: bool = True


def _check_images(name: str, values: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns images as [n, height, width, channels], and notes."""
    array = convert_to_array(name, values)
    if array.dtype.kind == "O":
        raise InputError(
            f"The {name} are an array of Python objects, as of images of different sizes. Resize "
            "them to one size and pass np.stack(images)."
        )
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"The {name} must be numbers, floats in [0, 1] or integers in [0, 255]; received "
            f"{array.dtype}."
        )
    notes: tuple[str, ...] = ()
    shape = array.shape
    if array.ndim == 3:
        array, notes = array[..., None], (f"a channel added to {list(shape)}",)
    if array.ndim != 4:
        advice = f"images.reshape({shape[0] if shape else 'n'}, height, width, channels)"
        raise InputError(
            f"The {name} must have the shape [n, height, width, channels]; received {list(shape)}. "
            f"Pass {advice}; a single image is images[None]."
        )
    if not array.size:
        raise InputError(f"The {name} are empty: shape {list(shape)}. Pass at least one image.")
    if array.shape[1] <= 4 < array.shape[3]:
        raise InputError(
            f"The {name} have the channels first: shape {list(shape)}, expected [n, height, width, "
            "channels]. Pass np.moveaxis(images, 1, -1)."
        )
    return array, notes


def _iterate_blocks(images: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(images), _BLOCK_SIZE):
        rows = slice(start, start + _BLOCK_SIZE)
        yield rows, np.asarray(images[rows])


def _find_limits(name: str, images: np.ndarray) -> tuple[float, float]:
    """Returns the lowest and the highest value; InputError for NaN and infinity."""
    low, high = np.inf, -np.inf
    for rows, block in _iterate_blocks(images):
        is_bad = ~np.isfinite(block).all(axis=(1, 2, 3))
        if is_bad.any():
            raise InputError(
                f"The {name} have NaN or infinite values, first in image "
                f"{rows.start + int(is_bad.argmax())}. Remove or replace them."
            )
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    return low, high


def _choose_ranges(
    images: Mapping[str, np.ndarray], value_range: Sequence[float] | None
) -> dict[str, _ValueRange]:
    """Returns the range of each split; InputError where it is in doubt."""
    stated = None if value_range is None else _check_value_range(value_range)
    limits = {split: _find_limits(f"{split} images", array) for split, array in images.items()}
    # Deep integers of all splits have one depth.
    highest = max(
        (limits[s][1] for s, array in images.items() if array.dtype.kind != "f"), default=0
    )
    ranges = {}
    for split, array in images.items():
        low, high = limits[split]
        name = f"{split} images"
        if stated is not None:
            _check_limits(name, low, high, stated)
            ranges[split] = stated
        elif array.dtype.kind == "f":
            ranges[split] = _choose_float_range(name, low, high)
        else:
            ranges[split] = _choose_integer_range(name, array, low, high, highest)
    return ranges


def _check_value_range(value_range: Sequence[float]) -> _ValueRange:
    try:
        low, high = (float(value) for value in value_range)
        is_valid = np.isfinite([low, high]).all() and low < high
    except (TypeError, ValueError, OverflowError):
        is_valid = False
    if not is_valid:
        raise InputError(
            "value_range must be the values of black and white, such as (0, 255) or (-1, 1); "
            f"received {errors.shorten(value_range)}."
        )
    return _ValueRange(low, high)


def _check_limits(name: str, low: float, high: float, stated: _ValueRange) -> None:
    slack = _TOLERANCE * (stated.high - stated.low)
    if low < stated.low - slack or high > stated.high + slack:
        raise InputError(
            f"The {name} have values from {low:.6g} to {high:.6g}, outside the stated value_range "
            f"({stated.low:g}, {stated.high:g}). State the range that holds them, or np.clip them."
        )


def _choose_float_range(name: str, low: float, high: float) -> _ValueRange:
    if low >= -_TOLERANCE and high <= 1 + _TOLERANCE:
        return _ValueRange(0, 1)
    if -1 - _TOLERANCE <= low < 0 and high <= 1 + _TOLERANCE:
        advice = "If -1 is black and 1 is white, pass value_range=(-1, 1)"
    elif low >= 0 and high <= 255:
        advice = (
            "If 0 is black and 255 is white, pass value_range=(0, 255); on a command line "
            "--config.dataset.value_range=0,255"
        )
    elif low < 0 and high < 20:
        advice = (
            "They look standardised: undo it (images * std + mean) and pass values in [0, 1]; the "
            "classifier then standardises its inputs itself"
        )
    else:
        advice = "Pass value_range=(BLACK, WHITE), the values of black and white"
    raise InputError(
        f"The {name} are floats from {low:.6g} to {high:.6g}; expected [0, 1]. {advice}."
    )


def _choose_integer_range(
    name: str, array: np.ndarray, low: float, high: float, highest: float
) -> _ValueRange:
    if array.dtype.kind == "b":
        return _ValueRange(0, 1)
    if low < 0 or high > 65535:
        raise InputError(
            f"The {name} are integers from {low:.0f} to {high:.0f}; expected [0, 255] or [0, 65535]"
            ". Pass value_range=(BLACK, WHITE), the values of black and white."
        )
    if high == 1:
        raise InputError(
            f"The {name} are {array.dtype} of 0 and 1 alone: 1 can be white, or nearly black. Pass "
            "value_range=(0, 1), or value_range=(0, 255) if 255 is white."
        )
    if array.dtype.itemsize == 1 or highest <= 255:
        return _ValueRange(0, 255)
    bits = next(bits for bits in _BIT_DEPTHS if highest < 1 << bits)
    return _ValueRange(0, (1 << bits) - 1, is_certain=False)


def _convert_to_bytes(images: np.ndarray, values: _ValueRange) -> tuple[np.ndarray, float]:
    """Returns images as uint8, and the largest change by rounding, in levels of 1/255."""
    if images.dtype == np.uint8 and values[:2] == (0, 255):
        return images, 0.0
    scaled = np.empty(images.shape, np.uint8)
    change = 0.0
    for rows, block in _iterate_blocks(images):
        levels = (block.astype(np.float64) - values.low) * (255 / (values.high - values.low))
        rounded = np.clip(np.rint(levels), 0, 255)
        change = max(change, float(np.abs(levels - rounded).max()))
        scaled[rows] = rounded
    return scaled, change


def _describe_scaling(images: np.ndarray, values: _ValueRange, change: float) -> tuple[str, ...]:
    notes = []
    if images.dtype != np.uint8 or values[:2] != (0, 255):
        notes.append(f"black is {values.low:g}, white is {values.high:g}")
    if not values.is_certain:
        notes.append("the fewest bits that hold all values; value_range states another white")
    if change > _EXACT:
        notes.append(f"rounded to 256 levels, by up to {change / 255:.4f} of the range")
    return tuple(notes) or ("used as they are",)
