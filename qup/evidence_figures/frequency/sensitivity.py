"""Fourier heat maps: errors under every basis vector (Yin et al. 2019).

```python
heat_maps({"1 epoch": early, "50 epochs": late}).savefig("sensitivity.png")
```
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from qup.errors import InputError
from qup.evidence_figures.frequency import style

_COLUMNS = 3


def heat_maps(found: Mapping[str, style.Arrays]) -> Figure:
    """Draws heat maps side by side, on one scale of colours.

    Args:
      found: Name to the arrays of sensitivity.npz, of one norm.

    Raises:
      InputError: No arrays, or of several norms.
    """
    told = [arrays["told"] for arrays in found.values()]
    norms = sorted({each["parameters"]["norm"] for each in told})
    if len(norms) != 1:
        raise InputError(
            "Heat maps on one scale need one norm of what is added; got "
            f"{norms}. Give those of one norm."
        )
    columns = min(len(found), _COLUMNS)
    lines = -(-len(found) // columns)
    shared = dict(told[0])
    if len({each.get("epochs") for each in told}) > 1:
        shared.pop("epochs")
    figure = style.page(
        (7, {1: 4.0, 2: 2.9}.get(columns, 2.2) * lines),
        "Errors under each Fourier basis vector",
        f"{style.subject(shared)} · L2 norm {norms[0]:g} in each channel",
        "Image frequencies, zero in the middle. In brackets: errors on the "
        "images as they are. White, if any, was not measured.",
    )  # fmt: skip
    axes = figure.subplots(lines, columns, squeeze=False)
    shown = [np.ma.masked_invalid(arrays["error"]) for arrays in found.values()]
    high = max(float(plane.max()) for plane in shown)
    for axis, name, arrays, plane in zip(
        axes.flat, found, found.values(), shown, strict=False
    ):
        drawn = axis.imshow(
            plane, cmap="viridis", vmin=0, vmax=max(high, 1e-9),
            extent=style.extent(plane.shape), interpolation="nearest",
        )  # fmt: skip
        clean = float(arrays["clean"])
        axis.set_title(f"{name} [{clean:.1f} %]", fontsize=9.5)
        axis.tick_params(labelsize=8)
    for axis in axes.flat[len(found) :]:
        axis.axis("off")
    style.label_planes(axes)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.85, pad=0.02)
    bar.set_label("errors in percent of images", fontsize=9)
    return figure
