"""The paper's Fig. 2 with real networks: two classes in the unit square.

Trains small networks to lower and higher accuracy, measures their packets
by quadrature in X and in P, and draws them.

    python -m bin.run_binary_toy --workdir=runs/binary-toy
    python -m bin.run_binary_toy --workdir=runs/binary-toy --seeds=20

It takes a minute or two. docs/uncertainty.md says what comes of it.
"""

import logging
import pathlib

from absl import flags
from absl import logging as absl_logging

from bin import reading, starting
from qup.core import errors
from qup.core.interruption import SignalGuard

_WORKDIR = flags.DEFINE_string("workdir", "runs/binary-toy", "Folder of the table and the figures.")
_SEEDS = flags.DEFINE_integer("seeds", 5, "Number of networks.", lower_bound=1)
_SMOKE = flags.DEFINE_bool("smoke", False, "Few points, coarse grids: does it work?")


def main(path: str) -> str:
    """Writes into the folder `path`; returns the tables."""
    _configure_logging()
    starting.start_tensorflow()
    with SignalGuard():
        from qup.reproduction.binary_toy import pipeline as binary_toy

    sizes = binary_toy.SMOKE_SIZES if _SMOKE.value else binary_toy.ToySizes()
    try:
        return binary_toy.run(pathlib.Path(path), seeds=_SEEDS.value, sizes=sizes)
    except errors.InputError as error:
        raise flags.Error(str(error)) from error


def _configure_logging() -> None:
    """Shows qup's own lines as they are, of other libraries only errors."""
    absl_logging.set_verbosity(absl_logging.ERROR)
    logger = logging.getLogger("qup")
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)
    logger.propagate = False


if __name__ == "__main__":
    reading.run(main, lambda: _WORKDIR.value)
