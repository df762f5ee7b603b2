"""Copies a reproduction's results into a folder to commit or to hand on.

    python -m bin.publish runs/reproduce-cpu --output=docs/results/cpu

Rows, arrays, the report and the lineage are copied, artifacts are not; user,
host and absolute paths are left out. `bin.report` and `bin.show_lineage` read
the copy as they read the original.
"""

import pathlib

from absl import flags

from bin import reading, starting
from qup.core import errors
from qup.core.interruption import SignalGuard

_OUTPUT = flags.DEFINE_string("output", None, "The folder; required.")


def main(path: str) -> str:
    """Publishes the folder `path`; returns where the report is."""
    if not _OUTPUT.value:
        raise flags.Error("Name the folder to copy to: --output=DIR.")
    starting.start_tensorflow()
    with SignalGuard():
        from qup.reproduction import publishing

    try:
        pages = publishing.publish(pathlib.Path(path), pathlib.Path(_OUTPUT.value))
    except errors.InputError as error:
        raise flags.Error(str(error)) from error
    return "\n".join(f"Report  {page}" for page in pages)


if __name__ == "__main__":
    reading.run(main)
