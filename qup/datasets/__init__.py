"""Labelled images for training and attacks, one registered function per dataset.

```python
data = datasets.load("mnist", validation_size=5000)
for batch in data.training_batches(128, seed=0, epoch=0): ...
for batch in data.evaluation_batches("test", 100): ...
```

A dataset's function returns a `Source`. Its keyword arguments are a subset of those of `load`.
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
    """Loads a dataset; images are decoded at the first use.

    Args:
      name: A registered dataset.
      data_dir: The class folders of `image_folder`, or a directory of tensorflow-datasets (default:
        TFDS_DATA_DIR in the environment, else ~/tensorflow_datasets). Other datasets ignore it and
        the next two.
      manual_dir: Original files that the user downloaded, to prepare the dataset from.
      scratch_dir: Where to prepare it when `data_dir` is not writable.
      image_size: (height, width) in pixels, for datasets that resize.
      train_size: Use only the first `train_size` training images.
      test_size: Use only the first `test_size` test images.
      validation_size: Hold out that many of the training images (after `train_size`) as the split
        "validation".
      seed: Selects the validation images; seed of `synthetic`.

    Returns:
      The dataset, with the splits "train", "test" and, unless `validation_size` is 0, "validation".

    Raises:
      InputError: Unknown name, a size out of its range, or data that is missing, damaged or
        unavailable; the message says what to do.
    """
    function = get(name)
    parameters = inspect.signature(function).parameters
    if image_size is not None and "image_size" not in parameters:
        raise InputError(
            f"The images of {name} have a fixed size; got image_size={tuple(image_size)}. Omit "
            "image_size."
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
