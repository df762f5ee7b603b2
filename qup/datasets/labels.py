"""Labels in any form as class numbers, and the names of the classes.

```python
convert_labels("labels", [[0, 1], [1, 0]], 2)  # int32 [1, 0], and a note about one-hot rows
```
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from qup.core import errors
from qup.core.errors import InputError
from qup.datasets import dataset

_MAX_CLASSES = 1_000_000


def convert_to_array(name: str, values: Any) -> np.ndarray:
    """Returns values as an array of NumPy; `InputError` if they are none."""
    try:
        array = values if isinstance(values, np.ndarray) else np.asarray(values)
    # Tensors of other libraries fail with errors of their own, ragged lists with ValueError.
    except Exception as error:
        raise InputError(
            f"The {name} are no array: {' '.join(str(error).split())[:200]} Pass one NumPy array; "
            "images of different sizes must be resized to one, labels be one number per image."
        ) from error
    if array.dtype.kind == "V" and array.dtype.names is None:
        # bfloat16 and the like.
        array = array.astype(np.float32)
    return array


def convert_labels(name: str, values: Any, count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns class numbers, int32 [count], and notes.

    Args:
      name: For messages ("test labels").
      values: Class numbers [count] or [count, 1], or one-hot rows [count, classes].
      count: Number of images.

    Raises:
      InputError: They are anything else; the message says how to convert what was received.
    """
    array = convert_to_array(name, values)
    if array.dtype.kind in "OSUT":
        raise InputError(
            f"The {name} are texts or objects ({array.dtype}), not class numbers. Pass "
            "class_names, labels = np.unique(labels, return_inverse=True)."
        )
    if array.dtype.kind not in "biuf":
        raise InputError(f"The {name} must be class numbers, integers; received {array.dtype}.")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2):
        raise InputError(
            f"The {name} must be class numbers [n] or one-hot rows [n, classes]; received the "
            f"shape {list(array.shape)}."
        )
    if len(array) != count:
        raise InputError(
            f"There are {count} images and {len(array)} labels ({name}). Pass one label per image; "
            "images are counted along the first axis."
        )
    if array.ndim == 2:
        return _read_one_hot(name, array), ("one-hot labels turned into class numbers",)
    if array.dtype.kind == "f":
        is_whole = np.isfinite(array).all() and (array == np.rint(array)).all()
        advice = "Pass labels.astype('int32')" if is_whole else "Pass the number of each class"
        raise InputError(f"The {name} are {array.dtype}, not integers. {advice}.")
    _check_class_numbers(name, array)
    return array.astype(np.int32), ()


def _read_one_hot(name: str, array: np.ndarray) -> np.ndarray:
    is_one_hot = ((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all()
    if not is_one_hot:
        raise InputError(
            f"The {name} have the shape {list(array.shape)}, but not a single 1 and else 0 in each "
            "row. For the most probable class pass labels.argmax(axis=1); several classes per "
            "image cannot be used."
        )
    return array.argmax(axis=1).astype(np.int32)


def _check_class_numbers(name: str, array: np.ndarray) -> None:
    low, high = int(array.min()), int(array.max())
    if low == -1 and high == 1 and not (array == 0).any():
        raise InputError(f"The {name} are -1 and 1; expected 0 and 1. Pass (labels + 1) // 2.")
    if low < 0:
        raise InputError(
            f"The {name} must be class numbers from 0; received {low}. Leave out images without a "
            "class."
        )
    if high >= _MAX_CLASSES:
        raise InputError(
            f"The {name} must be class numbers 0, 1, 2, ...; received {high}. Pass "
            "np.unique(labels, return_inverse=True)[1]."
        )


def choose_class_names(
    labels: list[np.ndarray], class_names: Sequence[str] | None
) -> tuple[str, ...]:
    """Returns one name per class; the class numbers, at least 0 and 1, for None."""
    highest = max(int(array.max()) for array in labels)
    if class_names is None:
        if min(int(array.min()) for array in labels) == 1:
            dataset.log_once(
                logging.WARNING,
                "arrays: no image has the label 0. Classes are counted from 0: pass labels - 1 if "
                "yours are counted from 1.",
            )
        return tuple(str(number) for number in range(max(2, highest + 1)))
    if isinstance(class_names, str) or not isinstance(class_names, Iterable):
        raise InputError(
            "class_names must be a list of texts, one per class; received "
            f"{errors.shorten(class_names)}."
        )
    names = tuple(str(name) for name in class_names)
    if highest >= len(names):
        raise InputError(
            f"There are {len(names)} class_names, but a label is {highest}. Labels are 0 to "
            f"{len(names) - 1} then; name every class."
        )
    return names
