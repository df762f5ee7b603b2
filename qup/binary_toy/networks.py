"""All rows of one seed's networks, and their means.

```python
networks = binary_toy.train(0, (1, 50))
rows = of_networks(networks, rows.subject(0, 0), count=2000, grids=Grids())
rows += means(rows)
```
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np

from qup.binary_toy import rows as toy_rows
from qup.measurements import Row
from qup.subjects import Subject

OVER = "labels and axes"
# Budgets of the attack. The arcs come as near as 0.13 in L-inf: without noise
# a network could withstand the first at every point, but not the second.
EPSILONS = (0.05, 0.1)
# The control: the least trained network with its logits times 10.
TEMPERATURE = 0.1


def of_networks(
    networks: Mapping[int, keras.Model],
    of: Subject,
    *,
    count: int,
    grids: toy_rows.Grids,
    epsilons: Sequence[float] = EPSILONS,
    temperature: float = TEMPERATURE,
) -> list[Row]:
    """Returns every row of one seed.

    Args:
      networks: By the epochs that they were trained for, growing.
      of: What their rows have in common; its epochs are of no effect.
      count: Points held out.
      grids: How finely.
      epsilons: Budgets of the attack.
      temperature: Of the control: the least trained network's logits are
        divided by it.
    """
    rows = []
    for epochs, network in networks.items():
        own = dataclasses.replace(of, epochs=epochs)
        rows += toy_rows.of_accuracies(network, own, count, epsilons)
        rows += toy_rows.of_packets(network, own, grids)
    few = min(networks)
    own = dataclasses.replace(of, epochs=few)
    return rows + toy_rows.of_packets(networks[few], own, grids, temperature)


def means(rows: Iterable[Row]) -> list[Row]:
    """Returns a row for each packet and measure: its mean over all rows.

    They tell "over":"labels and axes" instead of a label and an axis.
    """
    held: dict[tuple, list[Row]] = {}
    for row in rows:
        if "label" in row.parameters:
            told = {**row.parameters, "over": OVER}
            for name in ("label", "axis"):
                told.pop(name, None)
            mean = dataclasses.replace(row, parameters=told, stderr=None)
            held.setdefault(mean.key(), []).append(mean)
    return [
        dataclasses.replace(
            group[0], value=float(np.mean([row.value for row in group]))
        )
        for group in held.values()
    ]
