"""Step 9: one table of all rows, and the figures."""

import dataclasses

import numpy as np

from qup.core import measurements
from qup.orchestration import In, Out, component
from qup.pipelines import figures
from qup.pipelines.components.artifacts import ModelAnalysis, ModelEvaluation, Report


@component
def Reporter(
    evaluations: In[list[ModelEvaluation]], analyses: In[list[ModelAnalysis]], report: Out[Report]
) -> None:
    """Puts together what a run measured.

    Args:
      evaluations: Of every classifier.
      analyses: Of every walk.
      report: measurements.csv, and of each walk, named by the epochs of its
        classifier, images-epoch-*.png and trajectory-epoch-*.png.
    """
    rows = []
    for source in (*evaluations, *analyses):
        rows += measurements.read_rows(source.path / "measurements.csv")
    # What they name is not beside the table.
    rows = [dataclasses.replace(row, artifact="") for row in rows]
    measurements.write_rows(report.path / "measurements.csv", rows)
    for analysis in analyses:
        analysis_rows = measurements.read_rows(analysis.path / "measurements.csv")
        name = f"epoch-{analysis_rows[0].epochs}.png"
        figure = figures.plot_trajectory(analysis_rows)
        figure.savefig(report.path / f"trajectory-{name}", dpi=120)
        with np.load(analysis.path / "images.npz") as arrays:
            sheet_figure = figures.plot_stage_images(figures.build_stage_images(arrays))
        sheet_figure.savefig(report.path / f"images-{name}", dpi=120)
