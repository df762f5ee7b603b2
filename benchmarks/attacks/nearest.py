"""Attacks of minimum norm on 64 images: how fast, and how near."""

import dataclasses

import numpy as np

from benchmarks.attacks import contest, rivals
from benchmarks.attacks.contest import Contestant, Result
from benchmarks.attacks.networks import Subject
from benchmarks.attacks.rows import Row


def deepfool(subject: Subject, *, seconds: float, least: int) -> list[Row]:
    """Times DeepFool, at most 50 steps, overshoot 0.02."""
    contestants = [
        Contestant(name=name, subject=subject, build=build, steps=50, target=target)
        for name, build, target in (
            ("qup", rivals.ours("deepfool"), None),
            ("foolbox", rivals.foolbox_deepfool, 1.5),
            ("ART", rivals.art_deepfool, 15.0),
        )
    ]
    results = contest.contest(contestants, seconds=seconds, least=least)
    what = f"DeepFool, {subject.title}"
    return _rows("deepfool", what, contestants, results, 2)


def carlini_wagner(subject: Subject, *, steps: int, art_steps: int) -> list[Row]:
    """Times Carlini and Wagner's attack with 9 constants, once each.

    Ours leaves no constant early: foolbox does so only where the whole batch
    has stalled.

    Args:
      subject: The network.
      steps: Iterations for each constant.
      art_steps: Those that ART is given; its seconds are scaled.
    """
    build = rivals.ours("carlini_wagner", abort_early=False)
    contestants = [
        Contestant(name="qup", subject=subject, build=build, steps=steps, warm_steps=2),
        Contestant(
            name="foolbox",
            subject=subject,
            target=1.5,
            steps=steps,
            build=rivals.foolbox_carlini_wagner,
            warm_steps=2,
        ),
        Contestant(
            name="ART",
            subject=subject,
            target=20.0,
            build=rivals.art_carlini_wagner,
            steps=art_steps,
            warm_steps=2,
        ),
    ]
    results = contest.contest(contestants, seconds=0.0, least=1)
    what = f"C&W, 9 x {steps}, {subject.title}"
    found = _rows("carlini_wagner", what, contestants, results, 2)
    for rival in contestants[1:]:
        if results[rival.name].reason:
            continue
        same = results
        if rival.steps != steps:
            images = build(subject, rival.steps)()
            same = results | {"qup": Result(images=images)}
        ours, theirs = _lengths(contestants[0], rival, same, 2)
        if np.isnan(ours):
            continue
        found.append(
            Row(
                part="carlini_wagner",
                what=what,
                rival=rival.name,
                measured=ours / theirs,
                target=1.0,
                least=False,
                unit=f"of {rival.name}'s mean L2",
                note=f"{ours:.4f} and {theirs:.4f}, 9 x {rival.steps} both",
            )
        )
    return found


def jsma(subject: Subject, *, seconds: float, least: int) -> list[Row]:
    """Times JSMA towards the likeliest wrong class, theta 1."""
    logits = subject.model(subject.images, training=False).numpy()
    logits[np.arange(len(logits)), subject.labels] = -np.inf
    targets = logits.argmax(1)
    subject = subject.aimed(targets)
    build = rivals.ours("jsma", None, targets=targets)
    contestants = [
        Contestant(name="qup", subject=subject, build=build, steps=1),
        Contestant(name="ART", subject=subject, build=rivals.art_jsma, steps=1, target=10.0),
    ]
    results = contest.contest(contestants, seconds=seconds, least=least)
    what = f"JSMA, {subject.title}"
    return _rows("jsma", what, contestants, results, 0)


def one_pixel(subject: Subject, *, images: int, steps: int) -> list[Row]:
    """Times the one-pixel attack with 400 candidates, once each.

    Args:
      subject: The network.
      images: How many ART is given, which takes one after the other.
      steps: Generations.
    """
    contestants = [
        Contestant(
            name="qup", subject=subject, steps=steps, warm_steps=1, build=rivals.ours("one_pixel")
        ),
        Contestant(
            name="ART",
            subject=subject.first(images),
            target=10.0,
            build=rivals.art_one_pixel,
            steps=steps,
            warm_steps=1,
        ),
    ]
    results = contest.contest(contestants, seconds=0.0, least=1)
    what = f"one-pixel, 400 x {steps}, {subject.title}"
    return _rows("one_pixel", what, contestants, results, 0)


def _rows(
    part: str, what: str, contestants: list[Contestant], results: dict[str, Result], norm: int
) -> list[Row]:
    """Returns the rows, with mean distances where both succeed."""
    found = []
    rows = contest.rows(part, what, contestants, results)
    for rival, row in zip(contestants[1:], rows, strict=True):
        note = row.note
        if not results[rival.name].reason:
            ours, theirs = _lengths(contestants[0], rival, results, norm)
            far = f"mean L{norm} {ours:.3g}, theirs {theirs:.3g}"
            note = "; ".join(filter(None, [far, note]))
        found.append(dataclasses.replace(row, note=note))
    return found


def _lengths(
    ours: Contestant, rival: Contestant, results: dict[str, Result], norm: int
) -> tuple[float, float]:
    """Returns the mean distances of images that both break."""
    count = len(rival.subject.labels)
    clean = rival.subject.images
    attacked = [results[c.name].images[:count] for c in (ours, rival)]
    won = [rival.subject.won(images) for images in attacked]
    # Where the clean image is misclassified nobody has to move.
    both = won[0] & won[1] & ~rival.subject.won(clean)
    first, second = (
        np.linalg.norm((images - clean).reshape(count, -1), norm, 1) for images in attacked
    )
    if not both.any():
        return np.nan, np.nan
    return float(first[both].mean()), float(second[both].mean())
