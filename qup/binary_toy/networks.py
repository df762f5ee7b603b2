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
from qup.subjects import ModelInfo

AVERAGED_OVER = "labels and axes"
# Budgets of the attack. The arcs come as near as 0.13 in L-inf: without noise
# a network could withstand the first at every point, but not the second.
EPSILONS = (0.05, 0.1)
# The control: the least trained network with its logits times 10.
TEMPERATURE = 0.1


def measure_networks(
    networks: Mapping[int, keras.Model],
    model_info: ModelInfo,
    *,
    count: int,
    grids: toy_rows.Grids,
    epsilons: Sequence[float] = EPSILONS,
    temperature: float = TEMPERATURE,
) -> list[Row]:
    """Returns every row of one seed.

    Args:
      networks: By the epochs that they were trained for, growing.
      model_info: What their rows have in common; its epochs are of no effect.
      count: Points held out.
      grids: How finely.
      epsilons: Budgets of the attack.
      temperature: Of the control: the least trained network's logits are
        divided by it.
    """
    rows = []
    for epochs, network in networks.items():
        network_info = dataclasses.replace(model_info, epochs=epochs)
        rows += toy_rows.measure_accuracies(network, network_info, count, epsilons)
        rows += toy_rows.measure_packets(network, network_info, grids)
    fewest = min(networks)
    network_info = dataclasses.replace(model_info, epochs=fewest)
    return rows + toy_rows.measure_packets(networks[fewest], network_info, grids, temperature)


def average_rows(rows: Iterable[Row]) -> list[Row]:
    """Returns a row for each packet and measure: its mean over all rows.

    They tell "over":"labels and axes" instead of a label and an axis.
    """
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        if "label" in row.parameters:
            parameters = {**row.parameters, "over": AVERAGED_OVER}
            for name in ("label", "axis"):
                parameters.pop(name, None)
            mean = dataclasses.replace(row, parameters=parameters, stderr=None)
            groups.setdefault(mean.key(), []).append(mean)
    return [
        dataclasses.replace(group[0], value=float(np.mean([row.value for row in group])))
        for group in groups.values()
    ]
