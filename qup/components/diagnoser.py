"""Whether a classifier's robustness is real: the checks of qup/masking."""

import dataclasses
import json
import logging
import math
from collections.abc import Sequence

import numpy as np

from qup import masking, measurements
from qup.components import artifacts
from qup.components.artifacts import Diagnosis, Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.evaluation import Accuracy
from qup.masking import finding
from qup.masking.finding import CheckResult
from qup.orchestration import In, Out, component
from qup.subjects import ModelInfo

_log = logging.getLogger("qup")
_STATUS_VALUES = {finding.PASSED: 0.0, finding.FLAGGED: 1.0, finding.NOT_CHECKED: math.nan}


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
    images, labels, _ = (a[:num_images] for a in data.get_arrays(split))
    check_results = masking.diagnose(
        artifacts.load_classifier(model.path),
        images / np.float32(255),
        labels,
        epsilon=epsilon,
        batch_size=batch_size,
        seed=seed,
        on_progress=lambda result: _log.info("%s: %s", result.name, result.status),
    )
    result_records = [
        {
            "name": result.name,
            "status": result.status,
            "words": result.message,
            "values": {key: float(x) for key, x in result.values.items()},
            "n": result.n,
        }
        for result in check_results
    ]
    text = json.dumps({"epsilon": epsilon, "findings": result_records}, indent=1)
    (diagnosis.path / "findings.json").write_text(text, encoding="utf-8")
    arrays = {
        f"{result.name}_{key}": value
        for result in check_results
        for key, value in result.arrays.items()
    }
    np.savez(diagnosis.path / "arrays.npz", **arrays)
    _write_check_rows(
        artifacts.load_model_info(model.path), split, epsilon, check_results, evaluation
    )


def _write_check_rows(
    model_info: ModelInfo,
    split: str,
    epsilon: float,
    check_results: Sequence[CheckResult],
    evaluation: ModelEvaluation,
) -> None:
    """Writes the findings as rows, their words beside them."""
    model_info = model_info.with_parameters(split=split, evaluation="masking")
    rows = [
        dataclasses.replace(
            model_info.with_parameters(check=result.name).build_row(
                "masking", Accuracy(_STATUS_VALUES[result.status], None, result.n)
            ),
            epsilon=epsilon,
            artifact="masking.npz",
        )
        for result in check_results
    ]
    measurements.write_rows(evaluation.path / "measurements.csv", rows)
    np.savez(
        evaluation.path / "masking.npz",
        names=np.array([result.name for result in check_results]),
        words=np.array([result.message for result in check_results]),
    )
