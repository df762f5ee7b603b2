"""RA of networks beside a number of each, and how their ranks go together.

```python
of = correlated(networks, Look.WORST, "sigma_p", "margin_ratio")
of.value, of.p_value  # of sigma_p, the margin ratio held fixed
```
"""

import math
from collections.abc import Sequence

from qup import errors
from qup.rank_correlations import RankCorrelation, correlate_ranks
from qup.report.candidates import NetworkScores
from qup.report.estimates import IntervalEstimate
from qup.report.selection import AccuracyKind


def get_score(network: NetworkScores, name: str) -> IntervalEstimate | None:
    """Returns a number of a network, TA among them; None of none."""
    if name == "test_accuracy":
        return network.clean
    return network.values.get(name)


def has_finite_score(network: NetworkScores, name: str) -> bool:
    """Says whether a network has a finite number of that name."""
    value = get_score(network, name)
    return value is not None and math.isfinite(value.value)


def correlate_with_robustness(
    networks: Sequence[NetworkScores], kind: AccuracyKind, name: str, *covariates: str
) -> RankCorrelation | None:
    """Correlates a number with RA over networks, by ranks.

    Args:
      networks: The networks, each with RA under `kind`.
      kind: The attack.
      name: Of the number.
      *covariates: Names of what is held fixed.

    Returns:
      The correlation; None of too few networks, or of too few that differ.
    """
    names = (name, *covariates)
    averages = [_average_shared_seeds(network, kind, names) for network in networks]
    columns = list(zip(*filter(None, averages), strict=True))
    if not columns:
        return None
    try:
        return correlate_ranks(
            columns[1], columns[0], covariates=dict(zip(covariates, columns[2:], strict=True))
        )
    except errors.InputError:
        return None


def _average_shared_seeds(
    network: NetworkScores, kind: AccuracyKind, names: tuple[str, ...]
) -> list[float] | None:
    """Returns RA and the numbers, means over the seeds that have them all."""
    if not all(has_finite_score(network, name) for name in names):
        return None
    values_by_seed = [
        {row.seed: row.value for row in estimate.rows}
        for estimate in (network.robust[kind], *(get_score(network, n) for n in names))
    ]
    seeds = set.intersection(*map(set, values_by_seed))
    if not seeds:
        return None
    return [sum(values[seed] for seed in seeds) / len(seeds) for values in values_by_seed]
