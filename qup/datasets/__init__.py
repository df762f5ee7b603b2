"""Labelled images, ready to train on and to attack: one file each.

```python
data = datasets.load("mnist", validation_size=5000)
for batch in data.training_batches(128, seed=0, epoch=0): ...
for batch in data.evaluation_batches("test", 100): ...
```

A dataset's file registers one function that returns a `Source`; its keyword
arguments are those of `load` that it has a use for.
"""

import inspect
import os

from qup.core.errors import InputError
from qup.core.registry import Registry
from qup.datasets.dataset import Dataset, Source, Split

__all__ = ["Dataset", "Source", "Split", "get", "load", "names", "register"]

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
    train_size: int | None = None,
    test_size: int | None = None,
    validation_size: int = 0,
    seed: int = 0,
) -> Dataset:
    """Loads a dataset; images are decoded when first read.

    Args:
      name: A registered dataset.
      data_dir: The class folders of `image_folder`, or a directory of
        tensorflow-datasets (default: TFDS_DATA_DIR in the environment, else
        ~/tensorflow_datasets). Others ignore it and the next two.
      manual_dir: Original files, fetched by hand, to prepare the data from.
      scratch_dir: Where to prepare it when `data_dir` cannot be written.
      image_size: (height, width) in pixels, for datasets that resize.
      train_size: Use only the first that many training images.
      test_size: Use only the first that many test images.
      validation_size: Hold out that many of the training images (after
        `train_size`) as the split "validation".
      seed: Chooses validation images, and what `synthetic` draws.

    Returns:
      The dataset, with the splits "train", "test" and, unless
      `validation_size` is 0, "validation".

    Raises:
      InputError: Unknown name, a size out of its range, or data that is
        missing, broken or not to be had; the message says what to do.
    """
    function = get(name)
    parameters = inspect.signature(function).parameters
    if image_size is not None and "image_size" not in parameters:
        raise InputError(
            f"The images of {name} have one size; image_size="
            f"{tuple(image_size)} cannot be used. Leave it out."
        )
    if seed < 0:
        raise InputError(f"seed must be at least 0; got {seed}.")
    arguments = {
        "data_dir": data_dir,
        "manual_dir": manual_dir,
        "scratch_dir": scratch_dir,
        "image_size": image_size,
        "seed": seed,
    }
    return Dataset(
        name,
        function(**{k: v for k, v in arguments.items() if k in parameters}),
        train_size=train_size,
        test_size=test_size,
        validation_size=validation_size,
        seed=seed,
    )
