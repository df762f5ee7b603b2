"""What Fig. 3 lacks, in words.

```python
missing(rows, published.read())  # "Keras lacks AlexNet, ... Not run: ..."
```
"""

from collections.abc import Mapping, Sequence

from qup.imagenet import networks
from qup.imagenet.published import DISTORTIONS, Published
from qup.measurements import Row


def missing(rows: Sequence[Row], published: Mapping[str, Published]) -> str:
    """Returns sentences on models that are absent, and why.

    Args:
      rows: Ours.
      published: By model.
    """
    run = {
        row.model
        for row in rows
        if row.parameters.get("weights") not in (None, "random")
    }
    left = [n for n in networks.names(available=True) if n not in run]
    words = f"Not in keras.applications: {', '.join(networks.missing())}. "
    if len(left) == len(networks.names(available=True)):
        words += "Ours with ImageNet weights: none run. "
    elif left:
        words += f"Not run with ImageNet weights: {', '.join(left)}. "
    known = sum(
        all(getattr(of, name) is not None for name in DISTORTIONS)
        for of in published.values()
    )
    words += (
        f"Published distortions (Su et al. 2018): {known} of "
        f"{len(networks.NETWORKS)} models"
    )
    if known < len(networks.NETWORKS):
        words += "; the others stand in pictures alone"
    return words + ". Their weights were others than Keras's."
