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

from qup.measures.spectrum.averages import (
    RatioEstimate,
    SpectrumAccumulator,
    SpectrumAverage,
    compute_ratio,
)
from qup.measures.spectrum.bands import (
    compute_cutoff_shares,
    compute_high_share,
    compute_white_share,
    compute_window,
    format_window,
)
from qup.measures.spectrum.plane import (
    GREY_WEIGHTS,
    compute_frequencies,
    compute_power,
    compute_radial_bins,
    compute_radial_mean,
    convert_to_grey,
)

__all__ = (
    "GREY_WEIGHTS",
    "RatioEstimate",
    "SpectrumAccumulator",
    "SpectrumAverage",
    "compute_cutoff_shares",
    "compute_frequencies",
    "compute_high_share",
    "compute_power",
    "compute_radial_bins",
    "compute_radial_mean",
    "compute_ratio",
    "compute_white_share",
    "compute_window",
    "convert_to_grey",
    "format_window",
)
