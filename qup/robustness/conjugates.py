"""The attacks of Table 4 and their conjugates: fields of one image, and measures of many images.

The paper lists six attacks with a "possible effective conjugate", and two black-box attacks without
one.

```python
fields = attack_image(classifier, image, label, epsilon=0.1)
fields["deepfool"].conjugate
measures = measure_attack("deepfool", classifier, images, labels, ids)
measures.cosine  # between perturbation and conjugate
```
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, losses
from qup.core.classifier import predict_logits
from qup.core.measurements import Measurement, compute_accuracy
from qup.core.types import LogitsFn
from qup.robustness import evaluation, spectrum

WINDOWS = ("literal", "symmetric")


class Conjugate(NamedTuple):
    """The entry of the paper's table for an attack.

    Attributes:
      symbol: In the paper's notation, with formulas between $; None where the table gives none.
      description: The same in words.
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
      attacked: float32 [height, width, channels], the attacked image.
      perturbation: Attacked image minus clean image.
      conjugate: float32 of the same shape, or None where none is known.
      label: Class of `attacked` according to the classifier.
    """

    attacked: np.ndarray
    perturbation: np.ndarray
    conjugate: np.ndarray | None
    label: int


class ConjugateMeasures(NamedTuple):
    """Measures of one attack on many images.

    Attributes:
      success: Share of adversarial results, in percent.
      norms: "l0" (elements), "l1", "l2" and "linf" of the perturbation, in units of [0, 1]: means
        over adversarial results; empty if there are none.
      cosine: Mean of |cos| between perturbation and conjugate over adversarial results; None
        without.
      spectra: Of the "perturbation" and, where one is known, of the "conjugate".
    """

    success: Measurement
    norms: dict[str, Measurement]
    cosine: Measurement | None
    spectra: dict[str, spectrum.SpectrumAccumulator]


def build_default_options(name: str, *, epsilon: float, seed: int) -> dict[str, Any]:
    """Returns the options of an attack of `TABLE_4`: the defaults, except budget and seed."""
    if attacks.traits(name)["kind"] == "budget":
        return {"epsilon": epsilon, "seed": seed}
    return {"seed": seed}


def attack_image(
    logits_fn: LogitsFn, image: np.ndarray, label: int, *, epsilon: float, seed: int = 0
) -> dict[str, AttackField]:
    """Runs every attack of Table 4 on one image.

    Args:
      logits_fn: The classifier.
      image: float32 [height, width, channels] in [0, 1].
      label: Its class.
      epsilon: Budget of the attacks that have one.
      seed: Seed of random attacks.

    Returns:
      The result of each attack, by name.
    """
    images, labels = tf.constant(image[None]), tf.constant([label])
    fields = {}
    for name in TABLE_4:
        options = build_default_options(name, epsilon=epsilon, seed=seed)
        perturbed = attacks.get(name)(logits_fn, images, labels, **options)
        conjugate = None
        if TABLE_4[name].symbol:
            conjugate = attacks.conjugate(name, logits_fn, images, labels, **options).numpy()[0]
        logits = predict_logits(logits_fn, perturbed).numpy()
        fields[name] = AttackField(
            perturbed.numpy()[0], perturbed.numpy()[0] - image, conjugate, int(logits[0].argmax())
        )
    return fields


def choose_image(logits_fn: LogitsFn, images: np.ndarray, labels: np.ndarray, seed: int = 0) -> int:
    """Returns the index of an image for a figure of all attacks.

    Args:
      logits_fn: The classifier.
      images: float32 [n, height, width, channels] in [0, 1].
      labels: int [n].
      seed: Seed of the one-pixel attack.

    Returns:
      The first image for which the one-pixel attack succeeds, among the 64 correctly classified
      images with the smallest margin; else the first correctly classified image.
    """
    logits = predict_logits(logits_fn, images).numpy()
    correct = np.flatnonzero(logits.argmax(-1) == labels)
    if not correct.size:
        return 0
    margins = -losses.margin(tf.constant(logits), tf.constant(labels)).numpy()
    candidates = correct[np.argsort(margins[correct], kind="stable")[:64]]
    result = attacks.run(
        "one_pixel",
        logits_fn,
        images[candidates],
        labels[candidates],
        ids=candidates,
        batch_size=16,
        seed=seed,
        logs_flags=False,
        num_steps=20,
    )
    adversarial = candidates[result.success]
    return int(adversarial.min() if adversarial.size else correct[0])


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
    """Measures an attack of Table 4.

    Args:
      name: A key of `TABLE_4`.
      logits_fn: The classifier.
      images: float32 [n, height, width, channels] in [0, 1], classified correctly, n at least 1.
      labels: int [n], the true classes.
      ids: int64 [n], the images' ids.
      grey: Conversion of three channels to one, see `spectrum.convert_to_grey`.
      batch_size: Images per batch.
      **options: See `build_default_options`.
    """
    result = attacks.run(
        name, logits_fn, images, labels, ids=ids, batch_size=batch_size, logs_flags=False, **options
    )
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
    """Returns the conjugates of all images, in batches of one shape."""
    size, conjugates = min(size, len(labels)), []
    for rows, _ in inputs.iterate_padded_rows(len(labels), size):
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
    """Returns |cos| of the pairs of non-zero fields [n, ...]: float64 [at most n]."""
    first, second = (
        x.reshape(len(x), int(np.prod(x.shape[1:]))).astype(np.float64) for x in (first, second)
    )
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    is_nonzero = lengths > 0
    return np.abs((first * second).sum(1)[is_nonzero]) / lengths[is_nonzero]
