"""Figures of the road, drawn from rows and arrays alone.

```python
sheet(stages(arrays)).savefig("images.png")
```
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qup.measurements import Row

STAGE_TITLES = {
    "x_0": "$X_0$",
    "delta_n_around_grey": r"$\Delta_N$",
    "x_n": "$X_N$",
    "translated_delta_around_grey": "$G(X_0)$",
    "x_0_plus_translated_delta": "$X_0 + G(X_0)$",
    "attacked": "attacked",
}
# Colour-blind safe (Okabe and Ito 2008).
_TRAJECTORY_COLOURS = {"test_accuracy": "#0072B2", "robust_accuracy": "#D55E00"}
_TRAJECTORY_LABELS = {"test_accuracy": "TA of $X_n$", "robust_accuracy": "RA of $X_n$"}


def build_stage_images(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the road's stages as images, by the keys of `STAGE_TITLES`.

    Args:
      arrays: x_0, x_n, translated and attacked, float32 [n, height, width,
        channels]; deltas are scaled alike and put around grey.
    """
    start, end = arrays["x_0"], arrays["x_n"]
    translated = arrays["translated"]
    scale = 2.0 * max(float(np.abs(end - start).max()), 1e-6)
    stage_images = (
        start,
        0.5 + (end - start) / scale,
        end,
        0.5 + translated / scale,
        start + translated,
        arrays["attacked"],
    )
    return dict(zip(STAGE_TITLES, stage_images, strict=True))


def plot_stage_images(images: Mapping[str, np.ndarray]) -> Figure:
    """Draws a row for each stage, a column for each image.

    Args:
      images: Key of `STAGE_TITLES` to float32 [n, height, width, channels];
        values outside of [0, 1] are clipped.
    """
    columns = max(len(x) for x in images.values())
    figure = Figure(figsize=(1.6 + columns, len(images)), layout="constrained")
    axes = figure.subplots(len(images), columns, squeeze=False)
    for row, (key, stack) in zip(axes, images.items(), strict=True):
        for axis in row:
            axis.axis("off")
        for axis, image in zip(row, np.clip(stack, 0, 1), strict=False):
            pixel_values = image[..., 0] if image.shape[-1] == 1 else image
            axis.imshow(pixel_values, cmap="gray", vmin=0, vmax=1)
        row[0].text(
            -0.1, 0.5, STAGE_TITLES[key], transform=row[0].transAxes, ha="right", va="center"
        )
    return figure


def plot_trajectory(rows: Sequence[Row]) -> Figure:
    """Draws TA and RA of X_n over n, supplement Fig. 2.

    Args:
      rows: Those of one classifier, with "step" among their parameters.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for measure, label in _TRAJECTORY_LABELS.items():
        points = sorted(
            (row.parameters["step"], row.value, row.stderr)
            for row in rows
            if row.measure == measure
        )
        steps, values, errors = zip(*points, strict=True)
        axis.errorbar(
            steps,
            values,
            errors,
            label=label,
            color=_TRAJECTORY_COLOURS[measure],
            marker="o",
            markersize=3,
            capsize=2,
        )
    first = rows[0]
    axis.set(
        xlabel="opposite-FGSM steps n",
        ylabel="accuracy in percent, +- one standard error",
        title=f"{first.model} on {first.dataset}, epochs: {first.epochs}, "
        f"training images: {first.n:,}",
    )
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend()
    return figure
