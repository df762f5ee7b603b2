"""Validation images of ImageNet from a folder with one folder per class.

```
images_dir/<index or WordNet number>/*.JPEG
```

```python
images = read("validation", image_size=224, max_images=1000)
images.pixels  # uint8 [1000, 224, 224, 3]
```
"""

import functools
import importlib.util
import os
import pathlib
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup.core import files, hashing
from qup.core.errors import InputError
from qup.datasets import dataset, image_folder
from qup.reproduction.imagenet.models import NUM_CLASSES

_ORDER_SEED = 0
# Unlike image_folder, which turns images as EXIF says: the published networks were measured on the
# stored rows.
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")


class ImageNetImages(NamedTuple):
    """Some validation images.

    Attributes:
      pixels: uint8 [n, size, size, 3].
      labels: int32 [n].
      ids: int64 [n], positions in the shuffled folder.
      digest: SHA-256, in hex, of the files and their classes.
    """

    pixels: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    digest: str


def read(
    images_dir: str | os.PathLike, *, image_size: int, max_images: int | None = None
) -> ImageNetImages:
    """Reads the first images of a fixed shuffle, cropped as in Su et al.

    The shorter side is resized to `image_size` pixels, and the central square is kept. Files are
    PNG, JPEG, BMP and GIF by their suffixes; EXIF's orientation is ignored.

    Raises:
      InputError: A folder is missing, empty or not named after a class, there are fewer images
        than `max_images`, or a file is not an image.
    """
    selected = _select_images(images_dir, max_images)
    # Originals have all sizes: only one is in memory at a time.
    pixels = np.empty((len(selected), image_size, image_size, 3), np.uint8)
    for index, (path, _) in enumerate(selected):
        pixels[index] = _read_square_image(path, image_size)
    labels = np.array([label for _, label in selected], np.int32)
    return ImageNetImages(pixels, labels, np.arange(len(selected)), _hash_images(selected))


def compute_digest(images_dir: str | os.PathLike, *, max_images: int | None = None) -> str:
    """Returns the digest of the images that `read` would return, without decoding them."""
    return _hash_images(_select_images(images_dir, max_images))


def write_synthetic(
    images_dir: str | os.PathLike, *, num_images: int = 4, image_size: int = 40, seed: int = 0
) -> None:
    """Writes smooth random colours as PNG files, one per class, to test the pipeline."""
    rng = np.random.default_rng(seed)
    for label in range(num_images):
        coarse = rng.uniform(0, 255, (5, 5, 3)).astype(np.float32)
        image = dataset.resize(coarse, (image_size, image_size))
        path = pathlib.Path(images_dir) / str(label) / f"{label}.png"
        files.write_bytes(path, tf.io.encode_png(image).numpy())


def _select_images(images_dir: str | os.PathLike, max_images: int | None) -> list[tuple[str, int]]:
    """Returns path and class of the selected images."""
    folder = pathlib.Path(images_dir).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {folder} of validation images. Expected "
            "images_dir/<class>/*.JPEG, where <class> is an index, 0 to 999, or a WordNet number, "
            "such as n01440764."
        )
    class_folders = [entry for entry in image_folder.list_visible(folder) if entry.is_dir()]
    labelled_paths = sorted(
        (label, os.path.basename(path), path)
        for label, inside in ((get_class_index(f.name), f) for f in class_folders)
        for path in _list_images(inside)
    )
    if max_images is not None and not 1 <= max_images <= len(labelled_paths):
        raise InputError(
            f"{folder} contains {len(labelled_paths)} images; {max_images} were requested. Request "
            "fewer, or add images."
        )
    if not labelled_paths:
        raise InputError(f"{folder} contains no class folders.")
    order = np.random.default_rng(_ORDER_SEED).permutation(len(labelled_paths))
    return [(labelled_paths[i][2], labelled_paths[i][0]) for i in order[:max_images]]


def _list_images(folder: pathlib.Path) -> list[str]:
    """Returns the paths of a class folder's images, sorted."""
    entries = image_folder.list_visible(folder)
    paths = [str(entry) for entry in entries if entry.suffix.lower() in _SUFFIXES]
    if not paths:
        raise InputError(f"The class folder {folder} has no images ({', '.join(_SUFFIXES)}).")
    return paths


def _hash_images(selected: list[tuple[str, int]]) -> str:
    return hashing.hash_parts(
        f"{label} {dataset.compute_file_digest(pathlib.Path(path))}\n" for path, label in selected
    )


def _read_square_image(path: str, size: int) -> np.ndarray:
    try:
        image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    except tf.errors.OpError as error:
        detail = re.sub(r"\{\{.*?\}\} ?| ?\[Op:\w+\].*", "", error.message)
        raise InputError(f"Cannot read the image {path}: {detail}. Fix or remove it.") from error
    height, width = image.shape[:2]
    scale = size / min(height, width)
    sides = [max(size, round(scale * side)) for side in (height, width)]
    top, left = ((side - size) // 2 for side in sides)
    image = dataset.resize(image, sides)
    return image[top : top + size, left : left + size].numpy()


@functools.cache
def load_wordnet_numbers() -> tuple[str, ...]:
    """Returns the sorted WordNet numbers ("n01440764", ...): position is Keras's class index."""
    # The file of the package is read without importing the package.
    package = importlib.util.find_spec("tensorflow_datasets").origin
    path = pathlib.Path(package).parent / "datasets/imagenet2012/labels.txt"
    return tuple(path.read_text("utf-8").split())


def get_class_index(name: str) -> int:
    """Returns the class of a folder named by an index ("0" to "999") or a WordNet number.

    Raises:
      InputError: The name is neither.
    """
    if re.fullmatch("[0-9]+", name) and int(name) < NUM_CLASSES:
        return int(name)
    try:
        return load_wordnet_numbers().index(name)
    except ValueError:
        raise InputError(
            f"{name!r} is not an ImageNet class. Name each folder by the class index, 0 to 999, or "
            "by its WordNet number, such as n01440764."
        ) from None
