"""A dataset's chosen images as plain files: what later steps read.

`description.json`, and of each split a folder `Split-<name>` with
`images.npy` (uint8 [size, height, width, channels]), `labels.npy` (int32
[size]) and `ids.npy` (int64 [size]).

```python
examples.write(data, folder)
data = examples.read(folder)  # the same batches
```
"""

import json
import pathlib
from typing import Any

import numpy as np

from qup.core.errors import InputError
from qup.datasets import dataset as datasets_dataset
from qup.datasets.dataset import Dataset

_ARRAYS = ("images", "labels", "ids")


def write(dataset: Dataset, folder: pathlib.Path) -> None:
    """Writes every split of a dataset into a folder that exists.

    Raises:
      InputError: The images cannot be read.
      OSError: The folder cannot be written.
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


def _read_description(folder: pathlib.Path) -> dict[str, Any]:
    """Returns name, image_shape, class_names, splits and origin.

    Raises:
      InputError: The folder holds no examples.
    """
    try:
        text = (folder / "description.json").read_text(encoding="utf-8")
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise _build_read_error(folder, error) from error


def read(folder: pathlib.Path) -> Dataset:
    """Returns the dataset that `write` wrote.

    Raises:
      InputError: A file is missing or damaged.
    """
    description = _read_description(folder)
    try:
        splits = {
            split: datasets_dataset.build_split(
                *(
                    np.load(folder / f"Split-{split}" / f"{name}.npy", mmap_mode="r")
                    for name in _ARRAYS
                )
            )
            for split in description["splits"]
        }
    except (OSError, ValueError) as error:
        raise _build_read_error(folder, error) from error
    return Dataset(
        description["name"],
        datasets_dataset.Source(
            image_shape=tuple(description["image_shape"]),
            class_names=tuple(description["class_names"]),
            origin=description["origin"],
            splits=splits,
        ),
    )


def _build_read_error(folder: pathlib.Path, error: Exception) -> InputError:
    return InputError(
        f"The examples in {folder} cannot be read: {error}. Remove the "
        "folder, and the next start writes them again."
    )
