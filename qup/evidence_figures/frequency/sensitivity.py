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

_HEAT_MAP_COLUMNS = 3


def plot_heat_maps(arrays_by_name: Mapping[str, style.FrequencyArrays]) -> Figure:
    """Draws heat maps side by side, on one scale of colours.

    Args:
      arrays_by_name: Name to the arrays of sensitivity.npz, of one norm.

    Raises:
      InputError: No arrays, or of several norms.
    """
    metadata = [arrays["told"] for arrays in arrays_by_name.values()]
    norms = sorted({entry["parameters"]["norm"] for entry in metadata})
    if len(norms) != 1:
        raise InputError(
            "Heat maps on one scale need one norm of what is added; got "
            f"{norms}. Give those of one norm."
        )
    columns = min(len(arrays_by_name), _HEAT_MAP_COLUMNS)
    num_rows = -(-len(arrays_by_name) // columns)
    shared_metadata = dict(metadata[0])
    if len({entry.get("epochs") for entry in metadata}) > 1:
        shared_metadata.pop("epochs")
    figure = style.create_figure(
        (7, {1: 4.0, 2: 2.9}.get(columns, 2.2) * num_rows),
        "Errors under each Fourier basis vector",
        f"{style.format_subject(shared_metadata)} · L2 norm {norms[0]:g} in each channel",
        "Image frequencies, zero in the middle. In brackets: errors on the "
        "images as they are. White, if any, was not measured.",
    )
    axes = figure.subplots(num_rows, columns, squeeze=False)
    error_planes = [np.ma.masked_invalid(arrays["error"]) for arrays in arrays_by_name.values()]
    max_error = max(float(plane.max()) for plane in error_planes)
    for axis, name, arrays, plane in zip(
        axes.flat, arrays_by_name, arrays_by_name.values(), error_planes, strict=False
    ):
        image = axis.imshow(
            plane,
            cmap="viridis",
            vmin=0,
            vmax=max(max_error, 1e-9),
            extent=style.compute_extent(plane.shape),
            interpolation="nearest",
        )
        clean = float(arrays["clean"])
        axis.set_title(f"{name} [{clean:.1f} %]", fontsize=9.5)
        axis.tick_params(labelsize=8)
    for axis in axes.flat[len(arrays_by_name) :]:
        axis.axis("off")
    style.label_planes(axes)
    colorbar = figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02)
    colorbar.set_label("errors in percent of images", fontsize=9)
    return figure
