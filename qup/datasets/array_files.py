"""The user's images as files of NumPy: two .npy files, or one .npz file.

```python
datasets.load("arrays", images="x_test.npy", labels="y_test.npy")
datasets.load("arrays", images="mnist.npz")  # x_test, y_test, x_train and y_train
```
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from qup import datasets
from qup.core import errors
from qup.core.errors import InputError
from qup.datasets import dataset
from qup.datasets.arrays import build_source

# Names of the arrays in an .npz file, by split.
_KEYS = {
    "test": (("images", "labels"), ("x_test", "y_test"), ("test_images", "test_labels")),
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels")),
}
_EXPECTED = "images and labels, or x_test and y_test, and for training x_train and y_train"


@datasets.register
def arrays(
    *,
    images: str | os.PathLike | None = None,
    labels: str | os.PathLike | None = None,
    value_range: Sequence[float] | None = None,
) -> dataset.Source:
    """Returns the images of files written by np.save or np.savez.

    Args:
      images: A .npy file, the images of the split "test"; or an .npz file with images and labels:
        its arrays are called images and labels, x_test and y_test, or test_images and test_labels;
        training images x_train and y_train, or train_images and train_labels; validation images
        x_val and y_val, or val_images and val_labels. Their values: `datasets.from_arrays`.
      labels: The .npy file of the labels, for a .npy file of images.
      value_range: (black, white), see `datasets.from_arrays`.

    Raises:
      InputError: A file cannot be read, an array is missing, or it has the wrong shape, type or
        values. Pickled objects are never loaded.
    """
    if images is None:
        raise InputError(
            "The dataset arrays needs images: --images=FILE.npy with --labels=FILE.npy, or "
            "--images=FILE.npz with both."
        )
    paths = {"images": dataset.parse_path("images", images)}
    content = _load(paths["images"])
    if isinstance(content, np.lib.npyio.NpzFile):
        if labels is not None:
            raise InputError(
                f"{images} is an .npz file, which holds the labels itself; received labels="
                f"{errors.shorten(labels)} too. Omit it, or give the images as .npy."
            )
        with content:
            splits = _read_splits(paths["images"], content)
    elif labels is None:
        raise InputError(f"{images} has images alone. Give --labels=FILE.npy too.")
    else:
        paths["labels"] = dataset.parse_path("labels", labels)
        label_array = _load(paths["labels"])
        if isinstance(label_array, np.lib.npyio.NpzFile):
            label_array.close()
            raise InputError(f"labels must be a .npy file; {paths['labels']} is an .npz file.")
        splits = {"test": (content, label_array)}
    return build_source(splits, value_range=value_range, files=paths)


def _load(path: pathlib.Path) -> Any:
    """Returns a memory-mapped array, or the open .npz file."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    except MemoryError:
        raise
    # Damaged files fail in the parsers of zip, of headers and of pickles.
    except Exception as error:
        raise _make_load_error(str(path), error) from error


def _make_load_error(name: str, error: Exception) -> InputError:
    text = " ".join(str(error).split())[:200]
    if "pickle" in text or "object" in text.lower():
        return InputError(
            f"{name} holds pickled Python objects, or is no array file of NumPy. Pickles can run "
            "code and are not loaded. Save plain numbers: np.save(path, np.stack(images)), or "
            "np.savez(path, images=..., labels=...)."
        )
    return InputError(
        f"{name} is damaged or no array file of NumPy: {text or type(error).__name__}. Write it "
        "again with np.save or np.savez."
    )


def _read_splits(path: pathlib.Path, content: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    splits = {}
    for split, pairs in _KEYS.items():
        for pair in pairs:
            present = [key for key in pair if key in content.files]
            if len(present) == 1:
                (missing,) = set(pair) - set(present)
                raise InputError(f"{path} has {present[0]} but no {missing}. Save both.")
            if not present:
                continue
            if split in splits:
                raise InputError(
                    f"{path} has {split} images under two names, of which one is {pair[0]}. Save "
                    "one of them."
                )
            splits[split] = tuple(_read_member(path, content, key) for key in pair)
    if "test" not in splits:
        found = ", ".join(content.files[:10]) or "nothing"
        raise InputError(f"{path} must hold {_EXPECTED}; received {found}.")
    return splits


def _read_member(path: pathlib.Path, content: Any, key: str) -> np.ndarray:
    try:
        return content[key]
    except MemoryError:
        raise
    # As in `_load`.
    except Exception as error:
        raise _make_load_error(f"{key} in {path}", error) from error
