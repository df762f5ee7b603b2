"""Whether a classifier's robustness is real: the checks of qup/masking."""

import dataclasses
import json
import logging
import math
from collections.abc import Sequence

import numpy as np

from qup import masking, measurements
from qup.components import artifacts
from qup.components.artifacts import (
    Diagnosis,
    Examples,
    Model,
    ModelEvaluation,
)
from qup.datasets import examples as files_of_examples
from qup.evaluation import Accuracy
from qup.masking import finding
from qup.masking.finding import Finding
from qup.orchestration import In, Out, component
from qup.subjects import Subject

_log = logging.getLogger("qup")
_VALUES = {
    finding.PASSED: 0.0, finding.FLAGGED: 1.0, finding.NOT_CHECKED: math.nan,
}  # fmt: skip


@component
def Diagnoser(
    examples: In[Examples],
    model: In[Model],
    diagnosis: Out[Diagnosis],
    evaluation: Out[ModelEvaluation],
    *,
    epsilon: float,
    num_images: int = 200,
    split: str = "test",
    batch_size: int = 128,
    seed: int = 0,
) -> None:
    """Makes every check of masking on the first images of a split.

    Args:
      examples: The images.
      model: The classifier.
      diagnosis: findings.json, and the curves in arrays.npz.
      evaluation: A row a check, "masking": 1 flagged, 0 passed, NaN not
        checked; names and words of all in masking.npz.
      epsilon: Budget in L-inf.
      num_images: How many images.
      split: Where they are from.
      batch_size: Images a batch.
      seed: Of everything random.
    """
    data = files_of_examples.read(examples.path)
    images, labels, _ = (a[:num_images] for a in data.arrays(split))
    findings = masking.diagnose(
        artifacts.load_classifier(model.path),
        images / np.float32(255),
        labels,
        epsilon=epsilon,
        batch_size=batch_size,
        seed=seed,
        tick=lambda found: _log.info("%s: %s", found.name, found.status),
    )
    told = [
        {
            "name": found.name,
            "status": found.status,
            "words": found.words,
            "values": {key: float(x) for key, x in found.values.items()},
            "n": found.n,
        }
        for found in findings
    ]
    text = json.dumps({"epsilon": epsilon, "findings": told}, indent=1)
    (diagnosis.path / "findings.json").write_text(text, encoding="utf-8")
    arrays = {
        f"{found.name}_{key}": value
        for found in findings
        for key, value in found.arrays.items()
    }
    np.savez(diagnosis.path / "arrays.npz", **arrays)
    _keep(artifacts.subject(model.path), split, epsilon, findings, evaluation)


def _keep(
    subject: Subject,
    split: str,
    epsilon: float,
    findings: Sequence[Finding],
    evaluation: ModelEvaluation,
) -> None:
    """Writes the findings as rows, their words beside them."""
    subject = subject.such(split=split, evaluation="masking")
    rows = [
        dataclasses.replace(
            subject.such(check=found.name).row(
                "masking", Accuracy(_VALUES[found.status], None, found.n)
            ),
            epsilon=epsilon,
            artifact="masking.npz",
        )
        for found in findings
    ]
    measurements.write(evaluation.path / "measurements.csv", rows)
    np.savez(
        evaluation.path / "masking.npz",
        names=np.array([found.name for found in findings]),
        words=np.array([found.words for found in findings]),
    )
