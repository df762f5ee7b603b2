"""RA of networks beside a number of each, and how their ranks go together.

```python
of = correlated(networks, Look.WORST, "sigma_p", "margin_ratio")
of.value, of.p_value  # of sigma_p, the margin ratio held fixed
```
"""

import math
from collections.abc import Sequence

from qup import errors
from qup.rank_correlations import Correlation, correlate
from qup.report.candidates import Candidates
from qup.report.estimates import Estimate
from qup.report.selection import Look


def value_of(network: Candidates, name: str) -> Estimate | None:
    """Returns a number of a network, TA among them; None of none."""
    if name == "test_accuracy":
        return network.clean
    return network.values.get(name)


def known(network: Candidates, name: str) -> bool:
    """Says whether a network has a finite number of that name."""
    value = value_of(network, name)
    return value is not None and math.isfinite(value.value)


def correlated(
    networks: Sequence[Candidates], look: Look, name: str, *given: str
) -> Correlation | None:
    """Correlates a number with RA over networks, by ranks.

    Args:
      networks: The networks, each with RA under `look`.
      look: The attack.
      name: Of the number.
      *given: Names of what is held fixed.

    Returns:
      The correlation; None of too few networks, or of too few that differ.
    """
    names = (name, *given)
    lines = [_shared(of, look, names) for of in networks]
    columns = list(zip(*filter(None, lines), strict=True))
    if not columns:
        return None
    try:
        return correlate(
            columns[1], columns[0],
            given=dict(zip(given, columns[2:], strict=True)),
        )  # fmt: skip
    except errors.InputError:
        return None


def _shared(
    network: Candidates, look: Look, names: tuple[str, ...]
) -> list[float] | None:
    """Returns RA and the numbers, means over the seeds that have them all."""
    if not all(known(network, name) for name in names):
        return None
    held = [
        {row.seed: row.value for row in of.rows}
        for of in (network.robust[look], *(value_of(network, n) for n in names))
    ]
    seeds = set.intersection(*map(set, held))
    if not seeds:
        return None
    return [sum(of[seed] for seed in seeds) / len(seeds) for of in held]
