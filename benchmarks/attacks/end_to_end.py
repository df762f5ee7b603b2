"""Benchmarks of whole runs: early stopping, AutoAttack, sweeps, memory."""

import subprocess
import sys
import time

import numpy as np
import tensorflow as tf

from benchmarks.attacks import comparison, libraries
from benchmarks.attacks.comparison import TimedAttack
from benchmarks.attacks.networks import AttackedNetwork
from benchmarks.attacks.rows import Row
from qup import attacks
from qup.attacks.pgd import PGD

_STEPS = 100
# Madry's budget and step size for MNIST, and a smaller budget. At both the robust accuracy is below
# 10 %.
_EPSILONS, _STEP_SIZE = (0.3, 0.2), 0.01
_MINUTES = 5
_SWEEP = tuple(float(e) for e in np.linspace(0.02, 0.2, 8))
# Largest additional growth of the peak memory for more images, MiB.
_MEMORY = 8.0


@attacks.register("pgd_to_the_end", kind="budget", norms=("linf", "l2"), gradients=True)
class _PGDWithAllSteps(PGD):
    """PGD in which misclassified rows stay in the batch, without further changes."""

    def count_fixed_steps(self):
        """All rows take `num_steps`."""
        return int(self.num_steps)


def time_early_stopping(network: AttackedNetwork, *, seconds: float, min_rounds: int) -> list[Row]:
    """Times PGD-100 with and without stopping at the first success."""
    return [
        row
        for epsilon in _EPSILONS
        for row in _time_early_stopping_at(network, epsilon, seconds=seconds, min_rounds=min_rounds)
    ]


def _time_early_stopping_at(
    network: AttackedNetwork, epsilon: float, *, seconds: float, min_rounds: int
) -> list[Row]:
    options = {"epsilon": epsilon, "step_size": _STEP_SIZE}
    timed_attacks = [
        TimedAttack(
            name=name,
            network=network,
            steps=_STEPS,
            target=5.0,
            num_warm_up_steps=20,
            build=libraries.build_qup(
                attack, keep="first_adversarial", random_start=False, **options
            ),
        )
        for name, attack in (("qup", "pgd"), ("all steps", "pgd_to_the_end"))
    ]
    results = comparison.time_attacks(timed_attacks, seconds=seconds, min_rounds=min_rounds)
    title = f"RA by PGD-{_STEPS} leaving early, epsilon {epsilon:g}"
    success = [network.is_adversarial(results[c.name].images) for c in timed_attacks]
    robust = [100 - results[c.name].success for c in timed_attacks]
    shared = {"part": "early", "title": title, "competitor": "all steps"}
    return [
        *comparison.compute_ratios("early", title, timed_attacks, results),
        Row(
            **shared,
            value=float(np.sum(success[0] != success[1])),
            target=0.0,
            target_is_minimum=False,
            unit="images on which they differ",
            note=f"of {len(network.labels):,}, {network.title}",
        ),
        Row(
            **shared,
            value=robust[1],
            target=10.0,
            target_is_minimum=False,
            unit="% RA",
            note=f"leaving early {robust[0]:.2f}",
        ),
    ]


def time_autoattack(network: AttackedNetwork, count: int) -> list[Row]:
    """Times the standard version of AutoAttack once, including compilation.

    Args:
      network: The network.
      count: Number of images. The target is that of 1,000 images, scaled.
    """
    network = network.take(count)
    start = time.perf_counter()
    result = attacks.run(
        "autoattack",
        network.model,
        network.images,
        network.labels,
        epsilon=network.epsilon,
        batch_size=min(count, 128),
    )
    minutes = (time.perf_counter() - start) / 60
    stages = result.after_stages().items()
    return [
        Row(
            part="autoattack",
            title=f"AutoAttack standard, {network.title}, {count} images",
            competitor="the clock",
            value=minutes,
            target=_MINUTES * count / 1000,
            target_is_minimum=False,
            unit="minutes",
            success=(100 - result.robust_accuracy, np.nan),
            note=f"epsilon {network.epsilon:g}; RA after "
            + ", ".join(f"{name} {value:.1f}" for name, value in stages),
        )
    ]


def count_traces_of_sweep(network: AttackedNetwork, count: int) -> list[Row]:
    """Compares how often one budget and a sweep trace the classifier."""
    network = network.take(count)
    traces = []
    for epsilons in (_SWEEP[:1], _SWEEP):
        calls = 0

        def logits(images: tf.Tensor) -> tf.Tensor:
            nonlocal calls
            calls += 1
            return network.model(images, training=False)

        attacks.run("pgd4", logits, network.images, network.labels, epsilons=epsilons)
        traces.append(calls)
    return [
        Row(
            part="sweep",
            title=f"PGD at {len(_SWEEP)} budgets, {network.title}",
            competitor="one budget",
            value=float(traces[1] - traces[0]),
            target=0.0,
            target_is_minimum=False,
            unit="more traces",
            note=f"{traces[0]} traces for one budget, all programs together",
        )
    ]


def compare_memory(counts: tuple[int, int]) -> list[Row]:
    """Compares the growth of peak memory for two numbers of images."""
    growth = []
    for count in counts:
        command = [sys.executable, "-m", "benchmarks.attacks.streaming"]
        child = subprocess.run([*command, str(count)], capture_output=True, text=True, check=True)
        growth.append(float(child.stdout.split()[-1]))
    few, many = counts
    return [
        Row(
            part="memory",
            title=f"PGD-10 to output=DIR, ConvNet, {many:,} images",
            competitor=f"{few:,} images",
            value=growth[1] - growth[0],
            target=_MEMORY,
            target_is_minimum=False,
            unit="MiB more at the peak",
            note=f"growth {growth[1]:.1f} and {growth[0]:.1f} MiB; the images "
            f"take {many * 28 * 28 * 4 / 2**20:.0f} MiB",
        )
    ]
