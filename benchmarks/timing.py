"""Timing of alternatives side by side, and the machine they ran on."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def interleaved(
    alternatives: Mapping[str, Callable[[], Any]], *, rounds: int
) -> dict[str, np.ndarray]:
    """Times each alternative once a round, in turns.

    Taking turns lets what else the machine does fall on all of them.

    Args:
      alternatives: Name to a function that returns when its work is done.
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


def compare(
    alternatives: Mapping[str, Callable[[], object]], *, rounds: int
) -> tuple[float, dict[str, float]]:
    """Compares alternatives with the first of them, in interleaved rounds.

    A first round, in which they compile, is not counted.

    Args:
      alternatives: Name to a function that returns when its work is done.
      rounds: Rounds that count.

    Returns:
      The median seconds of the first alternative; and name to how much
      faster each of the others is, the median over rounds.
    """
    seconds = interleaved(alternatives, rounds=rounds + 1)
    first, *others = (times[1:] for times in seconds.values())
    ratios = (float(np.median(first / other)) for other in others)
    return float(np.median(first)), dict(zip(list(seconds)[1:], ratios, strict=True))


def machine() -> str:
    """Returns the processor, its cores and the memory, in a line."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [x.split(":")[1] for x in file if "model name" in x]
        processor = names[0].strip()
    except (OSError, IndexError):
        pass
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{processor}, {os.cpu_count()} cores, {pages / 2**30:.0f} GiB"
