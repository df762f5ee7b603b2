"""Validation images of ImageNet from a folder, one folder a class.

```
images_dir/<index or WordNet number>/*.JPEG
```

```python
images = read("validation", image_size=224, limit=1000)
images.pixels  # uint8 [1000, 224, 224, 3]
```
"""

import os
import pathlib
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup.core import files, hashing
from qup.core.errors import InputError
from qup.datasets import dataset, image_folder
from qup.reproduction.imagenet import models

_ORDER_SEED = 0


class ImageNetImages(NamedTuple):
    """Some validation images.

    Attributes:
      pixels: uint8 [n, size, size, 3].
      labels: int32 [n].
      ids: int64 [n], places in the shuffled folder.
      digest: SHA-256, in hex, of the files read and their classes.
    """

    pixels: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    digest: str


def read(
    images_dir: str | os.PathLike, *, image_size: int, max_images: int | None = None
) -> ImageNetImages:
    """Reads the first images of a fixed shuffle, as Su et al. cut them.

    The shorter side is brought to `image_size` pixels, and the square in the
    middle taken. Files of every kind that the dataset `image_folder` reads.

    Args:
      images_dir: The class folders.
      image_size: Pixels a side.
      max_images: How many; None for all.

    Raises:
      InputError: A folder is missing, empty or named as no class, there are
        too few images, or a file is none.
    """
    selected = _select_images(images_dir, max_images)
    # One at a time: originals are of all sizes, and none is kept.
    pixels = np.empty((len(selected), image_size, image_size, 3), np.uint8)
    for index, (path, _) in enumerate(selected):
        pixels[index] = _read_square_image(path, image_size)
    labels = np.array([label for _, label in selected], np.int32)
    return ImageNetImages(pixels, labels, np.arange(len(selected)), _compute_digest(selected))


def digest(images_dir: str | os.PathLike, *, max_images: int | None = None) -> str:
    """Returns the digest of what `read` would read.

    Raises:
      InputError: See `read`; files are not decoded.
    """
    return _compute_digest(_select_images(images_dir, max_images))


def write_synthetic(
    images_dir: str | os.PathLike, *, num_images: int = 4, image_size: int = 40, seed: int = 0
) -> None:
    """Writes smooth random colours as PNG, to try the pipeline without data.

    Args:
      images_dir: The folder, made if need be; one class an image.
      num_images: How many, at most 1,000.
      image_size: Pixels a side.
      seed: Of the colours.
    """
    rng = np.random.default_rng(seed)
    for label in range(num_images):
        coarse = rng.uniform(0, 255, (5, 5, 3)).astype(np.float32)
        image = dataset.resize(coarse, (image_size, image_size))
        path = pathlib.Path(images_dir) / str(label) / f"{label}.png"
        files.write_bytes(path, tf.io.encode_png(image).numpy())


def _select_images(images_dir: str | os.PathLike, max_images: int | None) -> list[tuple[str, int]]:
    """Returns path and class of each image to read."""
    folder = pathlib.Path(images_dir).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {folder} of validation images. Expected "
            "images_dir/<class>/*.JPEG, with a class's index, 0 to 999, or "
            "its WordNet number, such as n01440764, for <class>."
        )
    folders = [entry for entry in image_folder.list_visible(folder) if entry.is_dir()]
    labelled_paths = sorted(
        (label, os.path.basename(path), path)
        for label, inside in ((models.get_class_index(f.name), f) for f in folders)
        for path in image_folder.list_images(inside)
    )
    if max_images is not None and not 1 <= max_images <= len(labelled_paths):
        raise InputError(
            f"{folder} holds {len(labelled_paths)} images; asked for {max_images}. Ask for "
            "1 to as many, or add images."
        )
    if not labelled_paths:
        raise InputError(f"{folder} has no class folders in it.")
    order = np.random.default_rng(_ORDER_SEED).permutation(len(labelled_paths))
    return [(labelled_paths[i][2], labelled_paths[i][0]) for i in order[:max_images]]


def _compute_digest(selected: list[tuple[str, int]]) -> str:
    return hashing.joined_digest(
        f"{label} {dataset.compute_file_digest(pathlib.Path(path))}\n" for path, label in selected
    )


def _read_square_image(path: str, size: int) -> np.ndarray:
    try:
        image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    except tf.errors.OpError as error:
        detail = re.sub(r"\{\{.*?\}\} ?| ?\[Op:\w+\].*", "", error.message)
        raise InputError(f"Cannot read the image {path}: {detail}. Mend or remove it.") from error
    height, width = image.shape[:2]
    scale = size / min(height, width)
    sides = [max(size, round(scale * side)) for side in (height, width)]
    top, left = ((side - size) // 2 for side in sides)
    image = dataset.resize(image, sides)
    return image[top : top + size, left : left + size].numpy()
