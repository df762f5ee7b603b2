"""The ratio of high frequencies over where they begin.

```python
draw({"1 epoch": early, "50 epochs": late}).savefig("cutoff.png")
```
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from qup.errors import InputError
from qup.evidence_figures.frequency import style


def plot_cutoffs(spectra: Mapping[str, style.FrequencyArrays], *, key: str = "delta_1") -> Figure:
    """Draws the ratio over every symmetric window, less that of white noise.

    Args:
      spectra: Name to the arrays of spectrum.npz, such as one for each epoch.
      key: Of "fields".

    Raises:
      InputError: No arrays, or without the key.
    """
    if not spectra or any(f"{key}_cutoff" not in a for a in spectra.values()):
        raise InputError(
            f"Every spectrum must hold {key!r}; got {len(spectra)} spectra. "
            "Give those of which the field was told."
        )
    first = next(iter(spectra.values()))
    metadata = {k: v for k, v in first["told"].items() if k != "epochs"}
    figure = style.create_figure(
        (7, 4.9),
        "High-frequency ratio over the cut-off",
        f"{style.format_field(first, key)} · {style.format_subject(metadata)}",
        "Bands and bars are two standard errors over images. Low are "
        "frequencies of at most the cut-off both down and across.",
    )
    above, below = figure.subplots(2, 1, sharex=True)
    x = np.arange(len(first["white_cutoff"]))
    above.plot(x, first["white_cutoff"], "--", color=style.FREQUENCY_GREY, label="white noise")
    for index, (name, arrays) in enumerate(spectra.items()):
        colour = style.COLOURS[index % len(style.COLOURS)]
        line_options = {"color": colour, "ls": style.LINE_STYLES[index % len(style.LINE_STYLES)]}
        style.plot_mean_curve(above, x, arrays, f"{key}_cutoff", label=name, **line_options)
        differences = {
            "c": arrays[f"{key}_cutoff"] - arrays["white_cutoff"],
            "c_stderr": arrays[f"{key}_cutoff_stderr"],
        }
        below.errorbar(x, differences["c"], 2 * differences["c_stderr"], lw=1.2, **line_options)
    below.axhline(0, ls="--", color=style.FREQUENCY_GREY, lw=1)
    above.set(ylabel="high-frequency ratio", ylim=(0, None))
    below.set(xlabel="cut-off in cycles per image", ylabel="ratio less white noise's")
    above.legend(fontsize=9, frameon=False)
    for axis in (above, below):
        style.tidy_axis(axis)
    return figure
