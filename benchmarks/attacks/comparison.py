"""Times the attacks of several libraries on one classifier, in turns."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks import timing
from benchmarks.attacks.networks import AttackedNetwork
from benchmarks.attacks.rows import Row

Run = Callable[[], np.ndarray | None]
_MAX_ROUNDS = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimedAttack:
    """An attack to time.

    Attributes:
      name: The name of the library.
      network: The attacked network. If it has fewer images than qup's, or `steps` is smaller, the
        seconds are scaled.
      build: Builds the attack for a network and a number of steps. The attack has no arguments and
        returns the attacked images, or None.
      steps: Number of steps.
      num_warm_up_steps: Number of steps of the first run, which compiles and does not count; None
        for `steps`.
      target: How many times as fast qup should be, at least.
      note: Text for the row.
    """

    name: str
    network: AttackedNetwork
    build: Callable[[AttackedNetwork, int], Run]
    steps: int
    num_warm_up_steps: int | None = None
    target: float | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class TimingResult:
    """The result of a timed attack.

    Attributes:
      seconds: Median of a run, scaled to the number of images of qup's attack.
      images: Attacked images, or None.
      success: Percent of the images for which the attack succeeds.
      error: Why it does not run, or an empty string.
    """

    seconds: float = math.nan
    images: np.ndarray | None = None
    success: float = math.nan
    error: str = ""


def time_attacks(
    timed_attacks: Sequence[TimedAttack], *, seconds: float, min_rounds: int
) -> dict[str, TimingResult]:
    """Runs all attacks in turns.

    Args:
      timed_attacks: qup's first.
      seconds: Approximate duration; at most 15 rounds.
      min_rounds: Rounds to run even if they take longer.

    Returns:
      Name to result.

    Raises:
      Exception: qup's attack does not run.
    """
    runs, images_by_name, error_by_name = {}, {}, {}
    for attack in timed_attacks:
        try:
            runs[attack.name] = _prepare(attack, images_by_name)
        except Exception as error:
            if attack is timed_attacks[0]:
                raise
            first_line = (str(error).splitlines() or [""])[0]
            error_by_name[attack.name] = f"{type(error).__name__}: {first_line}"
    # The first round shows how long a round takes.
    first_times = timing.time_in_turns(runs, rounds=1)
    round_seconds = sum(times[0] for times in first_times.values())
    rounds = max(min_rounds, min(int(seconds / round_seconds), _MAX_ROUNDS)) - 1
    more_times = timing.time_in_turns(runs, rounds=rounds)
    results = {}
    for attack in timed_attacks:
        name = attack.name
        if name in error_by_name:
            results[name] = TimingResult(error=error_by_name[name])
            continue
        scale = _count_image_steps(timed_attacks[0]) / _count_image_steps(attack)
        median = np.median(np.concatenate([first_times[name], more_times[name]]))
        images = images_by_name[name]
        success = math.nan if images is None else attack.network.compute_success_rate(images)
        results[name] = TimingResult(float(scale * median), images, success)
    return results


def _count_image_steps(attack: TimedAttack) -> int:
    return len(attack.network.labels) * attack.steps


def _prepare(attack: TimedAttack, images_by_name: dict) -> Callable[[], None]:
    """Runs an attack once to compile it; returns a function that runs it and stores the images."""
    run = attack.build(attack.network, attack.steps)
    warm_up = run
    if attack.num_warm_up_steps is not None:
        warm_up = attack.build(attack.network, attack.num_warm_up_steps)
    warm_up()

    def run_and_store() -> None:
        images_by_name[attack.name] = run()

    return run_and_store


def compute_ratios(
    part: str, title: str, timed_attacks: Sequence[TimedAttack], results: dict[str, TimingResult]
) -> list[Row]:
    """Returns how many times as fast qup is as each of the others."""
    ours, *others = timed_attacks
    our_result = results[ours.name]
    rows = []
    for other in others:
        result = results[other.name]
        num_images = len(other.network.labels)
        notes = [result.error or other.note]
        if num_images != len(ours.network.labels):
            notes.append(f"theirs on {num_images} images, scaled")
        if other.steps != ours.steps:
            notes.append(f"theirs in {other.steps} steps, scaled")
        row = Row(
            part=part,
            title=title,
            competitor=other.name,
            value=None if result.error else result.seconds / our_result.seconds,
            target=other.target,
            seconds=(our_result.seconds, result.seconds),
            success=(our_result.success, result.success),
            note="; ".join(filter(None, notes)),
        )
        rows.append(row)
    return rows
