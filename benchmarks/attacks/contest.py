"""Attacks of several libraries on one classifier, timed in turns."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks import timing
from benchmarks.attacks.networks import Subject
from benchmarks.attacks.rows import Row

Work = Callable[[], np.ndarray | None]
_MOST_ROUNDS = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contestant:
    """An attack to be timed.

    Attributes:
      name: Of the library.
      subject: What it attacks. Where it has fewer images than ours, or
        `steps` are fewer, its seconds are scaled.
      build: Makes the attack of a subject and a number of steps; called
        without arguments it returns the attacked images, or None.
      steps: Its number of steps.
      warm_steps: Those of the run before the ones that count, in which
        programs are compiled; None for the same number.
      target: How many times as fast ours should be at least.
      note: Added to the row.
    """

    name: str
    subject: Subject
    build: Callable[[Subject, int], Work]
    steps: int
    warm_steps: int | None = None
    target: float | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a contestant.

    Attributes:
      seconds: Median of a run, for as many images as ours.
      images: Attacked images, or None.
      success: Percent of the images that were won.
      reason: Why it does not run, else empty.
    """

    seconds: float = math.nan
    images: np.ndarray | None = None
    success: float = math.nan
    reason: str = ""


def contest(contestants: Sequence[Contestant], *, seconds: float, least: int) -> dict[str, Result]:
    """Runs all in turns.

    Args:
      contestants: Ours first.
      seconds: About how long; as many rounds as fit, at most 15.
      least: Rounds to run even so.

    Returns:
      Name to result.

    Raises:
      Exception: Ours does not run.
    """
    works, found, reasons = {}, {}, {}
    for contestant in contestants:
        try:
            works[contestant.name] = _prepared(contestant, found)
        except Exception as error:
            if contestant is contestants[0]:
                raise
            first = (str(error).splitlines() or [""])[0]
            reasons[contestant.name] = f"{type(error).__name__}: {first}"
    # One round at least tells how long a round is.
    times = timing.interleaved(works, rounds=1)
    once = sum(column[0] for column in times.values())
    rounds = max(least, min(int(seconds / once), _MOST_ROUNDS)) - 1
    more = timing.interleaved(works, rounds=rounds)
    results = {}
    for contestant in contestants:
        name, subject = contestant.name, contestant.subject
        if name in reasons:
            results[name] = Result(reason=reasons[name])
            continue
        scale = _work(contestants[0]) / _work(contestant)
        median = np.median(np.concatenate([times[name], more[name]]))
        images = found[name]
        won = math.nan if images is None else subject.success(images)
        results[name] = Result(float(scale * median), images, won)
    return results


def _work(contestant: Contestant) -> int:
    return len(contestant.subject.labels) * contestant.steps


def _prepared(contestant: Contestant, found: dict) -> Callable[[], None]:
    """Runs an attack once; returns it, so that it keeps what it found."""
    build, subject = contestant.build, contestant.subject
    work = build(subject, contestant.steps)
    warm = work
    if contestant.warm_steps is not None:
        warm = build(subject, contestant.warm_steps)
    warm()

    def run() -> None:
        found[contestant.name] = work()

    return run


def rows(
    part: str, what: str, contestants: Sequence[Contestant], results: dict[str, Result]
) -> list[Row]:
    """Returns how many times as fast ours is as each of the others."""
    ours = results[contestants[0].name]
    first = contestants[0]
    found = []
    for rival in contestants[1:]:
        result = results[rival.name]
        images, steps = len(rival.subject.labels), rival.steps
        notes = [result.reason or rival.note]
        if images != len(first.subject.labels):
            notes.append(f"theirs on {images} images, scaled")
        if steps != first.steps:
            notes.append(f"theirs in {steps} steps, scaled")
        ratio = result.seconds / ours.seconds
        found.append(
            Row(
                part=part,
                what=what,
                rival=rival.name,
                measured=None if result.reason else ratio,
                target=rival.target,
                seconds=(ours.seconds, result.seconds),
                success=(ours.success, result.success),
                note="; ".join(filter(None, notes)),
            )
        )
    return found
