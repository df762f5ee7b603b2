"""Step 9: one table of all rows, and the figures."""

import dataclasses

import numpy as np

from qup import figures, measurements
from qup.components.artifacts import ModelAnalysis, ModelEvaluation, Report
from qup.orchestration import In, Out, component


@component
def Reporter(
    evaluations: In[list[ModelEvaluation]],
    analyses: In[list[ModelAnalysis]],
    report: Out[Report],
) -> None:
    """Puts together what a run measured.

    Args:
      evaluations: Of every classifier.
      analyses: Of every walk.
      report: measurements.csv, and of each walk, named by the epochs of its
        classifier, images-epoch-*.png and trajectory-epoch-*.png.
    """
    rows = []
    for held in (*evaluations, *analyses):
        rows += measurements.read(held.path / "measurements.csv")
    # What they name is not beside the table.
    rows = [dataclasses.replace(row, artifact="") for row in rows]
    measurements.write(report.path / "measurements.csv", rows)
    for analysis in analyses:
        own = measurements.read(analysis.path / "measurements.csv")
        name = f"epoch-{own[0].epochs}.png"
        figure = figures.trajectory(own)
        figure.savefig(report.path / f"trajectory-{name}", dpi=120)
        with np.load(analysis.path / "images.npz") as arrays:
            sheet = figures.sheet(figures.stages(arrays))
        sheet.savefig(report.path / f"images-{name}", dpi=120)
