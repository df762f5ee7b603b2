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


def draw(found: Mapping[str, style.Arrays], *, key: str = "delta_1") -> Figure:
    """Draws the ratio over every symmetric window, less that of white noise.

    Args:
      found: Name to the arrays of spectrum.npz, such as one for each epoch.
      key: Of "fields".

    Raises:
      InputError: No arrays, or without the key.
    """
    if not found or any(f"{key}_cutoff" not in a for a in found.values()):
        raise InputError(
            f"Every spectrum must hold {key!r}; got {len(found)} spectra. "
            "Give those of which the field was told."
        )
    first = next(iter(found.values()))
    told = {k: v for k, v in first["told"].items() if k != "epochs"}
    figure = style.page(
        (7, 4.9), "High-frequency ratio over the cut-off",
        f"{style.field(first, key)} · {style.subject(told)}",
        "Bands and bars are two standard errors over images. Low are "
        "frequencies of at most the cut-off both down and across.",
    )  # fmt: skip
    above, below = figure.subplots(2, 1, sharex=True)
    x = np.arange(len(first["white_cutoff"]))
    above.plot(x, first["white_cutoff"], "--", color=style.GREY,
               label="white noise")  # fmt: skip
    for place, (name, arrays) in enumerate(found.items()):
        colour = style.COLOURS[place % len(style.COLOURS)]
        how = {"color": colour, "ls": style.LINES[place % len(style.LINES)]}
        style.curve(above, x, arrays, f"{key}_cutoff", label=name, **how)
        moved = {
            "c": arrays[f"{key}_cutoff"] - arrays["white_cutoff"],
            "c_stderr": arrays[f"{key}_cutoff_stderr"],
        }
        below.errorbar(x, moved["c"], 2 * moved["c_stderr"], lw=1.2, **how)
    below.axhline(0, ls="--", color=style.GREY, lw=1)
    above.set(ylabel="high-frequency ratio", ylim=(0, None))
    below.set(xlabel="cut-off in cycles per image",
              ylabel="ratio less white noise's")  # fmt: skip
    above.legend(fontsize=9, frameon=False)
    for axis in (above, below):
        style.tidy(axis)
    return figure
