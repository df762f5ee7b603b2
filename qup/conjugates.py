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

from qup import attacks, compilation
from qup.attacks import losses
from qup.types import LogitsFn


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
