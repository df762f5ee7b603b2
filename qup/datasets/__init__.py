"""Labelled images for training and attacks, one registered function per dataset.

```python
data = datasets.load("mnist", validation_size=5000)
for batch in data.training_batches(128, seed=0, epoch=0): ...
for batch in data.evaluation_batches("test", 100): ...
```

Data of your own: `load("image_folder", data_dir=...)`, `load("arrays", images=...)`, `from_arrays`,
`from_tf_data`.

A dataset's function returns a `Source`. Its keyword arguments are a subset of those of `load`.
"""

import inspect
import os
from collections.abc import Sequence

from qup.core import errors
from qup.core.errors import InputError
from qup.core.registry import Registry
from qup.datasets.arrays import from_arrays
from qup.datasets.dataset import Dataset, Source, Split, check_seed
from qup.datasets.tf_data import from_tf_data

__all__ = [
    "Dataset",
    "Source",
    "Split",
    "from_arrays",
    "from_tf_data",
    "get",
    "load",
    "names",
    "register",
]

_registry = Registry("qup.datasets", "dataset")
register = _registry.register
names = _registry.names
get = _registry.get


def load(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    scratch_dir: str | os.PathLike | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    bit_depth: int | None = None,
    images: str | os.PathLike | None = None,
    labels: str | os.PathLike | None = None,
    value_range: Sequence[float] | None = None,
    train_size: int | None = None,
    test_size: int | None = None,
    validation_size: int = 0,
    seed: int = 0,
) -> Dataset:
    """Loads a dataset; images are decoded at the first use.

    Args:
      name: A registered dataset.
      data_dir: The class folders of `image_folder`, or a directory of tensorflow-datasets (default:
        TFDS_DATA_DIR in the environment, else ~/tensorflow_datasets). Other datasets ignore it and
        the next two.
      manual_dir: Original files that the user downloaded, to prepare the dataset from.
      scratch_dir: Where to prepare it when `data_dir` is not writable.
      image_size: (height, width) in pixels, for datasets that resize.
      channels: 1 or 3, for `image_folder` and `synthetic`.
      bit_depth: Of files with 16 bits per channel, for `image_folder`.
      images: A file of NumPy, for `arrays`.
      labels: A file of NumPy, for `arrays`.
      value_range: (black, white) of the images of `arrays`.
      train_size: Use only the first `train_size` training images.
      test_size: Use only the first `test_size` test images.
      validation_size: Hold out that many of the training images (after `train_size`) as the split
        "validation".
      seed: Selects the validation images; seed of `synthetic`.

    Returns:
      The dataset, with the splits "test", "train" unless the user's data has none, and, unless
      `validation_size` is 0, "validation".

    Raises:
      InputError: Unknown name, a size out of its range, or data that is missing, damaged or
        unavailable; the message says what to do.
    """
    function = get(name)
    options = {
        "image_size": image_size,
        "channels": channels,
        "bit_depth": bit_depth,
        "images": images,
        "labels": labels,
        "value_range": value_range,
    }
    options = {key: value for key, value in options.items() if value is not None}
    parameters = inspect.signature(function).parameters
    for key, value in options.items():
        if key not in parameters:
            raise _make_option_error(name, key, value)
    check_seed(seed)
    locations = {
        "data_dir": data_dir,
        "manual_dir": manual_dir,
        "scratch_dir": scratch_dir,
        "seed": seed,
    }
    return Dataset(
        name,
        function(**{k: v for k, v in locations.items() if k in parameters}, **options),
        train_size=train_size,
        test_size=test_size,
        validation_size=validation_size,
        seed=seed,
    )


def _make_option_error(name: str, key: str, value: object) -> InputError:
    """Returns the error for an option that a dataset does not have."""
    text = errors.shorten(value)
    if key == "image_size":
        return InputError(
            f"The images of {name} have a fixed size; received image_size={text}. Omit it."
        )
    return InputError(
        f"The dataset {name} has no option {key}; received {text}. Choose another dataset "
        f"(--dataset=NAME), or omit {key}."
    )
