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
from qup.measures.uncertainty.relation import MEASURES, Relation, compute_measures
from qup.measures.uncertainty.sums import Estimate, Sums


def compute_differences(first: Relation, second: Relation) -> dict[str, Estimate]:
    """Returns other less one along every axis, of each name of `MEASURES`.

    Args:
      first: By importance sampling.
      second: By importance sampling with the same seed, numbers of samples
        and groups, in the same domain along the same axes.

    Raises:
      InputError: They are not of the same samples.
    """
    _check_same_samples(first, second)
    leave_one_out = [
        _leave_one_out(relation, lambda values: values) for relation in (first, second)
    ]
    return {
        name: jackknife_difference(leave_one_out[0][name], leave_one_out[1][name])
        for name in MEASURES
    }


def leave_one_out_means(relation: Relation) -> dict[str, np.ndarray]:
    """Returns means over the pixels, or over directions without any.

    Returns:
      Of each name of `MEASURES` [1 + groups]: of all groups, and without
      each of them; nothing where there are no groups.
    """
    if len(relation.groups["weight"]) < 2:
        return {}
    count = len(relation.axes.pixels) or len(relation.axes)
    return _leave_one_out(relation, lambda values: values[..., :count].mean(-1))


def jackknife_difference(first: np.ndarray, second: np.ndarray, num_averaged: int = 1) -> Estimate:
    """Returns other less one.

    Args:
      first: A value of all groups, and without each: [1 + groups, ...].
      second: The same of the same samples.
      num_averaged: See `sums.jackknife`.
    """
    differences = second - first
    return sums.jackknife_estimate(differences[0], differences[1:], num_averaged)


def _leave_one_out(
    relation: Relation, reduce_axes: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    def reduce_measures(groups: Sums) -> Mapping[str, np.ndarray]:
        values = compute_measures(groups, relation.vanishes)
        return {name: reduce_axes(values[name]) for name in MEASURES}

    totals, without = sums.leave_one_out(relation.groups, reduce_measures)
    return {name: np.concatenate([value[None], without[name]]) for name, value in totals.items()}


def _check_same_samples(first: Relation, second: Relation) -> None:
    relations = (first, second)
    is_comparable = (
        {relation.estimator for relation in relations} == {"importance"}
        and first.domain == second.domain
        and first.axes.names == second.axes.names
        and len(first.groups["weight"]) == len(second.groups["weight"])
        and np.array_equal(first.retained_samples.points, second.retained_samples.points)
    )
    if not is_comparable:
        descriptions = [f"{relation.estimator} of {relation.n} points" for relation in relations]
        raise errors.InputError(
            "Only two relations by importance sampling on the same points can "
            f"be paired; got {descriptions[0]} and {descriptions[1]}, or other points. Give "
            "both the same domain, axes, seed, num_samples and num_groups."
        )
