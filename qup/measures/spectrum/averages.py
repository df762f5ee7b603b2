"""Spectra averaged over images that arrive in batches."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from qup.measures.spectrum import bands, plane

# Powers below this share of an image's mean count as that share, so that
# logarithms are finite.
_EPS = 1e-12


class SpectrumAverage(NamedTuple):
    """A mean over images.

    Attributes:
      mean: float64, of any shape; NaN without images.
      stderr: Of the same shape; NaN with fewer than two images.
      n: Number of images.
    """

    mean: np.ndarray
    stderr: np.ndarray
    n: int


class _Moments:
    def __init__(self):
        self._sum, self._squares, self._n = 0.0, 0.0, 0

    def add(self, values: np.ndarray) -> None:
        self._sum = self._sum + values.sum(0)
        self._squares = self._squares + (values**2).sum(0)
        self._n += len(values)

    def compute_average(self) -> SpectrumAverage:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.divide(self._sum, self._n)
            spread = np.maximum(self._squares / self._n - mean**2, 0.0)
            stderr = np.sqrt(spread / np.float64(self._n - 1))
        if self._n < 2:
            stderr = np.full_like(mean, np.nan)
        return SpectrumAverage(mean, stderr, self._n)


class SpectrumAccumulator:
    """What is told of one kind of field, memory of one batch at a time.

    Images whose field is 0 everywhere have no spectrum: they are counted and
    left out of all but `power`.

    Attributes:
      num_zero_fields: How many there were.
    """

    def __init__(self, windows: Mapping[str, bands.Window], grey: str = "luma"):
        """Starts with no image.

        Args:
          windows: Name to window, for the ratio of high frequencies.
          grey: See `plane.grey`.
        """
        self.num_zero_fields = 0
        self._windows, self._grey = dict(windows), grey
        names = ("power", "relative", "log", "cutoff")
        self._moments = {name: _Moments() for name in names}
        self._ratios = {name: _Moments() for name in windows}

    def add(self, fields: np.ndarray) -> np.ndarray:
        """Adds a batch.

        Args:
          fields: Numbers [n, height, width, channels].

        Returns:
          Their powers, float64 [n, height, width].
        """
        powers = plane.compute_power(plane.convert_to_grey(fields, self._grey))
        self._moments["power"].add(plane.compute_radial_mean(powers))
        means = powers.mean((1, 2), keepdims=True)
        is_nonzero = means[:, 0, 0] > 0
        self.num_zero_fields += int((~is_nonzero).sum())
        relative = powers[is_nonzero] / means[is_nonzero]
        self._moments["relative"].add(plane.compute_radial_mean(relative))
        self._moments["log"].add(np.log10(np.maximum(relative, _EPS)))
        magnitudes = np.sqrt(relative)
        self._moments["cutoff"].add(bands.compute_cutoff_shares(magnitudes))
        for name, window in self._windows.items():
            self._ratios[name].add(bands.compute_high_share(magnitudes, window))
        return powers

    def get_high_frequency_ratio(self, window: str) -> SpectrumAverage:
        """Returns the mean of the images' ratios, supplement Fig. 5."""
        return self._ratios[window].compute_average()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Returns the means, and their standard errors as name_stderr.

        "power" [bins], the radial mean in squared pixel units; "relative"
        [bins], the same with each image's mean power as the unit, 1 for
        white noise; "cutoff" [cut-offs], see `bands.over_cutoff`; and
        "log" [height, width], the mean of log10 of relative power.
        """
        arrays = {}
        for name, moments in self._moments.items():
            average = moments.compute_average()
            arrays[name] = average.mean
            if name != "log":
                arrays[f"{name}_stderr"] = average.stderr
        return arrays


class RatioEstimate(NamedTuple):
    """The root of a ratio of two sums over images, its error, and n."""

    value: float
    stderr: float | None
    n: int


def compute_ratio(part: np.ndarray, whole: np.ndarray) -> RatioEstimate:
    """Returns sqrt(sum part / sum whole): an error relative to a size.

    Args:
      part: At least 0, [n], such as each image's squared error.
      whole: [n], such as each image's squared size.

    Returns:
      The ratio with the error of first order (delta method); NaN where the
      whole is 0.
    """
    part, whole = (np.asarray(x, np.float64) for x in (part, whole))
    count, total = len(part), whole.sum()
    if not total > 0:
        return RatioEstimate(float("nan"), None, count)
    squared_ratio = part.sum() / total
    if count < 2 or squared_ratio == 0:
        return RatioEstimate(float(np.sqrt(squared_ratio)), None, count)
    spread = np.std(part - squared_ratio * whole, ddof=1) / np.sqrt(count)
    error = spread / whole.mean() / (2.0 * np.sqrt(squared_ratio))
    return RatioEstimate(float(np.sqrt(squared_ratio)), float(error), count)
