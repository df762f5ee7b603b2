"""Fig. 1 of the paper: X_0, the FGSM noise, and X, with what is said of each.

```python
rows = measurements.read("measurements.csv")
figure = draw(np.load("example.npz"), rows, "ConvNet on mnist, 1 epoch")
```
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qup import example
from qup.measurements import Row

_GREY = "#5A5A5A"
_DOLLAR = r"\$"
# Standard errors to either end of a 95 % interval.
_FAR = 1.96


def draw(
    arrays: Mapping[str, np.ndarray], rows: Sequence[Row], of: str
) -> Figure:
    """Draws the example.

    Args:
      arrays: Of example.npz, see `example.Example.arrays`.
      rows: Those beside it: of one network, image and attack.
      of: What the network is called.

    Returns:
      Three pictures: the noise is drawn from black (its least value) over
      grey (none) to white (its largest), with the scale in words.
    """
    shown = example.from_arrays(arrays)
    names = [str(name) for name in arrays["class_names"]]
    noise = shown.attacked - shown.image
    most = float(np.abs(noise).max())
    figure = Figure(figsize=(8.4, 4.1), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08)
    left, middle, right = figure.subplots(1, 3)
    label = names[shown.label]
    _picture(
        left, shown.image, f"$X_0$, image {shown.id}:", label,
        _said(names[shown.clean_class], shown.clean_confidence),
    )  # fmt: skip
    _picture(
        middle, 0.5 + noise / (2 * most or 1.0), "noise $X - X_0$", "",
        f"between -{most:.3g} and {most:.3g},\n"
        + (f"shown {1 / (2 * most):.3g} times as strong" if most else "none"),
    )  # fmt: skip
    _picture(
        right, shown.attacked, "$X$, attacked", "",
        _said(names[shown.attacked_class], shown.attacked_confidence),
    )  # fmt: skip
    figure.suptitle(_title(rows, of), fontsize=10.5, parse_math=False)
    below = textwrap.fill(f"Chosen: {example.RULES[shown.rule]}.", 105)
    figure.supxlabel(below, fontsize=8.5, color=_GREY)
    return figure


def _said(name: str, confidence: float) -> str:
    # 99.997 must not become a certainty.
    shown = f"{min(confidence, 99.99):.2f}" if confidence < 100 else "100"
    return f"says {name},\nconfidence {shown} %"


def _picture(
    axis: Axes, image: np.ndarray, symbol: str, name: str, below: str
) -> None:
    pixels = np.clip(image, 0, 1)
    grey = pixels.shape[-1] == 1
    axis.imshow(
        pixels[..., 0] if grey else pixels, cmap="gray", vmin=0, vmax=1,
        interpolation="nearest",
    )  # fmt: skip
    axis.set_xticks([])
    axis.set_yticks([])
    # Class names are the user's: no $ of theirs starts a formula.
    title = f"{symbol} {name.replace('$', _DOLLAR)}".rstrip()
    axis.set_title(title, fontsize=10.5)
    axis.set_xlabel(below, fontsize=9.5, parse_math=False)


def _title(rows: Sequence[Row], of: str) -> str:
    by_measure = {row.measure: row for row in rows}
    clean = by_measure["test_accuracy"]
    robust = by_measure["robust_accuracy"]
    return (
        f"{of}, {clean.classifier}, seed {clean.seed}\n"
        f"TA {_value(clean)}; RA under {robust.attack}, epsilon "
        f"{robust.epsilon:.4g}: {_value(robust)}; {clean.n:,} images, 95 % "
        "intervals"
    )


def _value(row: Row) -> str:
    error = "" if row.stderr is None else f" ± {_FAR * row.stderr:.2f}"
    return f"{row.value:.2f}{error} %"
