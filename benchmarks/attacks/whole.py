"""What the library does as a whole: leaving early, AutoAttack, memory."""

import subprocess
import sys
import time

import numpy as np
import tensorflow as tf

from benchmarks.attacks import contest, rivals
from benchmarks.attacks.contest import Contestant
from benchmarks.attacks.networks import Subject
from benchmarks.attacks.rows import Row
from qup import attacks
from qup.attacks.pgd import PGD

_STEPS = 100
# Madry's budget and step for MNIST, and a smaller budget; both leave less
# than 10 % whole.
_EPSILONS, _STEP_SIZE = (0.3, 0.2), 0.01
_MINUTES = 5
_SWEEP = tuple(float(e) for e in np.linspace(0.02, 0.2, 8))
# What the peak may grow by beyond that of fewer images, MiB.
_MEMORY = 8.0


@attacks.register("pgd_to_the_end", kind="budget", norms=("linf", "l2"), gradients=True)
class _ToTheEnd(PGD):
    """PGD that nobody leaves: who is misclassified stays, and stands still."""

    def length(self):
        """Every row takes `num_steps`."""
        return int(self.num_steps)


def early(subject: Subject, *, seconds: float, least: int) -> list[Row]:
    """Times PGD-100 with and without leaving at the first success."""
    return [
        row
        for epsilon in _EPSILONS
        for row in _left(subject, epsilon, seconds=seconds, least=least)
    ]


def _left(subject: Subject, epsilon: float, *, seconds: float, least: int) -> list[Row]:
    options = {"epsilon": epsilon, "step_size": _STEP_SIZE}
    contestants = [
        Contestant(
            name=name,
            subject=subject,
            steps=_STEPS,
            target=5.0,
            warm_steps=20,
            build=rivals.ours(attack, keep="first_adversarial", **options),
        )
        for name, attack in (("qup", "pgd"), ("all steps", "pgd_to_the_end"))
    ]
    results = contest.contest(contestants, seconds=seconds, least=least)
    what = f"RA by PGD-{_STEPS} leaving early, epsilon {epsilon:g}"
    won = [subject.won(results[c.name].images) for c in contestants]
    robust = [100 - results[c.name].success for c in contestants]
    shared = {"part": "early", "what": what, "rival": "all steps"}
    return [
        *contest.rows("early", what, contestants, results),
        Row(
            **shared,
            measured=float(np.sum(won[0] != won[1])),
            target=0.0,
            least=False,
            unit="images on which they differ",
            note=f"of {len(subject.labels):,}, {subject.title}",
        ),
        Row(
            **shared,
            measured=robust[1],
            target=10.0,
            least=False,
            unit="% RA",
            note=f"leaving early {robust[0]:.2f}",
        ),
    ]


def autoattack(subject: Subject, count: int) -> list[Row]:
    """Times AutoAttack's standard version, once, programs and all.

    Args:
      subject: The network.
      count: Its number of images; the target is that of 1,000.
    """
    subject = subject.first(count)
    start = time.perf_counter()
    result = attacks.run(
        "autoattack",
        subject.model,
        subject.images,
        subject.labels,
        epsilon=subject.epsilon,
        batch_size=min(count, 128),
    )
    minutes = (time.perf_counter() - start) / 60
    stages = result.after_stages().items()
    return [
        Row(
            part="autoattack",
            what=f"AutoAttack standard, {subject.title}, {count} images",
            rival="the clock",
            measured=minutes,
            target=_MINUTES * count / 1000,
            least=False,
            unit="minutes",
            success=(100 - result.robust_accuracy, np.nan),
            note=f"epsilon {subject.epsilon:g}; RA after "
            + ", ".join(f"{name} {value:.1f}" for name, value in stages),
        )
    ]


def sweep(subject: Subject, count: int) -> list[Row]:
    """Counts how often a sweep over epsilon traces the classifier."""
    subject = subject.first(count)
    traces = []
    for epsilons in (_SWEEP[:1], _SWEEP):
        calls = 0

        def logits(images: tf.Tensor) -> tf.Tensor:
            nonlocal calls
            calls += 1
            return subject.model(images, training=False)

        attacks.run("pgd", logits, subject.images, subject.labels, epsilons=epsilons)
        traces.append(calls)
    return [
        Row(
            part="sweep",
            what=f"PGD at {len(_SWEEP)} budgets, {subject.title}",
            rival="one budget",
            measured=float(traces[1] - traces[0]),
            target=0.0,
            least=False,
            unit="more traces",
            note=f"{traces[0]} traces for one budget, all programs together",
        )
    ]


def memory(counts: tuple[int, int]) -> list[Row]:
    """Compares the growth of peak memory over two numbers of images."""
    grown = []
    for count in counts:
        command = [sys.executable, "-m", "benchmarks.attacks.streaming"]
        child = subprocess.run([*command, str(count)], capture_output=True, text=True, check=True)
        grown.append(float(child.stdout.split()[-1]))
    few, many = counts
    return [
        Row(
            part="memory",
            what=f"PGD-10 to output=DIR, ConvNet, {many:,} images",
            rival=f"{few:,} images",
            measured=grown[1] - grown[0],
            target=_MEMORY,
            least=False,
            unit="MiB more at the peak",
            note=f"growth {grown[1]:.1f} and {grown[0]:.1f} MiB; the images "
            f"take {many * 28 * 28 * 4 / 2**20:.0f} MiB",
        )
    ]
