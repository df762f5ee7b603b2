"""Times alternatives in turns, and describes the machine."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def time_in_turns(
    alternatives: Mapping[str, Callable[[], Any]], *, rounds: int
) -> dict[str, np.ndarray]:
    """Times each alternative once per round, so that other load slows all of them alike.

    Args:
      alternatives: Functions by name.
      rounds: Number of rounds.

    Returns:
      Name to seconds, float64 [rounds].
    """
    seconds = {name: [] for name in alternatives}
    for _ in range(rounds):
        for name, work in alternatives.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(times) for name, times in seconds.items()}


def compute_speedups(
    alternatives: Mapping[str, Callable[[], object]], *, rounds: int
) -> tuple[float, dict[str, float]]:
    """Compares alternatives with the first one, after a round in which they compile.

    Args:
      alternatives: Functions by name.
      rounds: Number of rounds that count.

    Returns:
      The median seconds of the first alternative; and how many times as fast each of the others
      is, the median over rounds, by name.
    """
    seconds = time_in_turns(alternatives, rounds=rounds + 1)
    first, *others = (times[1:] for times in seconds.values())
    ratios = (float(np.median(first / other)) for other in others)
    return float(np.median(first)), dict(zip(list(seconds)[1:], ratios, strict=True))


def describe_machine() -> str:
    """Returns the processor, its cores and the memory."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1] for line in file if "model name" in line]
        processor = names[0].strip()
    except (OSError, IndexError):
        pass
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{processor}, {os.cpu_count()} cores, {size / 2**30:.0f} GiB"
