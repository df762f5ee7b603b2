"""Attacks a stream of images with an output folder and measures the growth of memory.

    python -m benchmarks.attacks.streaming 20000

Prints MiB: the peak memory of the process after this number of images, minus its peak after the
first shard, when everything is compiled.
"""

import pathlib
import re
import sys
import tempfile
from collections.abc import Iterator

import numpy as np

from qup import attacks, models
from qup.core import types

_BATCH = 128
_SHAPE = (28, 28, 1)


def _generate_images(count: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        yield rng.random((size, *_SHAPE), np.float32)


def _measure_peak_memory(model, count: int) -> float:
    labels = np.arange(count) % 10
    with tempfile.TemporaryDirectory() as folder:
        attacks.run(
            "pgd",
            model,
            _generate_images(count),
            labels,
            batch_size=_BATCH,
            epsilon=0.1,
            num_steps=10,
            random_start=False,
            output=folder,
        )
    # Not ru_maxrss of getrusage, which includes the memory of the parent process.
    status = pathlib.Path("/proc/self/status").read_text()
    return float(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def main() -> None:
    """Prints the growth in MiB."""
    info = types.DatasetInfo("noise", _SHAPE, tuple("0123456789"))
    model = models.build("convnet", info)
    before = _measure_peak_memory(model, 4 * _BATCH)
    print(_measure_peak_memory(model, int(sys.argv[1])) - before)


if __name__ == "__main__":
    main()
