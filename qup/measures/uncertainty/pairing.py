"""Two networks on the same samples: what they differ in, with its error.

Importance sampling draws the same points for every network, by one seed.
What chance gives to both is no difference: left out of both at a time, a
group of points tells the error of the difference itself.

```python
one, other = (importance.relation(p, window, seed=0) for p in packets)
differences(one, other)["uncertainty_product"]  # an Estimate [axes]
```
"""

from collections.abc import Callable, Mapping

import numpy as np

from qup import errors
from qup.measures.uncertainty import sums
from qup.measures.uncertainty.relation import MEASURES, Relation, statistics
from qup.measures.uncertainty.sums import Estimate, Sums


def differences(one: Relation, other: Relation) -> dict[str, Estimate]:
    """Returns other less one along every axis, of each name of `MEASURES`.

    Args:
      one: By importance sampling.
      other: By importance sampling with the same seed, numbers of samples
        and groups, in the same domain along the same axes.

    Raises:
      InputError: They are not of the same samples.
    """
    _check(one, other)
    told = [_left_out(found, lambda values: values) for found in (one, other)]
    return {name: difference(told[0][name], told[1][name]) for name in MEASURES}


def means(found: Relation) -> dict[str, np.ndarray]:
    """Returns means over the pixels, or over directions without any.

    Returns:
      Of each name of `MEASURES` [1 + groups]: of all groups, and without
      each of them; nothing where there are no groups.
    """
    if len(found.groups["weight"]) < 2:
        return {}
    count = len(found.axes.pixels) or len(found.axes)
    return _left_out(found, lambda values: values[..., :count].mean(-1))


def difference(
    one: np.ndarray, other: np.ndarray, averaged: int = 1
) -> Estimate:
    """Returns other less one.

    Args:
      one: A value of all groups, and without each: [1 + groups, ...].
      other: The same of the same samples.
      averaged: See `sums.jackknife`.
    """
    apart = other - one
    return sums.of_left_out(apart[0], apart[1:], averaged)


def _left_out(
    found: Relation, reduced: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    def told(groups: Sums) -> Mapping[str, np.ndarray]:
        values = statistics(groups, found.vanishes)
        return {name: reduced(values[name]) for name in MEASURES}

    every, without = sums.left_out(found.groups, told)
    return {
        name: np.concatenate([value[None], without[name]])
        for name, value in every.items()
    }


def _check(one: Relation, other: Relation) -> None:
    both = (one, other)
    alike = (
        {found.estimator for found in both} == {"importance"}
        and one.domain == other.domain
        and one.axes.names == other.axes.names
        and len(one.groups["weight"]) == len(other.groups["weight"])
        and np.array_equal(one.kept.points, other.kept.points)
    )
    if not alike:
        told = [f"{found.estimator} of {found.n} points" for found in both]
        raise errors.InputError(
            "Only two relations by importance sampling on the same points can "
            f"be paired; got {told[0]} and {told[1]}, or other points. Give "
            "both the same domain, axes, seed, num_samples and num_groups."
        )
