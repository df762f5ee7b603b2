"""Supplement Fig. 4: TA and RA of CL and of ACL on CIFAR-10, over epochs.

```python
figure = draw({("CL", "convnet", "test_accuracy"): {1: (45.7, 44.9, 46.5)}})
```
"""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Classifier, model and measure; epochs to a value and its interval's ends.
Points = Mapping[tuple[str, str, str], Mapping[int, tuple[float, ...]]]

# Okabe and Ito 2008; a network has the same colour in every figure.
_NETWORKS = {
    "convnet": ("ConvNet", "#0072B2"),
    "resnet": ("ResNet", "#D55E00"),
    "ygcnn": ("YGCNN", "#009E73"),
    "googlenet": ("GoogLeNet", "#CC79A7"),
}
_MEASURES = {
    "test_accuracy": ("TA", "-", "o"),
    "robust_accuracy": ("RA", "--", "s"),
}
_TITLES = {
    "CL": "CL: the classifiers alone",
    "ACL": "ACL: Pix2Pix before each",
}


def draw(points: Points, title: str = "", interval: str = "95 %") -> Figure:
    """Draws CL on the left and ACL on the right.

    Args:
      points: (classifier, model, measure), with "CL" or "ACL", and
        "test_accuracy" or "robust_accuracy", to epochs to (value, low,
        high) in percent.
      title: Above both: data set, attack, epsilon, seeds.
      interval: What low and high are.
    """
    epochs = sorted({n for found in points.values() for n in found})
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axis, classifier in zip(panels, _TITLES, strict=True):
        _draw(axis, points, classifier, epochs)
    panels[0].set_ylabel(f"accuracy in percent, {interval} interval")
    # Those of both panels, each once.
    named = {
        label: handle
        for axis in panels
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    if named:
        figure.legend(
            named.values(), named, loc="outside lower center", ncols=4,
            frameon=False, fontsize=9,
        )  # fmt: skip
    figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def _draw(
    axis: Axes, points: Points, classifier: str, epochs: list[int]
) -> None:
    own = {
        (model, measure): found
        for (kind, model, measure), found in points.items()
        if kind == classifier and found
    }
    for number, ((model, measure), found) in enumerate(own.items()):
        # Side by side, so that error bars do not cover each other.
        shift = 0.05 * (number - (len(own) - 1) / 2)
        name, colour = _NETWORKS.get(model, (model, "#000000"))
        words, line, marker = _MEASURES[measure]
        known = sorted(found)
        values, low, high = zip(*(found[n] for n in known), strict=True)
        # Bars have no negative length, whatever rounding says.
        bars = [
            [max(v - b, 0) for v, b in zip(values, low, strict=True)],
            [max(a - v, 0) for v, a in zip(values, high, strict=True)],
        ]
        axis.errorbar(
            [epochs.index(n) + shift for n in known], values, bars,
            label=f"{name}, {words}", color=colour, linestyle=line,
            marker=marker, markersize=5, capsize=3, linewidth=1.2,
        )  # fmt: skip
    if not own:
        axis.text(
            0.5, 0.5, "not run", transform=axis.transAxes, ha="center",
            color="#5A5A5A",
        )  # fmt: skip
    axis.set_xticks(range(len(epochs)), [str(n) for n in epochs])
    axis.set(xlabel="training epochs", title=_TITLES[classifier])
    axis.set_ylim(-2, 102)
    axis.grid(alpha=0.3)
