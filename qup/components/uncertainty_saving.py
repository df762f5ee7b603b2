"""Measured relations as the files of an `UncertaintyMap`."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from qup.components import uncertainty_case
from qup.components.uncertainty_case import Case
from qup.measures.uncertainty import Relation, matrix, records
from qup.measures.uncertainty.matrix import MatrixForm
from qup.subjects import Subject


def save(
    case: Case,
    found: Mapping[str, Relation],
    subject: Subject,
    setting: Mapping[str, Any],
    folder: pathlib.Path,
) -> None:
    """Writes the relations with their checks, and what was measured.

    Args:
      case: What was measured.
      found: By estimator.
      subject: Whose packet it is.
      setting: What else is to be told: JSON values, "domain" among them.
      folder: Of an `UncertaintyMap`.
    """
    told = {
        "refused": {}, **setting, "dataset": subject.dataset,
        "model": subject.model, "epochs": subject.epochs,
        "seed": subject.seed, "image_shape": list(case.shape),
    }  # fmt: skip
    (folder / "setting.json").write_text(
        json.dumps(told, indent=1), encoding="utf-8"
    )
    told["domain_text"] = told.pop("domain")
    others = []
    for name, relation in found.items():
        faces = case.faces(relation)
        checks = uncertainty_case.checked(relation, faces, others)
        others.append(relation)
        form = None
        if len(relation.axes.directions) > 1:
            form = matrix.form(relation)
            _save_matrix(folder / "matrices" / f"{name}.npz", relation, form)
        records.save(
            folder / f"{name}.npz", relation, **told, faces=faces,
            checks=checks, matrix=_eigenvalues(form),
        )  # fmt: skip


def _save_matrix(path: pathlib.Path, found: Relation, form: MatrixForm) -> None:
    """Writes the matrix form, each matrix [k, k] with its errors."""
    path.parent.mkdir(exist_ok=True)
    names = found.axes.names[len(found.axes.pixels) :]
    arrays = {"axes": np.array(names)}
    for field in dataclasses.fields(form):
        estimate = getattr(form, field.name)
        arrays[field.name] = estimate.value
        arrays[f"{field.name}_stderr"] = estimate.stderr
    np.savez(path, **arrays)


def _eigenvalues(form: MatrixForm | None) -> dict[str, Any] | None:
    """Returns the smallest eigenvalues of a matrix form as JSON values.

    Returns:
      "count" of directions; "least" and "least_vanishing", see `MatrixForm`,
      pairs of a value and its error. None without a form.
    """
    if form is None:
        return None
    told: dict[str, Any] = {"count": len(form.sigma.value)}
    for name in ("least", "least_vanishing"):
        of = getattr(form, name)
        told[name] = [float(of.value), float(of.stderr)]
    return told
