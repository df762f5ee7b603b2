"""Step 8: the uncertainty relation of a network, measured (Eqs. 7-20)."""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from qup import errors, measurements, uncertainty_rows
from qup.components import (
    artifacts,
    uncertainty_case,
    uncertainty_places,
    uncertainty_saving,
)
from qup.components.artifacts import (
    Examples,
    Model,
    ModelEvaluation,
    UncertaintyMap,
)
from qup.components.uncertainty_case import Case
from qup.datasets import examples as files_of_examples
from qup.measurements import Row
from qup.measures.uncertainty import Relation, TooFewError
from qup.measures.uncertainty.axes import Axes
from qup.orchestration import In, Out, Place, component
from qup.subjects import Subject
from qup.types import LogitsFn

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
    directions_file: Place[str | None] = None,
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
    data = files_of_examples.read(examples.path)
    subject = artifacts.subject(model.path)
    classifier = _loaded(str(model.path), model.properties.get("content"))
    case = uncertainty_case.opened(classifier, data, setting, sizes, seed)
    axes, named = uncertainty_places.lines(
        case.packet, case.place, directions,
        file=directions_file, seed=seed, required=required,
    )  # fmt: skip
    found, refused = _estimated(case, axes, estimators, instead)
    reasons = {name: str(error) for name, error in refused.items()}
    if required and not found:
        raise errors.InputError(" ".join(dict.fromkeys(reasons.values())))
    subject = dataclasses.replace(subject, seed=seed).such(**setting)
    told = {**setting, "refused": reasons, "sampler": sampler}
    uncertainty_saving.save(case, found, subject, told, relations.path)
    rows = []
    for name, relation in found.items():
        rows += uncertainty_rows.of_relation(
            subject, relation, named=named, artifact=f"{name}.npz"
        )
    rows += _refusals(subject, refused)
    measurements.write(evaluation.path / "measurements.csv", rows)


def _refusals(
    subject: Subject, refused: Mapping[str, errors.InputError]
) -> list[Row]:
    return [
        uncertainty_rows.of_refusal(subject, name, error)
        for name, error in refused.items()
        if isinstance(error, TooFewError)
    ]


@functools.lru_cache(maxsize=2)
def _loaded(path: str, content: str | None) -> LogitsFn:
    """Returns a classifier; its programs are compiled once for many nodes."""
    del content
    return artifacts.load_classifier(pathlib.Path(path))


def _estimated(
    case: Case, axes: Axes, estimators: Sequence[str], instead: str | None
) -> tuple[dict[str, Relation], dict[str, errors.InputError]]:
    """Returns what was found and what was refused, by estimator."""
    found, refused = {}, {}
    for name in [*estimators, *([instead] if instead else [])]:
        if found and name not in estimators:
            break
        try:
            found[name] = case.estimate(name, axes)
        except errors.InputError as error:
            refused[name] = error
            _log.info("%s gives nothing: %s", name, error)
    return found, refused
