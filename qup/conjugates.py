"""The attacks of Table 4 and their conjugates, as pictures.

```python
fields = of_image(classifier, image, label, epsilon=0.1)
draw(fields).savefig("conjugates.png")
```

The paper lists six attacks with a "possible effective conjugate" and two
black-box ones for which it gives none.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from qup import attacks, compilation
from qup.attacks import losses
from qup.types import LogitsFn

# Attack: what its conjugate is, in the notation of Table 4.
TABLE = {
    "one_step_target_class": r"sign$(\nabla_X l(f(X), y_{target}))$",
    "basic_iterative": r"$\alpha$ sign$(\nabla_X l(f(X_N), y_{true}))$",
    "iterative_least_likely_class": r"$\alpha$ sign$(\nabla_X l(f(X_N), "
    r"y_{LL}))$",
    "jsma": r"saliency map $S(\nabla f, y)$",
    "deepfool": r"$w'_{\hat l} = \nabla f_{\hat l} - \nabla f_{\hat k}$",
    "sparsefool": r"$w = \nabla f_k(X_B) - \nabla f_{\hat k}(X_B)$",
    "one_pixel": "none is known",
    "square": "none is known",
}


class Field(NamedTuple):
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


def of_image(
    logits_fn: LogitsFn,
    image: np.ndarray,
    label: int,
    *,
    epsilon: float,
    seed: int = 0,
) -> dict[str, Field]:
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
    found = {}
    for name in TABLE:
        options: dict[str, Any] = {"seed": seed}
        if attacks.traits(name)["kind"] == "budget":
            options["epsilon"] = epsilon
        moved = attacks.get(name)(logits_fn, images, labels, **options)
        conjugate = None
        if TABLE[name] != "none is known":
            conjugate = attacks.conjugate(
                name, logits_fn, images, labels, **options
            ).numpy()[0]
        logits = compilation.predict(logits_fn, moved).numpy()
        found[name] = Field(
            moved.numpy()[0],
            moved.numpy()[0] - image,
            conjugate,
            int(logits[0].argmax()),
        )
    return found


def choose(
    logits_fn: LogitsFn, images: np.ndarray, labels: np.ndarray, seed: int = 0
) -> int:
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
    right = np.flatnonzero(logits.argmax(-1) == labels)
    if not right.size:
        return 0
    lead = -losses.margin(tf.constant(logits), tf.constant(labels)).numpy()
    some = right[np.argsort(lead[right], kind="stable")[:64]]
    result = attacks.run(
        "one_pixel", logits_fn, images[some], labels[some], ids=some,
        batch_size=16, seed=seed, num_steps=20,
    )  # fmt: skip
    broken = some[result.success]
    return int(broken.min() if broken.size else right[0])


def spectrum(field: np.ndarray) -> np.ndarray:
    """Returns log10 of the magnitudes of a field's Fourier transform.

    Args:
      field: float32 [height, width, channels]; channels are averaged.

    Returns:
      float64 [height, width], zero frequency in the middle, at most six
      decades below its largest.
    """
    size = np.abs(np.fft.fftshift(np.fft.fft2(field.mean(-1))))
    return np.log10(np.maximum(size, max(size.max(), 1e-30) * 1e-6))


def draw(
    fields: Mapping[str, Field], names: tuple[str, ...], title: str
) -> Figure:
    """Draws a row for each attack.

    Args:
      fields: What `of_image` returned.
      names: Of the classes.
      title: Stands above.
    """
    titles = ("attacked", "perturbation", "conjugate", "its spectrum")
    figure = Figure(figsize=(8.6, 1.75 * len(fields)), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(len(fields), len(titles), squeeze=False)
    for row, (name, field) in zip(axes, fields.items(), strict=True):
        _picture(row[0], np.clip(field.attacked, 0, 1))
        moved = np.abs(field.perturbation).max() > 0
        said = f"says {names[field.label]}" if moved else "failed"
        row[0].set_ylabel(
            f"{name.replace('_', ' ')}\n{said}",
            rotation=0, ha="right", va="center", fontsize=9,
        )  # fmt: skip
        _signed(row[1], field.perturbation)
        row[1].set_xlabel(
            f"max {np.abs(field.perturbation).max():.3g}", fontsize=8
        )
        row[2].set_xlabel(TABLE[name], fontsize=8)
        if field.conjugate is None:
            for axis in row[2:]:
                axis.axis("off")
            row[2].text(0.5, 0.5, TABLE[name], ha="center", va="center")
            continue
        _signed(row[2], field.conjugate)
        row[3].imshow(spectrum(field.conjugate), cmap="viridis")
        row[3].set_xlabel("log magnitude", fontsize=8)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return figure


def _picture(axis, image: np.ndarray) -> None:
    shown = image[..., 0] if image.shape[-1] == 1 else image
    axis.imshow(shown, cmap="gray", vmin=0, vmax=1)


def _signed(axis, field: np.ndarray) -> None:
    """Draws a signed field, channels averaged; white is zero."""
    shown = field.mean(-1)
    limit = max(float(np.abs(shown).max()), 1e-12)
    axis.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit)
