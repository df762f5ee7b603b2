"""The paper's Fig. 2 with real networks: two classes in the unit square.

Trains small networks to lower and higher accuracy, measures their packets
by quadrature in X and in P, and plots them.

    qup toy --workdir=runs/binary-toy
    qup toy --workdir=runs/binary-toy --seeds=20

It takes a minute or two. docs/uncertainty.md discusses the results.
"""

import pathlib

from absl import flags

from qup.cli import program
from qup.core.interruption import SignalGuard


def define_flags() -> None:
    """Defines all flags."""
    flags.DEFINE_string("workdir", "runs/binary-toy", "Folder of the table and the figures.")
    flags.DEFINE_integer("seeds", 5, "Number of networks.", lower_bound=1)
    flags.DEFINE_bool("smoke", False, "A small test run: few points, coarse grids.")


def main(path: str) -> str:
    """Writes into the folder `path`; returns the tables."""
    program.configure_logging()
    program.start_tensorflow()
    with SignalGuard():
        from qup.reproduction.binary_toy import pipeline

    sizes = pipeline.SMOKE_SIZES if flags.FLAGS.smoke else pipeline.ToySizes()
    return pipeline.run(pathlib.Path(path), seeds=flags.FLAGS.seeds, sizes=sizes)


def run() -> None:
    """Runs the command."""
    program.run_query(main, lambda: flags.FLAGS.workdir)
