"""The selected images of a dataset as plain files, the input of later pipeline steps.

`description.json`, and per split a folder `Split-<name>` with `images.npy` (uint8 [size, height,
width, channels]), `labels.npy` (int32 [size]) and `ids.npy` (int64 [size]).

```python
examples.write(data, folder)
data = examples.read(folder)  # the same batches
```
"""

import json
import pathlib

import numpy as np

from qup.core import shared_files
from qup.core.errors import InputError
from qup.datasets.dataset import Dataset, Source, build_split

_ARRAYS = ("images", "labels", "ids")


def write(dataset: Dataset, folder: pathlib.Path) -> None:
    """Writes every split of a dataset into an existing folder.

    Raises:
      InputError: The images cannot be read.
      OSError: The folder is not writable.
    """
    for split in dataset.info.sizes:
        split_dir = folder / f"Split-{split}"
        split_dir.mkdir()
        for name, array in zip(_ARRAYS, dataset.get_arrays(split), strict=True):
            np.save(split_dir / f"{name}.npy", array)
    info = dataset.info
    description = {
        "name": info.name,
        "image_shape": info.image_shape,
        "class_names": info.class_names,
        "splits": list(info.sizes),
        "origin": info.origin,
    }
    text = json.dumps(description, indent=1)
    (folder / "description.json").write_text(text, encoding="utf-8")


def share_images(folder: pathlib.Path) -> None:
    """Links the images to the copy that other folders have, see `qup.core.shared_files`.

    Args:
      folder: A folder that `write` wrote; its images are not changed any more.
    """
    for path in sorted(folder.glob("Split-*/images.npy")):
        shared_files.share_file(path)


def read(folder: pathlib.Path) -> Dataset:
    """Returns the dataset that `write` wrote.

    Raises:
      InputError: A file is missing or damaged.
    """
    try:
        description = json.loads((folder / "description.json").read_text(encoding="utf-8"))
        splits = {
            split: build_split(
                *(
                    np.load(folder / f"Split-{split}" / f"{name}.npy", mmap_mode="r")
                    for name in _ARRAYS
                )
            )
            for split in description["splits"]
        }
    except (OSError, ValueError) as error:
        raise InputError(
            f"The examples in {folder} cannot be read: {error}. Remove the folder and run the same "
            "command again: it writes them again."
        ) from error
    return Dataset(
        description["name"],
        Source(
            image_shape=tuple(description["image_shape"]),
            class_names=tuple(description["class_names"]),
            origin=description["origin"],
            splits=splits,
        ),
    )
