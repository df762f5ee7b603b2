"""What Fig. 3 lacks, in words.

```python
missing(rows, published.read())  # "Keras lacks AlexNet, ... Not run: ..."
```
"""

from collections.abc import Mapping, Sequence

from qup.imagenet import networks
from qup.imagenet.published import DISTORTIONS, PublishedValues
from qup.measurements import Row


def describe_missing_models(rows: Sequence[Row], published: Mapping[str, PublishedValues]) -> str:
    """Returns sentences on models that are absent, and why.

    Args:
      rows: Ours.
      published: By model.
    """
    measured_models = {
        row.model for row in rows if row.parameters.get("weights") not in (None, "random")
    }
    unmeasured_models = [n for n in networks.list_names(available=True) if n not in measured_models]
    text = f"Not in keras.applications: {', '.join(networks.list_missing())}. "
    if len(unmeasured_models) == len(networks.list_names(available=True)):
        text += "Ours with ImageNet weights: none run. "
    elif unmeasured_models:
        text += f"Not run with ImageNet weights: {', '.join(unmeasured_models)}. "
    num_complete = sum(
        all(getattr(values, name) is not None for name in DISTORTIONS)
        for values in published.values()
    )
    text += (
        f"Published distortions (Su et al. 2018): {num_complete} of {len(networks.MODELS)} models"
    )
    if num_complete < len(networks.MODELS):
        text += "; the others stand in pictures alone"
    return text + ". Their weights were others than Keras's."
