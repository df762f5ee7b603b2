"""Attacks a stream of images into a folder; tells by what memory grew.

    python -m benchmarks.attacks.streaming 20000

Prints MiB: the process's peak after that many images, less its peak after
the first shard, when everything is compiled.
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


def _images(count: int) -> Iterator[np.ndarray]:
    draws = np.random.default_rng(0)
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        yield draws.random((size, *_SHAPE), np.float32)


def _peak(model, count: int) -> float:
    labels = np.arange(count) % 10
    with tempfile.TemporaryDirectory() as folder:
        attacks.run(
            "pgd",
            model,
            _images(count),
            labels,
            batch_size=_BATCH,
            epsilon=0.1,
            num_steps=10,
            output=folder,
        )
    # Not getrusage's ru_maxrss, which begins with what the parent held.
    status = pathlib.Path("/proc/self/status").read_text()
    return float(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def main() -> None:
    """Prints the growth in MiB."""
    info = types.DatasetInfo("noise", _SHAPE, tuple("0123456789"))
    model = models.build("convnet", info)
    before = _peak(model, 4 * _BATCH)
    print(_peak(model, int(sys.argv[1])) - before)


if __name__ == "__main__":
    main()
