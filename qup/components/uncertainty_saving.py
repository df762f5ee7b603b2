"""Measured relations as the files of an `UncertaintyMap`."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from qup.components import uncertainty_case
from qup.components.uncertainty_case import EstimationTask
from qup.measures.uncertainty import Relation, matrix, records
from qup.measures.uncertainty.matrix import MatrixForm
from qup.subjects import ModelInfo


def save_relations(
    task: EstimationTask,
    by_estimator: Mapping[str, Relation],
    subject: ModelInfo,
    extra_metadata: Mapping[str, Any],
    folder: pathlib.Path,
) -> None:
    """Writes the relations with their checks, and what was measured.

    Args:
      task: What was measured.
      by_estimator: By estimator.
      subject: Whose packet it is.
      extra_metadata: What else is to be told: JSON values, "domain" among them.
      folder: Of an `UncertaintyMap`.
    """
    metadata = {
        "refused": {},
        **extra_metadata,
        "dataset": subject.dataset,
        "model": subject.model,
        "epochs": subject.epochs,
        "seed": subject.seed,
        "image_shape": list(task.shape),
    }
    (folder / "setting.json").write_text(json.dumps(metadata, indent=1), encoding="utf-8")
    metadata["domain_text"] = metadata.pop("domain")
    others = []
    for name, relation in by_estimator.items():
        faces = task.estimate_faces(relation)
        checks = uncertainty_case.run_checks(relation, faces, others)
        others.append(relation)
        form = None
        if len(relation.axes.directions) > 1:
            form = matrix.compute_matrix_form(relation)
            _save_matrix(folder / "matrices" / f"{name}.npz", relation, form)
        records.save(
            folder / f"{name}.npz",
            relation,
            **metadata,
            faces=faces,
            checks=checks,
            matrix=_eigenvalues_to_json(form),
        )


def _save_matrix(path: pathlib.Path, relation: Relation, form: MatrixForm) -> None:
    """Writes the matrix form, each matrix [k, k] with its errors."""
    path.parent.mkdir(exist_ok=True)
    names = relation.axes.names[len(relation.axes.pixels) :]
    arrays = {"axes": np.array(names)}
    for field in dataclasses.fields(form):
        estimate = getattr(form, field.name)
        arrays[field.name] = estimate.value
        arrays[f"{field.name}_stderr"] = estimate.stderr
    np.savez(path, **arrays)


def _eigenvalues_to_json(form: MatrixForm | None) -> dict[str, Any] | None:
    """Returns the smallest eigenvalues of a matrix form as JSON values.

    Returns:
      "count" of directions; "least" and "least_vanishing", see `MatrixForm`,
      pairs of a value and its error. None without a form.
    """
    if form is None:
        return None
    record: dict[str, Any] = {"count": len(form.sigma.value)}
    for name in ("least", "least_vanishing"):
        estimate = getattr(form, name)
        record[name] = [float(estimate.value), float(estimate.stderr)]
    return record
