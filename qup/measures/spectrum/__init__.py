"""Image frequency: Fourier transforms over the image plane (supplement S4).

```python
fields = spectrum.grey(deltas, "luma")  # float64 [n, height, width]
power = spectrum.power(fields)
window = spectrum.window((28, 28), "literal")  # [12:18, 12:18]
spectrum.high_share(np.sqrt(power), window)  # float64 [n], supp. Fig. 5
spectrum.white_share((28, 28), window)  # 0.954, the white-noise line
```

The frequencies here are those of a pattern over the pixels of one image.
The F-principle, by which section S4 explains Fig. 5, is about others: those
of the network as a function of its input, see qup/measures/response.py.
"""

from qup.measures.spectrum.averages import Average, Averages, Ratio, ratio
from qup.measures.spectrum.bands import (
    high_share,
    over_cutoff,
    white_share,
    window,
    words,
)
from qup.measures.spectrum.plane import (
    GREY,
    frequencies,
    grey,
    power,
    radial,
    radial_bins,
)

__all__ = (
    "GREY",
    "Average",
    "Averages",
    "Ratio",
    "frequencies",
    "grey",
    "high_share",
    "over_cutoff",
    "power",
    "radial",
    "radial_bins",
    "ratio",
    "white_share",
    "window",
    "words",
)
