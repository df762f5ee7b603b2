"""What the uncertainty relation of a network costs: time, memory, error.

    python -m benchmarks.uncertainty

A ConvNet after one epoch of MNIST (of digits, where MNIST is not prepared),
the loss packet of label 0 in a Gaussian window of s = 0.1 round the mean
image of its class, along every pixel. The gradients a second of each
estimator stand beside those of the bare compiled gradient of ln l, in one
interleaved run at the same batch size.
"""

import pathlib
import re
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import timing
from benchmarks.attacks import networks
from qup import uncertainty
from qup.uncertainty import Packet, importance, mcmc

_SAMPLES = flags.DEFINE_integer("samples", 20_000, "By importance sampling.")
_STEPS = flags.DEFINE_integer("steps", 1000, "Of each of 32 chains.")
_BATCH = flags.DEFINE_integer("batch", 250, "Points a batch.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Of the interleaved runs.")
_WIDTH = 0.1
_CHAINS = 32


def _packet() -> tuple[Packet, uncertainty.GaussianWindow, str]:
    subject = networks.train_network("convnet", 60_000)
    shape = subject.images.shape[1:]
    packet = uncertainty.of_classifier(subject.model, 0, shape=shape)
    centre = subject.images[subject.labels == 0].mean(0).ravel()
    window = uncertainty.GaussianWindow(centre.astype(float), _WIDTH)
    return packet, window, subject.title


def _errors(found: uncertainty.Relation) -> str:
    product = found["uncertainty_product"]
    relative = 100 * product.stderr / product.value
    return (
        f"standard error of the product: median {np.median(relative):.3f} %, "
        f"largest {relative.max():.3f} % of {relative.size} pixels; effective "
        f"samples {found.effective_sample_size:,.0f} of {found.n:,}"
    )


def _peak() -> float:
    """Returns the largest memory of this process so far, in MiB."""
    status = pathlib.Path("/proc/self/status").read_text()
    return float(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def _timed(work: Callable) -> tuple[uncertainty.Relation, float]:
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start


def _rates(packet: Packet, window, batch: int) -> list[str]:
    """Compares gradients a second with those of the bare gradient."""
    points = tf.constant(
        np.random.default_rng(0).normal(0, 0.07, (batch, packet.size)) + window.centre, tf.float32
    )
    few = tf.constant(points[:_CHAINS])
    bare = packet.build_gradient_fn()
    count = 40

    def gradients(x: tf.Tensor, times: int) -> None:
        for _ in range(times):
            bare(x, packet.parameters)[0].numpy()

    def drawn() -> uncertainty.Relation:
        return importance.relation(packet, window, num_samples=count * batch, batch_size=batch)

    seconds = timing.interleaved(
        {"bare": lambda: gradients(points, count + 1), "ours": drawn}, rounds=_ROUNDS.value + 1
    )
    ratio = np.median(seconds["bare"][1:] / seconds["ours"][1:])
    rate = (count + 1) * batch / np.median(seconds["ours"][1:])
    calls = []

    def walked() -> None:
        found = mcmc.relation(packet, window, num_steps=100, num_burn_in=50)
        calls.append(found.gradient_calls // _CHAINS)

    walked()
    times = timing.interleaved(
        {"bare": lambda: gradients(few, calls[0]), "ours": walked}, rounds=_ROUNDS.value
    )
    chain_ratio = np.median(times["bare"] / times["ours"])
    chain_rate = calls[0] * _CHAINS / np.median(times["ours"])
    return [
        f"importance sampling: {rate:,.0f} gradients a second, {ratio:.2f} of "
        f"the bare gradient's at batch {batch} (target: 0.80)",
        f"MCMC: {chain_rate:,.0f} gradients a second, {chain_ratio:.2f} of the "
        f"bare gradient's at batch {_CHAINS} (target: 0.80)",
    ]


def main(argv: list[str]) -> None:
    """Measures, and prints what was found."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}.")
    packet, window, title = _packet()
    batch = _BATCH.value
    print(timing.machine())
    print(f"{title}, loss packet of label 0, window s = {_WIDTH}")

    def draw(samples: int) -> uncertainty.Relation:
        return importance.relation(packet, window, num_samples=samples, batch_size=batch)

    draw(batch)
    found, seconds = _timed(lambda: draw(_SAMPLES.value))
    print(f"importance sampling: {seconds:.1f} s; {_errors(found)}")
    peak = _peak()
    _, longer = _timed(lambda: draw(4 * _SAMPLES.value))
    print(
        f"four times the samples: {longer / seconds:.2f} times the time, "
        f"{_peak() - peak:.1f} MiB more at the peak"
    )
    found, seconds = _timed(
        lambda: mcmc.relation(packet, window, num_chains=_CHAINS, num_steps=_STEPS.value)
    )
    told = found.diagnostics
    print(
        f"MCMC: {seconds:.1f} s, compilation included; {_errors(found)}; "
        f"R-hat {told['r_hat']:.4f}, acceptance {told['acceptance']:.2f}, "
        f"{told['leapfrog_steps']:.1f} leapfrog steps"
    )
    print(f"peak of the process: {_peak() / 1024:.2f} GiB")
    for line in _rates(packet, window, batch):
        print(line)


if __name__ == "__main__":
    app.run(main)
