"""PGD of 40 steps beside that of others, and in bfloat16."""

import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmarks.attacks import contest, rivals
from benchmarks.attacks.contest import Contestant
from benchmarks.attacks.networks import Subject
from benchmarks.attacks.rows import Row
from qup import attacks
from qup.augmentation import opposite_fgsm

STEPS = 40
# How many times as fast ours should be, least; 1.0 is as fast.
_TARGETS = {"bare gradient": 0.9, "cleverhans": 0.95, "foolbox": 1.7, "ART": 1.8, "PyTorch": 1.0}
_CONVNET = {"PyTorch": 0.9}
_CONVNET_128 = {"cleverhans": 1.2, "foolbox": 2.5, "ART": 3.0}
_BFLOAT16, _BFLOAT16_POINTS = 1.4, 0.3
# Steps that are enough to compile what there is to compile; the others
# keep what they compiled to themselves, or compile nothing.
_WARM = {"qup": 20, "cleverhans": 2, "foolbox": 2, "ART": 2}


def _target(rival: str, network: str, batch: int) -> float | None:
    targets = dict(_TARGETS)
    if network == "convnet":
        targets |= _CONVNET | (_CONVNET_128 if batch == 128 else {})
    return targets.get(rival)


def _bare(subject: Subject, steps: int) -> Callable[[], None]:
    """Returns `steps` calls of a compiled gradient by the input."""
    images = tf.constant(subject.images)
    labels = tf.constant(subject.labels)

    @tf.function(autograph=False)
    def gradient(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, subject.model(inputs, training=False)
            )
        return tape.gradient(losses, inputs)

    def work() -> None:
        for _ in range(steps):
            slope = gradient(images)
        slope.numpy()

    return work


def _walk(subject: Subject, steps: int) -> Callable[[], None]:
    """Returns opposite FGSM, the road's own attack."""
    images, labels = tf.constant(subject.images), tf.constant(subject.labels)

    def work() -> None:
        opposite_fgsm.iterate(
            subject.model, images, labels, num_steps=steps, step_size=0.01
        ).numpy()

    return work


def _ours(xla: str):
    def build(subject: Subject, steps: int) -> Callable[[], np.ndarray]:
        images = tf.constant(subject.images)
        labels = tf.constant(subject.labels)
        return lambda: attacks.get("pgd")(
            subject.model, images, labels, epsilon=subject.epsilon, num_steps=steps, xla=xla
        ).numpy()

    return build


def _torch(subject: Subject, steps: int) -> Callable[[], np.ndarray]:
    from benchmarks.attacks import plain_torch

    return plain_torch.pgd(subject, steps)


def race(subject: Subject, batch: int, *, seconds: float, least: int, more: set[str]) -> list[Row]:
    """Times PGD of every library on one batch.

    Args:
      subject: The network.
      batch: Number of images.
      seconds: See `contest`.
      least: See `contest`.
      more: Of "xla" (ours compiled by XLA) and "walk" (opposite FGSM).

    Returns:
      A row a rival.
    """
    builds = {
        "qup": _ours("off"),
        "bare gradient": _bare,
        "cleverhans": rivals.cleverhans_pgd,
        "foolbox": rivals.foolbox_pgd,
        "ART": rivals.art_pgd,
        "PyTorch": _torch,
    }
    builds |= {"qup by XLA": _ours("on")} if "xla" in more else {}
    builds |= {"opposite FGSM": _walk} if "walk" in more else {}
    contestants = [
        Contestant(
            name=name,
            subject=subject.first(batch),
            build=build,
            steps=STEPS,
            warm_steps=_WARM.get(name),
            target=_target(name, subject.name, batch),
        )
        for name, build in builds.items()
    ]
    results = contest.contest(contestants, seconds=seconds, least=least)
    what = f"PGD-{STEPS}, {subject.title}, batch {batch}"
    return contest.rows("pgd", what, contestants, results)


def has_bfloat16() -> bool:
    """Says whether the processor computes in bfloat16 itself."""
    try:
        return "avx512_bf16" in pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def bfloat16(subject: Subject, count: int, *, seconds: float, least: int) -> list[Row]:
    """Times PGD by `attacks.run` in bfloat16 beside float32."""
    native = has_bfloat16()
    contestants = [
        Contestant(
            name=precision,
            subject=subject.first(count),
            build=rivals.ours("pgd", epsilon=subject.epsilon, precision=precision),
            steps=STEPS,
            warm_steps=_WARM["qup"],
            target=_BFLOAT16 if native else None,
            note="" if native else "no AVX512-BF16",
        )
        for precision in ("bfloat16", "float32")
    ]
    results = contest.contest(contestants, seconds=seconds, least=least)
    what = f"PGD-{STEPS} in bfloat16, {subject.title}"
    found = contest.rows("bfloat16", what, contestants, results)
    low, full = (results[c.name].success for c in contestants)
    return [
        *found,
        Row(
            part="bfloat16",
            what=what,
            rival="float32",
            measured=abs(low - full),
            target=_BFLOAT16_POINTS,
            least=False,
            unit="points of success between them",
            success=(low, full),
            note=f"{count} images",
        ),
    ]
