"""The user's images, one folder per class.

```
data_dir/train/<class>/*.png
data_dir/test/<class>/*.png
```
"""

import functools
import os
import pathlib
import re

import numpy as np
import tensorflow as tf

from qup import datasets
from qup.core.errors import InputError
from qup.datasets import dataset

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_ORDER_SEED = 0


@datasets.register
def image_folder(
    *, data_dir: str | os.PathLike | None = None, image_size: tuple[int, int] | None = None
) -> dataset.Source:
    """Returns the images of a folder, decoded at the first use.

    PNG, JPEG, BMP and GIF (the first frame) of any size become 3 channels of 8 bits. Grey is
    repeated, transparency is dropped, 8-bit BMP counts as grey. Other files and hidden ones are
    ignored. The order is a fixed shuffle, so that the first n are a random sample.

    Args:
      data_dir: Holds train/ and test/, each with the same class folders.
      image_size: (height, width) to resize to, (32, 32) by default.

    Returns:
      The source; its classes are the folders' names, sorted.

    Raises:
      InputError: A folder is missing, empty or in one split only. A file that is not an image
        raises it when the images are read.
    """
    size = dataset.check_image_size(image_size or (32, 32))
    if not data_dir:
        raise InputError(
            "image_folder needs data_dir, a folder with train/<class>/ and test/<class>/ in it."
        )
    folder = pathlib.Path(data_dir).expanduser()
    classes, test_classes = (_list_classes(folder / split) for split in ("train", "test"))
    if test_classes != classes:
        raise InputError(
            f"train/ and test/ of {folder} must hold the same class folders; these are in one of "
            f"them only: {', '.join(sorted(set(classes) ^ set(test_classes)))}."
        )
    return dataset.Source(
        image_shape=(*size, 3),
        class_names=tuple(classes),
        origin="a folder of images",
        splits={
            split: _build_folder_split(folder / split, classes, size) for split in ("train", "test")
        },
        files={
            f"{split}/{name}/{os.path.basename(path)}": pathlib.Path(path)
            for split in ("train", "test")
            for name in classes
            for path in list_images(folder / split / name)
        },
    )


def list_visible(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the entries of a folder, sorted, without hidden ones."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"Cannot read the folder {folder}: {error.strerror}. Expected "
            "data_dir/train/<class>/ and data_dir/test/<class>/ with images."
        ) from error
    for entry in entries:
        try:
            str(entry).encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(f"The name {str(entry)!a} is not in UTF-8. Rename it.") from error
    return [entry for entry in entries if not entry.name.startswith(".")]


def _list_classes(folder: pathlib.Path) -> list[str]:
    names = [entry.name for entry in list_visible(folder) if entry.is_dir()]
    if not names:
        raise InputError(f"{folder} has no class folders in it.")
    return names


def list_images(folder: pathlib.Path) -> list[str]:
    """Returns the paths of a class folder's images, sorted."""
    paths = [str(entry) for entry in list_visible(folder) if entry.suffix.lower() in _SUFFIXES]
    if not paths:
        raise InputError(f"The class folder {folder} has no images ({', '.join(_SUFFIXES)}).")
    return paths


def _build_folder_split(
    folder: pathlib.Path, classes: list[str], image_size: tuple[int, int]
) -> dataset.Split:
    files = [list_images(folder / name) for name in classes]
    labels = np.repeat(np.arange(len(classes)), [len(f) for f in files])
    order = np.random.default_rng(_ORDER_SEED).permutation(len(labels))
    paths = np.concatenate(files)[order].tolist()
    with tf.device("CPU:0"):
        elements = tf.data.Dataset.from_tensor_slices((paths, labels[order].astype(np.int32))).map(
            lambda path, label: (_decode_image(path, image_size), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    explain = functools.partial(_find_decode_error, paths, image_size)
    return dataset.Split(elements, len(paths), explain)


def _decode_image(path: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return dataset.resize(image, image_size)


def _find_decode_error(paths: list[str], image_size: tuple[int, int], reason: str) -> InputError:
    """Decodes each file again to name the first one that fails."""
    for path in paths:
        try:
            _decode_image(tf.constant(path), image_size)
        except tf.errors.OpError as error:
            detail = re.sub(r"\{\{.*?\}\} ?| ?\[Op:\w+\]", "", error.message)
            return InputError(f"Cannot read the image {path}: {detail}. Repair or remove it.")
    return InputError(f"Cannot read the images: {reason}.")
