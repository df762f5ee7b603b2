"""The attacks of Table 4 and their conjugates, on one image.

```python
fields = of_image(classifier, image, label, epsilon=0.1)
fields["deepfool"].conjugate
```

The paper lists six attacks with a "possible effective conjugate" and two
black-box ones for which it gives none.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks import losses
from qup.core import compilation
from qup.core.measurements import Accuracy, compute_accuracy
from qup.core.types import LogitsFn
from qup.robustness import evaluation, spectrum


class Conjugate(NamedTuple):
    """What the paper's table gives for an attack.

    Attributes:
      symbol: In its notation, with formulas between $; None where it gives
        none.
      description: The same without formulas.
    """

    symbol: str | None
    description: str


_NO_CONJUGATE = Conjugate(None, "none is known")
TABLE_4 = {
    "one_step_target_class": Conjugate(
        r"sign$(\nabla_X l(f(X), y_{target}))$", "sign of the gradient of the target's loss"
    ),
    "basic_iterative": Conjugate(
        r"$\alpha$ sign$(\nabla_X l(f(X_N), y_{true}))$",
        "sign of the gradient of the true label's loss at X_N",
    ),
    "iterative_least_likely_class": Conjugate(
        r"$\alpha$ sign$(\nabla_X l(f(X_N), y_{LL}))$",
        "sign of the gradient of the least likely label's loss at X_N",
    ),
    "jsma": Conjugate(r"saliency map $S(\nabla f, y)$", "saliency map of the class Jacobian"),
    "deepfool": Conjugate(
        r"$w'_{\hat l} = \nabla f_{\hat l} - \nabla f_{\hat k}$",
        "difference of two logits' gradients",
    ),
    "sparsefool": Conjugate(
        r"$w = \nabla f_k(X_B) - \nabla f_{\hat k}(X_B)$",
        "difference of two logits' gradients at the boundary",
    ),
    "one_pixel": _NO_CONJUGATE,
    "square": _NO_CONJUGATE,
}


class AttackField(NamedTuple):
    """One attack on one image.

    Attributes:
      attacked: float32 [height, width, channels].
      perturbation: attacked less clean.
      conjugate: float32 of the same shape, or None where none is known.
      label: What the classifier says of `attacked`.
    """

    attacked: np.ndarray
    perturbation: np.ndarray
    conjugate: np.ndarray | None
    label: int


def build_default_options(name: str, *, epsilon: float, seed: int) -> dict[str, Any]:
    """Returns the options of an attack of the table: its own, but for these.

    Args:
      name: A key of `TABLE_4`.
      epsilon: Its budget, where it has one.
      seed: Of a random one.
    """
    if attacks.traits(name)["kind"] == "budget":
        return {"epsilon": epsilon, "seed": seed}
    return {"seed": seed}


def attack_image(
    logits_fn: LogitsFn, image: np.ndarray, label: int, *, epsilon: float, seed: int = 0
) -> dict[str, AttackField]:
    """Attacks an image in every way of Table 4.

    Args:
      logits_fn: The classifier.
      image: float32 [height, width, channels] in [0, 1].
      label: Its class.
      epsilon: Budget of those attacks that have one.
      seed: Of the random ones.

    Returns:
      Attack to what it did.
    """
    images, labels = tf.constant(image[None]), tf.constant([label])
    fields = {}
    for name in TABLE_4:
        options = build_default_options(name, epsilon=epsilon, seed=seed)
        perturbed = attacks.get(name)(logits_fn, images, labels, **options)
        conjugate = None
        if TABLE_4[name].symbol:
            conjugate = attacks.conjugate(name, logits_fn, images, labels, **options).numpy()[0]
        logits = compilation.predict(logits_fn, perturbed).numpy()
        fields[name] = AttackField(
            perturbed.numpy()[0], perturbed.numpy()[0] - image, conjugate, int(logits[0].argmax())
        )
    return fields


def choose_image(logits_fn: LogitsFn, images: np.ndarray, labels: np.ndarray, seed: int = 0) -> int:
    """Returns the place of an image that shows something in every row.

    Args:
      logits_fn: The classifier.
      images: float32 [n, height, width, channels] in [0, 1].
      labels: int [n].
      seed: Of the attack.

    Returns:
      An image that is classified rightly and that changing one pixel
      breaks, which most withstand: the first of those with the smallest
      lead in logits; else the first classified rightly.
    """
    logits = compilation.predict(logits_fn, images).numpy()
    correct = np.flatnonzero(logits.argmax(-1) == labels)
    if not correct.size:
        return 0
    logit_lead = -losses.margin(tf.constant(logits), tf.constant(labels)).numpy()
    candidates = correct[np.argsort(logit_lead[correct], kind="stable")[:64]]
    result = attacks.run(
        "one_pixel",
        logits_fn,
        images[candidates],
        labels[candidates],
        ids=candidates,
        batch_size=16,
        seed=seed,
        num_steps=20,
    )
    adversarial = candidates[result.success]
    return int(adversarial.min() if adversarial.size else correct[0])


# The attacks of Table 4 on many images: sizes, cosines and spectra.
#
# ```python
# found = measured("deepfool", classifier, images, labels, ids)
# found.cosine  # how far the perturbation lies along its conjugate
# ```


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
            norm: evaluation.compute_mean(distances[adversarial])
            for norm, distances in result.distances.items()
            if adversarial.any()
        },
        evaluation.compute_mean(cosines) if "conjugate" in fields and cosines.size else None,
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
