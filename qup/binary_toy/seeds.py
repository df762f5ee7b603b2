"""Rows of the binary toy over seeds: selections, means, differences.

```python
away = difference(by_seed(rows, "sigma_x", 1), by_seed(rows, "sigma_x", 50))
```
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from qup.measurements import Row

# Seed to every value of a measure: labels, coordinates.
SeedValues: TypeAlias = Mapping[int, np.ndarray]


def select_by_seed(
    rows: Iterable[Row], measure: str, epochs: int, epsilon: float | None = None, **parameters: Any
) -> SeedValues:
    """Returns the values of a measure by seed.

    Args:
      rows: Of any number of networks.
      measure: Name.
      epochs: Of the network.
      epsilon: Of the attack.
      **parameters: Parameters that the rows must have.
    """
    values_by_seed: dict[int, list[float]] = {}
    for row in rows:
        identity = (row.measure, row.epochs, row.epsilon)
        if identity == (measure, epochs, epsilon) and all(
            row.parameters.get(key) == value for key, value in parameters.items()
        ):
            values_by_seed.setdefault(row.seed, []).append(row.value)
    return {seed: np.array(values) for seed, values in values_by_seed.items()}


def compute_differences(one: SeedValues, other: SeedValues) -> SeedValues:
    """Returns other less one, value by value."""
    return {seed: other[seed] - one[seed] for seed in one}


def compute_seed_mean(values: SeedValues) -> tuple[float, float]:
    """Returns the mean over seeds of each seed's own mean, and its error.

    The error is the standard error over seeds; NaN of one seed.
    """
    seed_means = np.array([seed_values.mean() for seed_values in values.values()])
    if len(seed_means) < 2:
        return float(seed_means.mean()), float("nan")
    return float(seed_means.mean()), float(seed_means.std(ddof=1) / np.sqrt(len(seed_means)))


def index_values(rows: Iterable[Row], measure: str) -> dict[tuple, float]:
    """Returns the values of a measure by everything but its name."""
    return {
        (row.seed, row.epochs, *sorted(row.parameters.items())): row.value
        for row in rows
        if row.measure == measure
    }


def list_networks(rows: Iterable[Row]) -> list[tuple[int, float]]:
    """Returns (epochs, temperature) of every network, plain ones first."""
    network_keys = {
        (row.parameters["temperature"] != 1, row.epochs, row.parameters["temperature"])
        for row in rows
        if "temperature" in row.parameters
    }
    return [(epochs, temperature) for _, epochs, temperature in sorted(network_keys)]


def format_network_name(epochs: int, temperature: float = 1.0) -> str:
    """Returns a network's name."""
    label = f"{epochs} epoch{'s' if epochs != 1 else ''}"
    return label if temperature == 1 else f"{label}, T = {temperature:g}"
