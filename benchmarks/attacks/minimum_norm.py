"""Minimum-norm attacks on 64 images: time and distances."""

import dataclasses

import numpy as np

from benchmarks.attacks import comparison, libraries
from benchmarks.attacks.comparison import TimedAttack, TimingResult
from benchmarks.attacks.networks import AttackedNetwork
from benchmarks.attacks.rows import Row


def time_deepfool(network: AttackedNetwork, *, seconds: float, min_rounds: int) -> list[Row]:
    """Times DeepFool, at most 50 steps, overshoot 0.02."""
    timed_attacks = [
        TimedAttack(name=name, network=network, build=build, steps=50, target=target)
        for name, build, target in (
            ("qup", libraries.build_qup("deepfool"), None),
            ("foolbox", libraries.build_foolbox_deepfool, 1.5),
            ("ART", libraries.build_art_deepfool, 15.0),
        )
    ]
    results = comparison.time_attacks(timed_attacks, seconds=seconds, min_rounds=min_rounds)
    title = f"DeepFool, {network.title}"
    return _add_distances("deepfool", title, timed_attacks, results, 2)


def time_carlini_wagner(network: AttackedNetwork, *, steps: int, art_steps: int) -> list[Row]:
    """Times Carlini and Wagner's attack with 9 constants, once each.

    qup runs all steps of each constant, because foolbox stops a constant early only if the whole
    batch stalls.

    Args:
      network: The network.
      steps: Steps per constant.
      art_steps: Steps per constant for ART; its seconds are scaled.
    """
    build = libraries.build_qup("carlini_wagner", abort_early=False)
    timed_attacks = [
        TimedAttack(name="qup", network=network, build=build, steps=steps, num_warm_up_steps=2),
        TimedAttack(
            name="foolbox",
            network=network,
            target=1.5,
            steps=steps,
            build=libraries.build_foolbox_carlini_wagner,
            num_warm_up_steps=2,
        ),
        TimedAttack(
            name="ART",
            network=network,
            target=20.0,
            build=libraries.build_art_carlini_wagner,
            steps=art_steps,
            num_warm_up_steps=2,
        ),
    ]
    results = comparison.time_attacks(timed_attacks, seconds=0.0, min_rounds=1)
    title = f"C&W, 9 x {steps}, {network.title}"
    rows = _add_distances("carlini_wagner", title, timed_attacks, results, 2)
    for other in timed_attacks[1:]:
        if results[other.name].error:
            continue
        results_of_equal_steps = results
        if other.steps != steps:
            images = build(network, other.steps)()
            results_of_equal_steps = results | {"qup": TimingResult(images=images)}
        ours, theirs = _compute_mean_distances(timed_attacks[0], other, results_of_equal_steps, 2)
        if np.isnan(ours):
            continue
        rows.append(
            Row(
                part="carlini_wagner",
                title=title,
                competitor=other.name,
                value=ours / theirs,
                target=1.0,
                target_is_minimum=False,
                unit=f"of {other.name}'s mean L2",
                note=f"{ours:.4f} and {theirs:.4f}, 9 x {other.steps} both",
            )
        )
    return rows


def time_jsma(network: AttackedNetwork, *, seconds: float, min_rounds: int) -> list[Row]:
    """Times JSMA with the most likely wrong class as target, theta 1."""
    logits = network.model(network.images, training=False).numpy()
    logits[np.arange(len(logits)), network.labels] = -np.inf
    targets = logits.argmax(1)
    network = network.with_targets(targets)
    build = libraries.build_qup("jsma", None, targets=targets)
    timed_attacks = [
        TimedAttack(name="qup", network=network, build=build, steps=1),
        TimedAttack(
            name="ART", network=network, build=libraries.build_art_jsma, steps=1, target=10.0
        ),
    ]
    results = comparison.time_attacks(timed_attacks, seconds=seconds, min_rounds=min_rounds)
    title = f"JSMA, {network.title}"
    return _add_distances("jsma", title, timed_attacks, results, 0)


def time_one_pixel(network: AttackedNetwork, *, images: int, steps: int) -> list[Row]:
    """Times the one-pixel attack with 400 candidates, once each.

    Args:
      network: The network.
      images: Number of images for ART, which attacks one at a time.
      steps: Number of generations.
    """
    timed_attacks = [
        TimedAttack(
            name="qup",
            network=network,
            steps=steps,
            num_warm_up_steps=1,
            build=libraries.build_qup("one_pixel"),
        ),
        TimedAttack(
            name="ART",
            network=network.take(images),
            target=10.0,
            build=libraries.build_art_one_pixel,
            steps=steps,
            num_warm_up_steps=1,
        ),
    ]
    results = comparison.time_attacks(timed_attacks, seconds=0.0, min_rounds=1)
    title = f"one-pixel, 400 x {steps}, {network.title}"
    return _add_distances("one_pixel", title, timed_attacks, results, 0)


def _add_distances(
    part: str,
    title: str,
    timed_attacks: list[TimedAttack],
    results: dict[str, TimingResult],
    norm: int,
) -> list[Row]:
    """Returns the ratios, with the mean distances of the images for which both succeed."""
    rows = []
    ratios = comparison.compute_ratios(part, title, timed_attacks, results)
    for other, row in zip(timed_attacks[1:], ratios, strict=True):
        note = row.note
        if not results[other.name].error:
            ours, theirs = _compute_mean_distances(timed_attacks[0], other, results, norm)
            distances = f"mean L{norm} {ours:.3g}, theirs {theirs:.3g}"
            note = "; ".join(filter(None, [distances, note]))
        rows.append(dataclasses.replace(row, note=note))
    return rows


def _compute_mean_distances(
    ours: TimedAttack, other: TimedAttack, results: dict[str, TimingResult], norm: int
) -> tuple[float, float]:
    """Returns the mean distances of the images for which both attacks succeed."""
    count = len(other.network.labels)
    clean = other.network.images
    attacked = [results[c.name].images[:count] for c in (ours, other)]
    success = [other.network.is_adversarial(images) for images in attacked]
    # Misclassified clean images need no perturbation.
    both = success[0] & success[1] & ~other.network.is_adversarial(clean)
    first, second = (
        np.linalg.norm((images - clean).reshape(count, -1), norm, 1) for images in attacked
    )
    if not both.any():
        return np.nan, np.nan
    return float(first[both].mean()), float(second[both].mean())
