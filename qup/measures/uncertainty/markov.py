"""The relation by Markov chains, in any dimension.

```python
found = relation(packet, GaussianWindow(centre, 0.3), num_chains=32)
found.diagnostics["r_hat"]  # below 1.01, or the chains disagree
```

Split R-hat: Gelman et al. 2013, Bayesian Data Analysis, section 11.4.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from qup import errors
from qup.measures.uncertainty import axes as lines
from qup.measures.uncertainty import sums
from qup.measures.uncertainty.axes import Axes
from qup.measures.uncertainty.chains import Chains, Stretch
from qup.measures.uncertainty.domains import Domain
from qup.measures.uncertainty.kernels import FIRST_LEAPS, STRETCH
from qup.measures.uncertainty.packets import Packet
from qup.measures.uncertainty.relation import Kept, Relation, estimated

# States kept for the faces.
_KEPT = 320


def relation(
    packet: Packet,
    domain: Domain,
    *,
    axes: Axes | None = None,
    num_chains: int = 32,
    num_steps: int = 1000,
    num_burn_in: int = 200,
    seed: int = 0,
    tick: Callable[[int], None] | None = None,
) -> Relation:
    """Walks `num_chains` chains and counts every state once.

    Args:
      packet: Of any number of coordinates.
      domain: Where it lives.
      axes: None for every coordinate.
      num_chains: 4 or more; each gives two groups to the jackknife.
      num_steps: Of each chain, after the burn-in; rounded up to a multiple
        of 50.
      num_burn_in: Steps in which the step size is adapted, and which do not
        count.
      seed: Drives starts, momenta and acceptances.
      tick: Called with the number of states after every stretch.

    Returns:
      The relation. Diagnostics: "r_hat" (the largest of x and s along an
      axis), "acceptance", "step_size", "leapfrog_steps" (their mean),
      "burn_in" and "least_effective_sample_size".

    Raises:
      InputError: Fewer than 4 chains; a packet that is zero at every start,
        or not finite.
    """
    axes = axes or lines.axes(packet.size)
    errors.check_number("num_chains", num_chains, least=4)
    errors.check_number("num_steps", num_steps, least=1)
    errors.check_number("num_burn_in", num_burn_in, least=1)
    chains = Chains(packet, domain, axes, num_chains, seed)
    chains.burn_in(num_burn_in)
    count = 2 * math.ceil(num_steps / (2 * STRETCH))
    groups, walked = sums.Groups(2 * num_chains), []
    for number in range(count):
        walked.append(chains.stretch(number))
        first = num_chains * (2 * number // count)
        _add(groups, first, walked[-1])
        if tick is not None:
            tick(STRETCH * num_chains)
    found = _summary(axes, domain, groups.sums(), walked)
    burnt = num_burn_in * num_chains * FIRST_LEAPS
    return dataclasses.replace(
        found,
        gradient_calls=found.gradient_calls + burnt,
        diagnostics={
            **found.diagnostics,
            "step_size": chains.step_size,
            "burn_in": num_burn_in,
        },
    )


def _summary(
    axes: Axes, domain: Domain, told: sums.Sums, walked: Sequence[Stretch]
) -> Relation:
    """Returns the relation, the burn-in not yet counted."""
    count, (chains, size) = len(walked), walked[0].points.shape
    reference = axes.of_point(domain.reference(size))
    estimates = estimated(told, domain.vanishes, reference)
    sizes = _effective(estimates)
    leaps = sum(stretch.leaps for stretch in walked)
    return Relation(
        axes=axes, estimates=estimates, estimator="mcmc", domain=domain.name,
        vanishes=domain.vanishes, n=count * STRETCH * chains,
        gradient_calls=chains * (STRETCH * leaps + count),
        effective_sample_size=float(np.median(sizes)), groups=told,
        kept=_kept(walked),
        traces={"log_density": np.stack([part.heights for part in walked])},
        diagnostics={
            "r_hat": r_hat(told),
            "acceptance": float(np.mean([part.acceptance for part in walked])),
            "leapfrog_steps": leaps / count,
            "least_effective_sample_size": float(sizes.min()),
        },
    )  # fmt: skip


def _add(groups: sums.Groups, first: int, stretch: Stretch) -> None:
    """Adds each chain's sums to its own group, from `first` on."""
    for name, part in stretch.found.items():
        if not np.isfinite(part).all():
            raise errors.InputError(
                f"The packet or its gradient is not finite on the walk "
                f"({name}). Look at the network's layers and weights."
            )
    for chain in range(len(stretch.heights)):
        parts = {name: part[chain] for name, part in stretch.found.items()}
        groups.add(first + chain, parts)


def _kept(walked: Sequence[Stretch]) -> Kept:
    """Returns evenly spaced ones of the states at the stretches' ends."""
    count, chains = len(walked), len(walked[0].points)
    points = np.concatenate([stretch.points for stretch in walked])
    halves = 2 * np.arange(count) // count
    groups = (chains * halves[:, None] + np.arange(chains)).ravel()
    step = max(1, len(points) // _KEPT)
    # With no divisor in common every chain is met.
    while math.gcd(step, chains) > 1:
        step += 1
    points, groups = points[::step], groups[::step]
    return Kept(points, np.ones(len(points)), groups)


def r_hat(groups: sums.Sums) -> float:
    """Returns the largest split R-hat of x or s along an axis."""
    return max(_r_hat(groups, name) for name in "ys")


def _r_hat(groups: sums.Sums, name: str) -> float:
    """Compares the variance between half chains with that within them."""
    count = groups["weight"][:, None]
    means = groups[name] / count
    squares = groups[2 * name] / count - means**2
    within = (squares * count / np.maximum(count - 1, 1)).mean(0)
    between = means.var(0, ddof=1)
    length = count.mean()
    # Chains that stand still agree only where they stand together.
    ratio = np.where(between > 0, np.inf, 0.0)
    np.divide(between, within, out=ratio, where=within > 0)
    return float(np.sqrt((length - 1) / length + ratio).max())


def _effective(estimates) -> np.ndarray:
    """Returns sigma_x^2 / stderr(mean_x)^2 along every axis."""
    errors_of_mean = np.maximum(estimates["mean_x"].stderr, 1e-300)
    return (estimates["sigma_x"].value / errors_of_mean) ** 2
