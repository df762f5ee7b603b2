"""ImageNet's 1,000 classes: the WordNet number of each, in Keras's order.

The numbers are sorted, and a class's place among them is its index.

```python
index("n01440764")  # 0, the tench
index("999")
```
"""

import functools
import importlib.util
import pathlib
import re

from qup.errors import InputError
from qup.imagenet.networks import NUM_CLASSES


@functools.cache
def load_wordnet_numbers() -> tuple[str, ...]:
    """Returns the numbers ("n01440764", ...) from tensorflow-datasets."""
    # Only its file is of interest, so nothing of it is imported.
    package = importlib.util.find_spec("tensorflow_datasets").origin
    path = pathlib.Path(package).parent / "datasets/imagenet2012/labels.txt"
    return tuple(path.read_text("utf-8").split())


def get_class_index(name: str) -> int:
    """Returns the class that a folder's name means.

    Args:
      name: An index, "0" to "999", or a WordNet number.

    Raises:
      InputError: It is neither.
    """
    if re.fullmatch("[0-9]+", name) and int(name) < NUM_CLASSES:
        return int(name)
    try:
        return load_wordnet_numbers().index(name)
    except ValueError:
        raise InputError(
            f"{name!r} is no ImageNet class: name each folder by the class's "
            "index, 0 to 999, or by its WordNet number, such as n01440764."
        ) from None
