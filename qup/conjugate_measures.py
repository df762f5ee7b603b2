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
from qup.conjugates import TABLE
from qup.evaluation import Accuracy, binomial
from qup.measures import spectrum
from qup.types import LogitsFn

WINDOWS = ("literal", "symmetric")


class Measured(NamedTuple):
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
    spectra: dict[str, spectrum.Averages]


def measured(
    name: str,
    logits_fn: LogitsFn,
    images: np.ndarray,
    labels: np.ndarray,
    ids: np.ndarray,
    *,
    grey: str = "luma",
    batch_size: int = 50,
    **options: Any,
) -> Measured:
    """Attacks images in one way of Table 4.

    Args:
      name: A key of `TABLE`.
      logits_fn: The classifier.
      images: float32 [n, height, width, channels] in [0, 1], classified
        rightly, n at least 1.
      labels: int [n], the true classes.
      ids: int64 [n], the images' own numbers.
      grey: How three channels become one, see `spectrum.grey`.
      batch_size: Images at a time.
      **options: See `conjugates.options_of`.
    """
    result = attacks.run(
        name, logits_fn, images, labels, ids=ids, batch_size=batch_size,
        **options,
    )  # fmt: skip
    moved = np.asarray(result.images) - images
    fields = {"perturbation": moved}
    if TABLE[name].symbol:
        fields["conjugate"] = _conjugates(
            name, logits_fn, images, labels, ids, batch_size, options
        )
    broken = result.success
    windows = {kind: spectrum.window(images.shape[1:3], kind)
               for kind in WINDOWS}  # fmt: skip
    spectra = {}
    for key, field in fields.items():
        spectra[key] = spectrum.Averages(windows, grey)
        spectra[key].add(field)
    cosines = _cosines(moved[broken], fields.get("conjugate", moved)[broken])
    return Measured(
        binomial(float(broken.sum()), len(labels)),
        {norm: robustness.mean(far[broken])
         for norm, far in result.distances.items() if broken.any()},
        robustness.mean(cosines)
        if "conjugate" in fields and cosines.size else None,
        spectra,
    )  # fmt: skip


def _conjugates(
    name: str, logits_fn: LogitsFn, images, labels, ids, size: int, options
) -> np.ndarray:
    """Returns the conjugates of all images; one batch shape for all."""
    size, found = min(size, len(labels)), []
    for start in range(0, len(labels), size):
        # What is too much repeats the last image.
        rows = np.minimum(np.arange(start, start + size), len(labels) - 1)
        batch = attacks.conjugate(
            name, logits_fn, tf.constant(images[rows]),
            tf.constant(labels[rows]), ids=ids[rows], **options,
        )  # fmt: skip
        found.append(batch.numpy())
    return np.concatenate(found)[: len(labels)]


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns |cos| of fields [n, ...] that are not 0: float64 [at most n]."""
    one, other = (
        x.reshape(len(x), int(np.prod(x.shape[1:]))).astype(np.float64)
        for x in (one, other)
    )
    sizes = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    some = sizes > 0
    return np.abs((one * other).sum(1)[some]) / sizes[some]
