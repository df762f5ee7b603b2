"""Step 8: the uncertainty relation of a network, measured (Eqs. 7-20)."""

import dataclasses
import functools
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from qup.core import errors
from qup.core import measurements as core_measurements
from qup.core.measurements import ModelInfo, Row
from qup.core.types import LogitsFn
from qup.datasets import examples as example_files
from qup.orchestration import In, Location, Out, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import (
    Examples,
    Model,
    ModelEvaluation,
    UncertaintyMap,
    UncertaintyReport,
)
from qup.uncertainty import Relation, TooFewError, estimation, figures, measurements, records
from qup.uncertainty.axes import Axes
from qup.uncertainty.estimation import EstimationTask
from qup.uncertainty.summary import format_summary

_log = logging.getLogger("qup")


@component
def UncertaintyAnalyzer(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    relations: Out[UncertaintyMap],
    *,
    setting: dict[str, Any],
    estimators: list[str],
    instead: str | None = None,
    required: bool = True,
    sizes: dict[str, int],
    sampler: str,
    directions: dict[str, Any],
    directions_file: Location[str | None] = None,
    seed: int = 0,
) -> None:
    """Measures both sides of the relation, and checks what it measured.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: Its rows, see `uncertainty_rows.of_relation`.
      relations: All axes; see `UncertaintyMap`.
      setting: See `uncertainty_case.opened`; and "control", what the network
        is there for, "" for one that is of interest itself.
      estimators: "importance", "mcmc" or both, which are then compared.
      instead: The one to take where these give nothing.
      required: Whether it is an error that all refuse; else it is noted.
      sizes: "num_samples", "num_chains", "num_steps" and "num_faces".
      sampler: Version of the library whose chains walk: another one is
        another estimate.
      directions: See `uncertainty_places.lines`.
      directions_file: The same.
      seed: Of everything random.
    """
    data = example_files.read(examples.path)
    subject = artifacts.load_model_info(model.path)
    classifier = _load_classifier(str(model.path), model.properties.get("content"))
    task = estimation.build_task(classifier, data, setting, sizes, seed)
    axes, named_axes = estimation.choose_axes(
        task.packet,
        task.location,
        directions,
        directions_file=directions_file,
        seed=seed,
        required=required,
    )
    by_estimator, errors_by_estimator = _run_estimators(task, axes, estimators, instead)
    reasons = {name: str(error) for name, error in errors_by_estimator.items()}
    if required and not by_estimator:
        raise errors.InputError(" ".join(dict.fromkeys(reasons.values())))
    subject = dataclasses.replace(subject, seed=seed).with_parameters(**setting)
    metadata = {**setting, "refused": reasons, "sampler": sampler}
    estimation.save_relations(task, by_estimator, subject, metadata, relations.path)
    rows = []
    for name, relation in by_estimator.items():
        rows += measurements.build_relation_rows(
            subject, relation, named_axes=named_axes, artifact=f"{name}.npz"
        )
    rows += _build_refusal_rows(subject, errors_by_estimator)
    core_measurements.write_rows(evaluation.path / "measurements.csv", rows)


def _build_refusal_rows(
    subject: ModelInfo, errors_by_estimator: Mapping[str, errors.InputError]
) -> list[Row]:
    return [
        measurements.build_refusal_row(subject, name, error)
        for name, error in errors_by_estimator.items()
        if isinstance(error, TooFewError)
    ]


@functools.lru_cache(maxsize=2)
def _load_classifier(path: str, content: str | None) -> LogitsFn:
    """Returns a classifier; its programs are compiled once for many nodes."""
    del content
    return artifacts.load_classifier(pathlib.Path(path))


def _run_estimators(
    task: EstimationTask, axes: Axes, estimators: Sequence[str], fallback: str | None
) -> tuple[dict[str, Relation], dict[str, errors.InputError]]:
    """Returns what was found and what was refused, by estimator."""
    by_estimator, errors_by_estimator = {}, {}
    for name in [*estimators, *([fallback] if fallback else [])]:
        if by_estimator and name not in estimators:
            break
        try:
            by_estimator[name] = task.estimate(name, axes)
        except errors.InputError as error:
            errors_by_estimator[name] = error
            _log.info("%s gives nothing: %s", name, error)
    return by_estimator, errors_by_estimator


# Step 9: what was found of the uncertainty relation, drawn and in words.


@component
def UncertaintyReporter(
    relations: In[list[UncertaintyMap]],
    evaluations: In[list[ModelEvaluation]],
    report: Out[UncertaintyReport],
) -> None:
    """Puts together what a run measured.

    Args:
      relations: Of every network, label and domain.
      evaluations: Their rows, and those of the networks' accuracies.
      report: findings.md, and a PNG of each figure.
    """
    pairs = [
        records.load(path) for relation in relations for path in sorted(relation.path.glob("*.npz"))
    ]
    settings = [
        json.loads((relation.path / "setting.json").read_text(encoding="utf-8"))
        for relation in relations
    ]
    rows = [
        row
        for evaluation in evaluations
        for row in core_measurements.read_rows(evaluation.path / "measurements.csv")
    ]
    summary = format_summary(pairs, rows, settings)
    (report.path / "findings.md").write_text(f"{summary}\n", encoding="utf-8")
    for name, figure in figures.plot_relations(pairs, rows).items():
        figure.savefig(report.path / f"{name}.png", dpi=120)
