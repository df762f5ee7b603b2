"""The relation by Markov chains, in any dimension.

```python
found = relation(packet, GaussianWindow(centre, 0.3), num_chains=32)
found.diagnostics["r_hat"]  # below 1.01, or the chains disagree
found.by_axis["r_hat"]  # float64 [axes]
```
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from qup import errors
from qup.measures.uncertainty import axes as lines
from qup.measures.uncertainty import mixing, sums
from qup.measures.uncertainty.axes import Axes
from qup.measures.uncertainty.chains import Chains, Stretch
from qup.measures.uncertainty.domains import Domain
from qup.measures.uncertainty.importance import LEAST_SAMPLES
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
    least: float = LEAST_SAMPLES,
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
      least: Effective samples, the median of the axes', below which the
        result is refused; an axis that is surely below it has no values.
      tick: Called with the number of states after every stretch.

    Returns:
      The relation. Diagnostics: "r_hat" (the largest along an axis),
      "acceptance", "step_size", "leapfrog_steps" (their mean), "burn_in" and
      "least_effective_sample_size" (along an axis).

    Raises:
      TooFewError: Too few effective samples.
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
    found = _summary(axes, domain, groups.sums(), walked, least)
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
    axes: Axes, domain: Domain, told: sums.Sums, walked: Sequence[Stretch],
    least: float,
) -> Relation:  # fmt: skip
    """Returns the relation, the burn-in not yet counted."""
    count, (chains, size) = len(walked), walked[0].points.shape
    reference = axes.of_point(domain.reference(size))
    estimates = estimated(told, domain.vanishes, reference)
    sizes, ratios = mixing.effective(estimates), mixing.r_hat(told)
    mixing.check(sizes, ratios.max(), count * STRETCH, chains, least)
    leaps = sum(stretch.leaps for stretch in walked)
    return Relation(
        axes=axes,
        estimates=mixing.known(estimates, sizes, 2 * chains - 1, least),
        estimator="mcmc", domain=domain.name,
        vanishes=domain.vanishes, n=count * STRETCH * chains,
        gradient_calls=chains * (STRETCH * leaps + count),
        effective_sample_size=float(np.median(sizes)), groups=told,
        kept=_kept(walked),
        by_axis={"r_hat": ratios, "effective_sample_size": sizes},
        traces={"log_density": np.stack([part.heights for part in walked])},
        diagnostics={
            "r_hat": float(ratios.max()),
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
