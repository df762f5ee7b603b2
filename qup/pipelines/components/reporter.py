"""The table of all rows of a run, and its figures."""

import dataclasses

import numpy as np

from qup.orchestration import In, Out, component
from qup.pipelines import figures
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import ModelAnalysis, ModelEvaluation, Report


@component
def Reporter(
    evaluations: In[list[ModelEvaluation]], analyses: In[list[ModelAnalysis]], report: Out[Report]
) -> None:
    """Collects the rows of a run, and plots its analyses.

    Args:
      evaluations: Rows of every classifier.
      analyses: Of every classifier's iterates X_n.
      report: measurements.csv; and images-epoch-*.png and
        trajectory-epoch-*.png per analysis, by the epochs of its classifier.
    """
    rows = artifacts.read_rows((*evaluations, *analyses))
    # The files that rows refer to are not in the report.
    artifacts.write_rows(report, [dataclasses.replace(row, artifact="") for row in rows])
    for analysis in analyses:
        analysis_rows = artifacts.read_rows([analysis])
        name = f"epoch-{analysis_rows[0].epochs}.png"
        figure = figures.plot_trajectory(analysis_rows)
        figure.savefig(report.path / f"trajectory-{name}", dpi=120)
        with np.load(analysis.path / "images.npz") as arrays:
            sheet_figure = figures.plot_stage_images(figures.build_stage_images(arrays))
        sheet_figure.savefig(report.path / f"images-{name}", dpi=120)
