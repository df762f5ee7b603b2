"""Time, memory and errors of the uncertainty relation of a network.

    python -m benchmarks.uncertainty

Measures the loss packet of label 0 of a ConvNet after one epoch of MNIST (of digits if MNIST is not
prepared), in a Gaussian window of s = 0.1 around the mean image of the class, along every pixel.
The gradients per second of each estimator are compared with those of the compiled gradient of ln l
alone, in one interleaved run at the same batch size.
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

_SAMPLES = flags.DEFINE_integer("samples", 20_000, "Samples of importance sampling.")
_STEPS = flags.DEFINE_integer("steps", 1000, "Steps of each of 32 chains.")
_BATCH = flags.DEFINE_integer("batch", 250, "Points per batch.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds of the interleaved runs.")
_WIDTH = 0.1
_CHAINS = 32


def _build_packet() -> tuple[Packet, uncertainty.GaussianWindow, str]:
    network = networks.train_network("convnet", 60_000)
    shape = network.images.shape[1:]
    packet = uncertainty.of_classifier(network.model, 0, shape=shape)
    centre = network.images[network.labels == 0].mean(0).ravel()
    window = uncertainty.GaussianWindow(centre.astype(float), _WIDTH)
    return packet, window, network.title


def _format_errors(relation: uncertainty.Relation) -> str:
    product = relation["uncertainty_product"]
    relative = 100 * product.stderr / product.value
    return (
        f"standard error of the product: median {np.median(relative):.3f} %, "
        f"largest {relative.max():.3f} % of {relative.size} pixels; effective "
        f"samples {relation.effective_sample_size:,.0f} of {relation.n:,}"
    )


def _get_peak_memory() -> float:
    """Returns the peak memory of this process in MiB."""
    status = pathlib.Path("/proc/self/status").read_text()
    return float(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def _time_relation(
    estimate: Callable[[], uncertainty.Relation],
) -> tuple[uncertainty.Relation, float]:
    start = time.perf_counter()
    relation = estimate()
    return relation, time.perf_counter() - start


def _compare_rates(packet: Packet, window, batch: int) -> list[str]:
    """Compares the gradients per second of both estimators with those of the bare gradient."""
    points = tf.constant(
        np.random.default_rng(0).normal(0, 0.07, (batch, packet.size)) + window.centre, tf.float32
    )
    chain_points = tf.constant(points[:_CHAINS])
    gradient_fn = packet.build_gradient_fn()
    count = 40

    def compute_gradients(x: tf.Tensor, times: int) -> None:
        for _ in range(times):
            gradient_fn(x, packet.parameters)[0].numpy()

    def sample() -> uncertainty.Relation:
        return importance.relation(packet, window, num_samples=count * batch, batch_size=batch)

    seconds = timing.time_in_turns(
        {"bare": lambda: compute_gradients(points, count + 1), "ours": sample},
        rounds=_ROUNDS.value + 1,
    )
    ratio = np.median(seconds["bare"][1:] / seconds["ours"][1:])
    rate = (count + 1) * batch / np.median(seconds["ours"][1:])
    calls = []

    def run_chains() -> None:
        relation = mcmc.relation(packet, window, num_steps=100, num_burn_in=50)
        calls.append(relation.gradient_calls // _CHAINS)

    run_chains()
    times = timing.time_in_turns(
        {"bare": lambda: compute_gradients(chain_points, calls[0]), "ours": run_chains},
        rounds=_ROUNDS.value,
    )
    chain_ratio = np.median(times["bare"] / times["ours"])
    chain_rate = calls[0] * _CHAINS / np.median(times["ours"])
    return [
        f"importance sampling: {rate:,.0f} gradients per second, {ratio:.2f} of "
        f"the bare gradient's at batch {batch} (target: 0.80)",
        f"MCMC: {chain_rate:,.0f} gradients per second, {chain_ratio:.2f} of the "
        f"bare gradient's at batch {_CHAINS} (target: 0.80)",
    ]


def main(argv: list[str]) -> None:
    """Prints the results of both estimators."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}.")
    packet, window, title = _build_packet()
    batch = _BATCH.value
    print(timing.describe_machine())
    print(f"{title}, loss packet of label 0, window s = {_WIDTH}")

    def sample(samples: int) -> uncertainty.Relation:
        return importance.relation(packet, window, num_samples=samples, batch_size=batch)

    sample(batch)
    relation, seconds = _time_relation(lambda: sample(_SAMPLES.value))
    print(f"importance sampling: {seconds:.1f} s; {_format_errors(relation)}")
    peak = _get_peak_memory()
    _, longer = _time_relation(lambda: sample(4 * _SAMPLES.value))
    print(
        f"four times the samples: {longer / seconds:.2f} times the time, "
        f"{_get_peak_memory() - peak:.1f} MiB more peak memory"
    )
    relation, seconds = _time_relation(
        lambda: mcmc.relation(packet, window, num_chains=_CHAINS, num_steps=_STEPS.value)
    )
    diagnostics = relation.diagnostics
    print(
        f"MCMC: {seconds:.1f} s, compilation included; {_format_errors(relation)}; "
        f"R-hat {diagnostics['r_hat']:.4f}, acceptance {diagnostics['acceptance']:.2f}, "
        f"{diagnostics['leapfrog_steps']:.1f} leapfrog steps"
    )
    print(f"peak memory: {_get_peak_memory() / 1024:.2f} GiB")
    for line in _compare_rates(packet, window, batch):
        print(line)


if __name__ == "__main__":
    app.run(main)
