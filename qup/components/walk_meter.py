"""Supplement, Fig. 2: TA and RA of the walked training images alone."""

import json
from typing import Any

from qup import measurements, walk_rows
from qup.components import artifacts
from qup.components.artifacts import Model, ModelEvaluation, Trajectory
from qup.orchestration import In, Out, component


@component
def WalkMeter(
    model: In[Model],
    trajectory: In[Trajectory],
    evaluation: Out[ModelEvaluation],
    *,
    attack: dict[str, Any],
    row_parameters: dict[str, Any],
) -> None:
    """Gives the numbers of a walk that no translator has learnt.

    Args:
      model: The classifier.
      trajectory: What was counted.
      evaluation: Its rows: those of `Analyzer`, with "figure":"supp_fig2".
      attack: Options of the attack on X_n.
      row_parameters: What its rows tell beside the classifier's.
    """
    model_info = artifacts.load_model_info(model.path).with_parameters(
        figure="supp_fig2", **row_parameters
    )
    trajectory_counts = json.loads((trajectory.path / "trajectory.json").read_text())
    rows = walk_rows.build_trajectory_rows(model_info, trajectory_counts, attack)
    measurements.write_rows(evaluation.path / "measurements.csv", rows)
