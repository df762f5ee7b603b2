"""Copies a reproduction's results into a folder that can be published.

    qup publish runs/reproduce-cpu --output=docs/results/cpu

Rows, arrays, the report and the lineage are copied, artifacts are not; user,
host and absolute paths are omitted.
`qup report` and `qup lineage` read the copy like the original.
"""

import pathlib

from absl import flags

from qup.cli import program
from qup.core import errors
from qup.core.interruption import SignalGuard


def define_flags() -> None:
    """Defines --output."""
    flags.DEFINE_string("output", None, "The folder; required.")


def main(path: str) -> str:
    """Publishes the folder `path`; returns where the report is."""
    if not flags.FLAGS.output:
        raise errors.InputError("Name the folder to copy to: --output=DIR.")
    program.start_tensorflow()
    with SignalGuard():
        from qup.reproduction import publishing

    pages = publishing.publish(pathlib.Path(path), pathlib.Path(flags.FLAGS.output))
    return "\n".join(f"Report  {page}" for page in pages)


def run() -> None:
    """Runs the command."""
    program.run_query(main)
