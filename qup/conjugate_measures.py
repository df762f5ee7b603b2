"""The attacks of Table 4 on many images: sizes, cosines and spectra.

```python
found = measured("deepfool", classifier, images, labels, ids)
found.cosine  # how far the perturbation lies along its conjugate
```
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup import attacks, robustness
from qup.conjugates import TABLE_4
from qup.evaluation import Accuracy, compute_accuracy
from qup.measures import spectrum
from qup.types import LogitsFn

WINDOWS = ("literal", "symmetric")


class ConjugateMeasures(NamedTuple):
    """What one attack did to many images.

    Attributes:
      success: Share of the images that it broke, in percent.
      norms: "l0" (elements), "l1", "l2" and "linf" of the perturbation, in
        units of [0, 1]: means over what was broken; empty where nothing was.
      cosine: Mean of |cos| between perturbation and conjugate over what was
        broken; None without.
      spectra: "perturbation" and, where one is known, "conjugate".
    """

    success: Accuracy
    norms: dict[str, Accuracy]
    cosine: Accuracy | None
    spectra: dict[str, spectrum.SpectrumAccumulator]


def measure_attack(
    name: str,
    logits_fn: LogitsFn,
    images: np.ndarray,
    labels: np.ndarray,
    ids: np.ndarray,
    *,
    grey: str = "luma",
    batch_size: int = 50,
    **options: Any,
) -> ConjugateMeasures:
    """Attacks images in one way of Table 4.

    Args:
      name: A key of `TABLE_4`.
      logits_fn: The classifier.
      images: float32 [n, height, width, channels] in [0, 1], classified
        rightly, n at least 1.
      labels: int [n], the true classes.
      ids: int64 [n], the images' own numbers.
      grey: How three channels become one, see `spectrum.grey`.
      batch_size: Images at a time.
      **options: See `conjugates.options_of`.
    """
    result = attacks.run(name, logits_fn, images, labels, ids=ids, batch_size=batch_size, **options)
    perturbations = np.asarray(result.images) - images
    fields = {"perturbation": perturbations}
    if TABLE_4[name].symbol:
        fields["conjugate"] = _compute_conjugates(
            name, logits_fn, images, labels, ids, batch_size, options
        )
    adversarial = result.success
    windows = {kind: spectrum.compute_window(images.shape[1:3], kind) for kind in WINDOWS}
    spectra = {}
    for key, field in fields.items():
        spectra[key] = spectrum.SpectrumAccumulator(windows, grey)
        spectra[key].add(field)
    cosines = _compute_abs_cosines(
        perturbations[adversarial], fields.get("conjugate", perturbations)[adversarial]
    )
    return ConjugateMeasures(
        compute_accuracy(float(adversarial.sum()), len(labels)),
        {
            norm: robustness.compute_mean(distances[adversarial])
            for norm, distances in result.distances.items()
            if adversarial.any()
        },
        robustness.compute_mean(cosines) if "conjugate" in fields and cosines.size else None,
        spectra,
    )


def _compute_conjugates(
    name: str, logits_fn: LogitsFn, images, labels, ids, size: int, options
) -> np.ndarray:
    """Returns the conjugates of all images; one batch shape for all."""
    size, conjugates = min(size, len(labels)), []
    for start in range(0, len(labels), size):
        # What is too much repeats the last image.
        rows = np.minimum(np.arange(start, start + size), len(labels) - 1)
        batch = attacks.conjugate(
            name,
            logits_fn,
            tf.constant(images[rows]),
            tf.constant(labels[rows]),
            ids=ids[rows],
            **options,
        )
        conjugates.append(batch.numpy())
    return np.concatenate(conjugates)[: len(labels)]


def _compute_abs_cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns |cos| of fields [n, ...] that are not 0: float64 [at most n]."""
    first, second = (
        x.reshape(len(x), int(np.prod(x.shape[1:]))).astype(np.float64) for x in (first, second)
    )
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    is_nonzero = lengths > 0
    return np.abs((first * second).sum(1)[is_nonzero]) / lengths[is_nonzero]
