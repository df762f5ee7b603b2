"""The mean Delta_N of each class as a picture: what a class alone tells.

```python
patterns(np.load("templates.npz")["templates"], info.class_names)
```
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

_COLUMNS, _MOST = 5, 20


def patterns(
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
            f"{len(class_names)}: {list(class_names)[:_MOST]}."
        )
    shown = templates[:_MOST].mean(-1)
    most = max(float(np.abs(shown).max()), 1e-6)
    lines = -(-len(shown) // _COLUMNS)
    figure = Figure(figsize=(7.0, 0.9 + 1.45 * lines), layout="constrained")
    axes = figure.subplots(lines, _COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, pattern, name in zip(axes.flat, shown, class_names, strict=False):
        image = axis.imshow(pattern, cmap="RdBu_r", vmin=-most, vmax=most)
        # A dollar would begin a formula.
        axis.set_title(str(name).replace("$", r"\$"), fontsize=9)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label("mean Δ, in units of pixels in [0, 1]", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    hidden = len(templates) - len(shown)
    words = title + f" (the first {_MOST} classes)" * bool(hidden)
    figure.suptitle(words, fontsize=11.5, weight="bold")
    return figure
