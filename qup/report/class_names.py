"""Names of classes where a prepared dataset tells only their numbers.

CIFAR-10's names lie in a file of their own, which a copy of the images may
lack.

```python
named("cifar10", ("0", "1", "2"))
```
"""

from collections.abc import Sequence

# Krizhevsky 2009, batches.meta.txt, in the order of the labels.
_KNOWN_CLASS_NAMES = {
    "cifar10": (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
}


def resolve_class_names(dataset: str, names: Sequence[str]) -> tuple[str, ...]:
    """Returns the names, the known ones for mere numbers.

    Args:
      dataset: Whose classes they are.
      names: As the prepared dataset has them, by label.
    """
    stored_names = tuple(str(name) for name in names)
    known_names = _KNOWN_CLASS_NAMES.get(dataset, ())
    label_texts = tuple(str(label) for label in range(len(known_names)))
    return known_names if stored_names == label_texts else stored_names
