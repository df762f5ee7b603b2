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
Values: TypeAlias = Mapping[int, np.ndarray]


def by_seed(
    rows: Iterable[Row],
    measure: str,
    epochs: int,
    epsilon: float | None = None,
    **such: Any,
) -> Values:
    """Returns the values of a measure by seed.

    Args:
      rows: Of any number of networks.
      measure: Name.
      epochs: Of the network.
      epsilon: Of the attack.
      **such: Parameters that the rows must have.
    """
    found: dict[int, list[float]] = {}
    for row in rows:
        named = (row.measure, row.epochs, row.epsilon)
        if named == (measure, epochs, epsilon) and all(
            row.parameters.get(key) == value for key, value in such.items()
        ):
            found.setdefault(row.seed, []).append(row.value)
    return {seed: np.array(values) for seed, values in found.items()}


def difference(one: Values, other: Values) -> Values:
    """Returns other less one, value by value."""
    return {seed: other[seed] - one[seed] for seed in one}


def mean(values: Values) -> tuple[float, float]:
    """Returns the mean over seeds of each seed's own mean, and its error.

    The error is the standard error over seeds; NaN of one seed.
    """
    each = np.array([own.mean() for own in values.values()])
    if len(each) < 2:
        return float(each.mean()), float("nan")
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))


def keyed(rows: Iterable[Row], measure: str) -> dict[tuple, float]:
    """Returns the values of a measure by everything but its name."""
    return {
        (row.seed, row.epochs, *sorted(row.parameters.items())): row.value
        for row in rows
        if row.measure == measure
    }


def networks(rows: Iterable[Row]) -> list[tuple[int, float]]:
    """Returns (epochs, temperature) of every network, plain ones first."""
    found = {
        (row.parameters["temperature"] != 1, row.epochs,
         row.parameters["temperature"])
        for row in rows
        if "temperature" in row.parameters
    }  # fmt: skip
    return [(epochs, temperature) for _, epochs, temperature in sorted(found)]


def name(epochs: int, temperature: float = 1.0) -> str:
    """Returns a network's name."""
    words = f"{epochs} epoch{'s' if epochs != 1 else ''}"
    return words if temperature == 1 else f"{words}, T = {temperature:g}"
