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
from qup.measures.uncertainty import axes as axes_module
from qup.measures.uncertainty import mixing, sums
from qup.measures.uncertainty.axes import Axes
from qup.measures.uncertainty.chains import ChunkResult, HMCChains
from qup.measures.uncertainty.domains import Domain
from qup.measures.uncertainty.importance import MIN_EFFECTIVE_SAMPLES
from qup.measures.uncertainty.kernels import BURN_IN_LEAPFROG_STEPS, CHUNK_STEPS
from qup.measures.uncertainty.packets import Packet
from qup.measures.uncertainty.relation import Relation, SampleSubset, estimate_measures

# States kept for the faces.
_NUM_RETAINED = 320


def relation(
    packet: Packet,
    domain: Domain,
    *,
    axes: Axes | None = None,
    num_chains: int = 32,
    num_steps: int = 1000,
    num_burn_in: int = 200,
    seed: int = 0,
    min_effective_samples: float = MIN_EFFECTIVE_SAMPLES,
    on_progress: Callable[[int], None] | None = None,
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
      min_effective_samples: Effective samples, the median of the axes', below which the
        result is refused; an axis that is surely below it has no values.
      on_progress: Called with the number of states after every stretch.

    Returns:
      The relation. Diagnostics: "r_hat" (the largest along an axis),
      "acceptance", "step_size", "leapfrog_steps" (their mean), "burn_in" and
      "least_effective_sample_size" (along an axis).

    Raises:
      TooFewError: Too few effective samples.
      InputError: Fewer than 4 chains; a packet that is zero at every start,
        or not finite.
    """
    axes = axes or axes_module.build_axes(packet.size)
    errors.check_number("num_chains", num_chains, at_least=4)
    errors.check_number("num_steps", num_steps, at_least=1)
    errors.check_number("num_burn_in", num_burn_in, at_least=1)
    chains = HMCChains(packet, domain, axes, num_chains, seed)
    chains.burn_in(num_burn_in)
    num_chunks = 2 * math.ceil(num_steps / (2 * CHUNK_STEPS))
    groups, chunks = sums.GroupSums(2 * num_chains), []
    for number in range(num_chunks):
        chunks.append(chains.run_chunk(number))
        first_group = num_chains * (2 * number // num_chunks)
        _add_chunk(groups, first_group, chunks[-1])
        if on_progress is not None:
            on_progress(CHUNK_STEPS * num_chains)
    summary = _build_relation(axes, domain, groups.as_arrays(), chunks, min_effective_samples)
    burn_in_gradients = num_burn_in * num_chains * BURN_IN_LEAPFROG_STEPS
    return dataclasses.replace(
        summary,
        gradient_calls=summary.gradient_calls + burn_in_gradients,
        diagnostics={**summary.diagnostics, "step_size": chains.step_size, "burn_in": num_burn_in},
    )


def _build_relation(
    axes: Axes,
    domain: Domain,
    group_sums: sums.Sums,
    chunks: Sequence[ChunkResult],
    min_effective_samples: float,
) -> Relation:
    """Returns the relation, the burn-in not yet counted."""
    count, (chains, size) = len(chunks), chunks[0].points.shape
    reference = axes.project_point(domain.reference_point(size))
    estimates = estimate_measures(group_sums, domain.vanishes, reference)
    sizes, r_hats = mixing.compute_effective_sizes(estimates), mixing.compute_r_hat(group_sums)
    mixing.check_effective_size(
        sizes, r_hats.max(), count * CHUNK_STEPS, chains, min_effective_samples
    )
    leapfrog_steps = sum(chunk.leapfrog_steps for chunk in chunks)
    return Relation(
        axes=axes,
        estimates=mixing.mask_unknown(estimates, sizes, 2 * chains - 1, min_effective_samples),
        estimator="mcmc",
        domain=domain.name,
        vanishes=domain.vanishes,
        n=count * CHUNK_STEPS * chains,
        gradient_calls=chains * (CHUNK_STEPS * leapfrog_steps + count),
        effective_sample_size=float(np.median(sizes)),
        groups=group_sums,
        retained_samples=_subsample_states(chunks),
        by_axis={"r_hat": r_hats, "effective_sample_size": sizes},
        traces={"log_density": np.stack([chunk.log_densities for chunk in chunks])},
        diagnostics={
            "r_hat": float(r_hats.max()),
            "acceptance": float(np.mean([chunk.acceptance for chunk in chunks])),
            "leapfrog_steps": leapfrog_steps / count,
            "least_effective_sample_size": float(sizes.min()),
        },
    )


def _add_chunk(groups: sums.GroupSums, first_group: int, chunk: ChunkResult) -> None:
    """Adds each chain's sums to its own group, from `first_group` on."""
    for name, values in chunk.sums.items():
        if not np.isfinite(values).all():
            raise errors.InputError(
                f"The packet or its gradient is not finite on the walk "
                f"({name}). Look at the network's layers and weights."
            )
    for chain in range(len(chunk.log_densities)):
        chain_sums = {name: values[chain] for name, values in chunk.sums.items()}
        groups.add(first_group + chain, chain_sums)


def _subsample_states(chunks: Sequence[ChunkResult]) -> SampleSubset:
    """Returns evenly spaced ones of the states at the stretches' ends."""
    count, chains = len(chunks), len(chunks[0].points)
    points = np.concatenate([chunk.points for chunk in chunks])
    halves = 2 * np.arange(count) // count
    groups = (chains * halves[:, None] + np.arange(chains)).ravel()
    step = max(1, len(points) // _NUM_RETAINED)
    # With no divisor in common every chain is met.
    while math.gcd(step, chains) > 1:
        step += 1
    points, groups = points[::step], groups[::step]
    return SampleSubset(points, np.ones(len(points)), groups)
