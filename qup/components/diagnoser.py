"""Whether a classifier's robustness is real: the checks of qup/masking."""

import json
import logging

import numpy as np

from qup import masking
from qup.components import artifacts
from qup.components.artifacts import Diagnosis, Examples, Model
from qup.datasets import examples as files_of_examples
from qup.orchestration import In, Out, component

_log = logging.getLogger("qup")


@component(plugins=lambda given: {"qup.datasets": []})
def Diagnoser(
    examples: In[Examples],
    model: In[Model],
    diagnosis: Out[Diagnosis],
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
