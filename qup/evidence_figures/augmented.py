"""Supplement Fig. 4: TA and RA of CL and of ACL on CIFAR-10, over epochs.

```python
figure = draw({("CL", "convnet", "test_accuracy"): {1: (45.7, 44.9, 46.5)}})
```
"""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Classifier, model and measure; epochs to a value and its interval's ends.
AugmentedPoints = Mapping[tuple[str, str, str], Mapping[int, tuple[float, ...]]]

# Okabe and Ito 2008; a network has the same colour in every figure.
_NETWORK_STYLES = {
    "convnet": ("ConvNet", "#0072B2"),
    "resnet": ("ResNet", "#D55E00"),
    "ygcnn": ("YGCNN", "#009E73"),
    "googlenet": ("GoogLeNet", "#CC79A7"),
}
_MEASURE_STYLES = {"test_accuracy": ("TA", "-", "o"), "robust_accuracy": ("RA", "--", "s")}
_CLASSIFIER_TITLES = {"CL": "CL: the classifiers alone", "ACL": "ACL: Pix2Pix before each"}


def plot_augmented_accuracies(
    points: AugmentedPoints, title: str = "", interval: str = "95 %"
) -> Figure:
    """Draws CL on the left and ACL on the right.

    Args:
      points: (classifier, model, measure), with "CL" or "ACL", and
        "test_accuracy" or "robust_accuracy", to epochs to (value, low,
        high) in percent.
      title: Above both: data set, attack, epsilon, seeds.
      interval: What low and high are.
    """
    epochs = sorted({n for points_by_epoch in points.values() for n in points_by_epoch})
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axis, classifier in zip(panels, _CLASSIFIER_TITLES, strict=True):
        _plot_classifier_panel(axis, points, classifier, epochs)
    panels[0].set_ylabel(f"accuracy in percent, {interval} interval")
    # Those of both panels, each once.
    handles_by_label = {
        label: handle
        for axis in panels
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    if handles_by_label:
        figure.legend(
            handles_by_label.values(),
            handles_by_label,
            loc="outside lower center",
            ncols=4,
            frameon=False,
            fontsize=9,
        )
    figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def _plot_classifier_panel(
    axis: Axes, points: AugmentedPoints, classifier: str, epochs: list[int]
) -> None:
    classifier_points = {
        (model, measure): points_by_epoch
        for (point_classifier, model, measure), points_by_epoch in points.items()
        if point_classifier == classifier and points_by_epoch
    }
    for number, ((model, measure), points_by_epoch) in enumerate(classifier_points.items()):
        # Side by side, so that error bars do not cover each other.
        shift = 0.05 * (number - (len(classifier_points) - 1) / 2)
        name, colour = _NETWORK_STYLES.get(model, (model, "#000000"))
        measure_title, linestyle, marker = _MEASURE_STYLES[measure]
        point_epochs = sorted(points_by_epoch)
        values, low, high = zip(*(points_by_epoch[n] for n in point_epochs), strict=True)
        # Bars have no negative length, whatever rounding says.
        bars = [
            [max(v - b, 0) for v, b in zip(values, low, strict=True)],
            [max(a - v, 0) for v, a in zip(values, high, strict=True)],
        ]
        axis.errorbar(
            [epochs.index(n) + shift for n in point_epochs],
            values,
            bars,
            label=f"{name}, {measure_title}",
            color=colour,
            linestyle=linestyle,
            marker=marker,
            markersize=5,
            capsize=3,
            linewidth=1.2,
        )
    if not classifier_points:
        axis.text(0.5, 0.5, "not run", transform=axis.transAxes, ha="center", color="#5A5A5A")
    axis.set_xticks(range(len(epochs)), [str(n) for n in epochs])
    axis.set(xlabel="training epochs", title=_CLASSIFIER_TITLES[classifier])
    axis.set_ylim(-2, 102)
    axis.grid(alpha=0.3)
