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
_Z_95 = 1.96


def plot_example(
    arrays: Mapping[str, np.ndarray], rows: Sequence[Row], network_title: str
) -> Figure:
    """Draws the example.

    Args:
      arrays: Of example.npz, see `example.Example.arrays`.
      rows: Those beside it: of one network, image and attack.
      network_title: What the network is called.

    Returns:
      Three pictures: the noise is drawn from black (its least value) over
      grey (none) to white (its largest), with the scale in words.
    """
    attacked_example = example.build_example(arrays)
    names = [str(name) for name in arrays["class_names"]]
    noise = attacked_example.attacked - attacked_example.image
    max_magnitude = float(np.abs(noise).max())
    figure = Figure(figsize=(8.4, 4.1), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08)
    left, middle, right = figure.subplots(1, 3)
    label = names[attacked_example.label]
    _show_image(
        left,
        attacked_example.image,
        f"$X_0$, image {attacked_example.id}:",
        label,
        _format_prediction(names[attacked_example.clean_class], attacked_example.clean_confidence),
    )
    _show_image(
        middle,
        0.5 + noise / (2 * max_magnitude or 1.0),
        "noise $X - X_0$",
        "",
        f"between -{max_magnitude:.3g} and {max_magnitude:.3g},\n"
        + (f"shown {1 / (2 * max_magnitude):.3g} times as strong" if max_magnitude else "none"),
    )
    _show_image(
        right,
        attacked_example.attacked,
        "$X$, attacked",
        "",
        _format_prediction(
            names[attacked_example.attacked_class], attacked_example.attacked_confidence
        ),
    )
    figure.suptitle(_format_title(rows, network_title), fontsize=10.5, parse_math=False)
    rule_note = textwrap.fill(f"Chosen: {example.SELECTION_RULES[attacked_example.rule]}.", 105)
    figure.supxlabel(rule_note, fontsize=8.5, color=_GREY)
    return figure


def _format_prediction(name: str, confidence: float) -> str:
    # 99.997 must not become a certainty.
    confidence_text = f"{min(confidence, 99.99):.2f}" if confidence < 100 else "100"
    return f"says {name},\nconfidence {confidence_text} %"


def _show_image(axis: Axes, image: np.ndarray, symbol: str, name: str, caption: str) -> None:
    pixels = np.clip(image, 0, 1)
    is_grey = pixels.shape[-1] == 1
    axis.imshow(
        pixels[..., 0] if is_grey else pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest"
    )
    axis.set_xticks([])
    axis.set_yticks([])
    # Class names are the user's: no $ of theirs starts a formula.
    title = f"{symbol} {name.replace('$', _DOLLAR)}".rstrip()
    axis.set_title(title, fontsize=10.5)
    axis.set_xlabel(caption, fontsize=9.5, parse_math=False)


def _format_title(rows: Sequence[Row], network_title: str) -> str:
    by_measure = {row.measure: row for row in rows}
    clean = by_measure["test_accuracy"]
    robust = by_measure["robust_accuracy"]
    return (
        f"{network_title}, {clean.classifier}, seed {clean.seed}\n"
        f"TA {_format_accuracy(clean)}; RA under {robust.attack}, epsilon "
        f"{robust.epsilon:.4g}: {_format_accuracy(robust)}; {clean.n:,} images, 95 % "
        "intervals"
    )


def _format_accuracy(row: Row) -> str:
    error = "" if row.stderr is None else f" ± {_Z_95 * row.stderr:.2f}"
    return f"{row.value:.2f}{error} %"
