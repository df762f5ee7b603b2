"""Components that measure the uncertainty relation of networks (Eqs. 7-20) and report it."""

import dataclasses
import functools
import json
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

from qup.core import errors
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
    """Measures both sides of the relation along all axes, and checks the results.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: Rows of `measurements.build_relation_rows`.
      relations: See `UncertaintyMap`.
      setting: See `estimation`; and "control", the name of a control, "" for other networks.
      estimators: "importance", "mcmc" or both, which are then compared.
      instead: The estimator to run if these give no result.
      required: Raise an error if no estimator gives a result; otherwise only record the reasons.
      sizes: See `EstimationTask`.
      sampler: Version of the library of MCMC kernels, on which estimates depend.
      directions: See `estimation.choose_axes`.
      directions_file: See `estimation.choose_axes`.
      seed: Of all random numbers.
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
    rows += [
        measurements.build_refusal_row(subject, name, error)
        for name, error in errors_by_estimator.items()
        if isinstance(error, TooFewError)
    ]
    artifacts.write_rows(evaluation, rows)


@functools.lru_cache(maxsize=2)
def _load_classifier(path: str, content: str | None) -> LogitsFn:
    """Returns a classifier from a cache, so that many nodes compile its programs once."""
    del content  # A key of the cache.
    return artifacts.load_classifier(pathlib.Path(path))


def _run_estimators(
    task: EstimationTask, axes: Axes, estimators: Sequence[str], fallback: str | None
) -> tuple[dict[str, Relation], dict[str, errors.InputError]]:
    """Returns relations and errors by estimator."""
    by_estimator, errors_by_estimator = {}, {}
    for name in [*estimators, *([fallback] if fallback else [])]:
        if by_estimator and name not in estimators:
            break
        try:
            by_estimator[name] = task.estimate(name, axes)
        except errors.InputError as error:
            errors_by_estimator[name] = error
            _log.info("%s has no result: %s", name, error)
    return by_estimator, errors_by_estimator


@component
def UncertaintyReporter(
    relations: In[list[UncertaintyMap]],
    evaluations: In[list[ModelEvaluation]],
    report: Out[UncertaintyReport],
) -> None:
    """Writes the summary and the figures of a run.

    Args:
      relations: Of every network, label and domain.
      evaluations: Rows of the relations and of the networks' accuracies.
      report: findings.md, and a PNG per figure.
    """
    pairs = [
        records.load(path) for relation in relations for path in sorted(relation.path.glob("*.npz"))
    ]
    settings = [
        json.loads((relation.path / "setting.json").read_text(encoding="utf-8"))
        for relation in relations
    ]
    rows = artifacts.read_rows(evaluations)
    summary = format_summary(pairs, rows, settings)
    (report.path / "findings.md").write_text(f"{summary}\n", encoding="utf-8")
    for name, figure in figures.plot_relations(pairs, rows).items():
        figure.savefig(report.path / f"{name}.png", dpi=120)
