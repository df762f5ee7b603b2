"""Writes the report of a reproduction again, from its measurements alone.

    qup report runs/reproduce-cpu
    qup report docs/results/cpu --output=runs/report

Nothing is trained or attacked. The folder contains measurements.csv,
sources.json, reproduction.json and arrays/, as `qup reproduce` writes them.
"""

import pathlib

from absl import flags

from qup.cli import program
from qup.core.interruption import SignalGuard


def define_flags() -> None:
    """Defines --output."""
    flags.DEFINE_string("output", None, "Folder of the report. Default: report/ in PATH.")


def main(path: str) -> str:
    """Writes the report of the folder `path`; returns where it is."""
    program.start_tensorflow()
    with SignalGuard():
        from qup.reproduction.report import render
        from qup.reproduction.report.data import ReportData

    folder = pathlib.Path(path)
    target = pathlib.Path(flags.FLAGS.output or folder / "report")
    pages = render.write_report(ReportData.read(folder), target)
    return "\n".join(f"Report  {page}" for page in pages)


def run() -> None:
    """Runs the command."""
    program.run_query(main)
