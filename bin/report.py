"""Writes the report of a reproduction anew, from its measurements alone.

    python -m bin.report runs/reproduce-cpu
    python -m bin.report docs/results/cpu --output=runs/report

Nothing is trained or attacked. The folder holds measurements.csv,
sources.json, reproduction.json and arrays/, as `bin.reproduce` writes them.
"""

import pathlib

from absl import flags

from bin import reading, starting
from qup.core import errors
from qup.core.interruption import SignalGuard

_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder of the report. Default: report/ in the folder."
)


def main(path: str) -> str:
    """Writes the report of the folder `path`; returns where it is."""
    starting.start_tensorflow()
    with SignalGuard():
        from qup.reproduction.report import render as writing
        from qup.reproduction.report.data import ReportData

    folder = pathlib.Path(path)
    target = pathlib.Path(_OUTPUT.value or folder / "report")
    try:
        pages = writing.write_report(ReportData.read(folder), target)
    except errors.InputError as error:
        raise flags.Error(str(error)) from error
    return "\n".join(f"Report  {page}" for page in pages)


if __name__ == "__main__":
    reading.run(main)
