"""Times PGD with 40 steps in all libraries, and in bfloat16."""

import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmarks.attacks import comparison, libraries
from benchmarks.attacks.comparison import TimedAttack
from benchmarks.attacks.networks import AttackedNetwork
from benchmarks.attacks.rows import Row
from qup import attacks
from qup.augmentation import opposite_fgsm

STEPS = 40
# How many times as fast qup should be, at least.
_TARGETS = {"bare gradient": 0.9, "cleverhans": 0.95, "foolbox": 1.7, "ART": 1.8, "PyTorch": 1.0}
_CONVNET = {"PyTorch": 0.9}
_CONVNET_128 = {"cleverhans": 1.2, "foolbox": 2.5, "ART": 3.0}
_BFLOAT16, _BFLOAT16_POINTS = 1.4, 0.3
# Enough steps to compile everything. The other libraries do not compile across calls.
_WARM_UP_STEPS = {"qup": 20, "cleverhans": 2, "foolbox": 2, "ART": 2}


def _get_target_ratio(competitor: str, network: str, batch: int) -> float | None:
    targets = dict(_TARGETS)
    if network == "convnet":
        targets |= _CONVNET | (_CONVNET_128 if batch == 128 else {})
    return targets.get(competitor)


def _build_bare_gradient(network: AttackedNetwork, steps: int) -> Callable[[], None]:
    """Returns a function that computes the compiled input gradient `steps` times."""
    images = tf.constant(network.images)
    labels = tf.constant(network.labels)

    @tf.function(autograph=False)
    def gradient(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, network.model(inputs, training=False)
            )
        return tape.gradient(losses, inputs)

    def work() -> None:
        for _ in range(steps):
            result = gradient(images)
        result.numpy()

    return work


def _build_opposite_fgsm(network: AttackedNetwork, steps: int) -> Callable[[], None]:
    """Returns opposite FGSM, which the augmentation uses."""
    images, labels = tf.constant(network.images), tf.constant(network.labels)

    def work() -> None:
        opposite_fgsm.iterate(
            network.model, images, labels, num_steps=steps, step_size=0.01
        ).numpy()

    return work


def _build_pgd(xla: str):
    def build(network: AttackedNetwork, steps: int) -> Callable[[], np.ndarray]:
        images = tf.constant(network.images)
        labels = tf.constant(network.labels)
        return lambda: attacks.get("pgd")(
            network.model,
            images,
            labels,
            epsilon=network.epsilon,
            num_steps=steps,
            random_start=False,
            xla=xla,
        ).numpy()

    return build


def _build_torch_pgd(network: AttackedNetwork, steps: int) -> Callable[[], np.ndarray]:
    from benchmarks.attacks import plain_torch

    return plain_torch.build_pgd(network, steps)


def time_pgd(
    network: AttackedNetwork, batch: int, *, seconds: float, min_rounds: int, extra: set[str]
) -> list[Row]:
    """Times PGD of every library on one batch.

    Args:
      network: The network.
      batch: Number of images.
      seconds: See `time_attacks`.
      min_rounds: See `time_attacks`.
      extra: May contain "xla" (qup compiled by XLA) and "walk" (opposite FGSM).

    Returns:
      One row per competitor.
    """
    builds = {
        "qup": _build_pgd("off"),
        "bare gradient": _build_bare_gradient,
        "cleverhans": libraries.build_cleverhans_pgd,
        "foolbox": libraries.build_foolbox_pgd,
        "ART": libraries.build_art_pgd,
        "PyTorch": _build_torch_pgd,
    }
    builds |= {"qup by XLA": _build_pgd("on")} if "xla" in extra else {}
    builds |= {"opposite FGSM": _build_opposite_fgsm} if "walk" in extra else {}
    timed_attacks = [
        TimedAttack(
            name=name,
            network=network.take(batch),
            build=build,
            steps=STEPS,
            num_warm_up_steps=_WARM_UP_STEPS.get(name),
            target=_get_target_ratio(name, network.name, batch),
        )
        for name, build in builds.items()
    ]
    results = comparison.time_attacks(timed_attacks, seconds=seconds, min_rounds=min_rounds)
    title = f"PGD-{STEPS}, {network.title}, batch {batch}"
    return comparison.compute_ratios("pgd", title, timed_attacks, results)


def has_bfloat16_instructions() -> bool:
    """Whether the processor has instructions for bfloat16."""
    try:
        return "avx512_bf16" in pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def time_bfloat16(
    network: AttackedNetwork, count: int, *, seconds: float, min_rounds: int
) -> list[Row]:
    """Times PGD by `attacks.run` in bfloat16 and in float32."""
    is_native = has_bfloat16_instructions()
    timed_attacks = [
        TimedAttack(
            name=precision,
            network=network.take(count),
            build=libraries.build_qup(
                "pgd", epsilon=network.epsilon, random_start=False, precision=precision
            ),
            steps=STEPS,
            num_warm_up_steps=_WARM_UP_STEPS["qup"],
            target=_BFLOAT16 if is_native else None,
            note="" if is_native else "no AVX512-BF16",
        )
        for precision in ("bfloat16", "float32")
    ]
    results = comparison.time_attacks(timed_attacks, seconds=seconds, min_rounds=min_rounds)
    title = f"PGD-{STEPS} in bfloat16, {network.title}"
    rows = comparison.compute_ratios("bfloat16", title, timed_attacks, results)
    bfloat16_success, float32_success = (results[c.name].success for c in timed_attacks)
    return [
        *rows,
        Row(
            part="bfloat16",
            title=title,
            competitor="float32",
            value=abs(bfloat16_success - float32_success),
            target=_BFLOAT16_POINTS,
            target_is_minimum=False,
            unit="points of success between them",
            success=(bfloat16_success, float32_success),
            note=f"{count} images",
        ),
    ]
