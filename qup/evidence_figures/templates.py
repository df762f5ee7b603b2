"""The mean Delta_N of each class as a picture: what a class alone tells.

```python
patterns(np.load("templates.npz")["templates"], info.class_names)
```
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

_TEMPLATE_COLUMNS, _MAX_CLASSES = 5, 20


def plot_class_templates(
    templates: np.ndarray, class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Draws a panel for each class, all on one scale around zero.

    Args:
      templates: float32 [num_classes, height, width, channels]; of several
        channels their mean is shown.
      class_names: One a class.
      title: Of what they are; above.

    Raises:
      ValueError: As many names as classes are needed.
    """
    if len(class_names) != len(templates):
        raise ValueError(
            f"{len(templates)} templates need as many names; got "
            f"{len(class_names)}: {list(class_names)[:_MAX_CLASSES]}."
        )
    channel_means = templates[:_MAX_CLASSES].mean(-1)
    max_magnitude = max(float(np.abs(channel_means).max()), 1e-6)
    num_rows = -(-len(channel_means) // _TEMPLATE_COLUMNS)
    figure = Figure(figsize=(7.0, 0.9 + 1.45 * num_rows), layout="constrained")
    axes = figure.subplots(num_rows, _TEMPLATE_COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, pattern, name in zip(axes.flat, channel_means, class_names, strict=False):
        image = axis.imshow(pattern, cmap="RdBu_r", vmin=-max_magnitude, vmax=max_magnitude)
        # A dollar would begin a formula.
        axis.set_title(str(name).replace("$", r"\$"), fontsize=9)
    colorbar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
    colorbar.set_label("mean Δ, in units of pixels in [0, 1]", fontsize=9)
    colorbar.ax.tick_params(labelsize=8)
    num_omitted = len(templates) - len(channel_means)
    full_title = title + f" (the first {_MAX_CLASSES} classes)" * bool(num_omitted)
    figure.suptitle(full_title, fontsize=11.5, weight="bold")
    return figure
