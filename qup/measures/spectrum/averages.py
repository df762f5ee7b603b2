"""Spectra averaged over images that arrive in batches."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from qup.measures.spectrum import bands, plane

# Powers below this share of an image's mean count as that share, so that
# logarithms are finite.
_FLOOR = 1e-12


class Average(NamedTuple):
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

    def average(self) -> Average:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.divide(self._sum, self._n)
            spread = np.maximum(self._squares / self._n - mean**2, 0.0)
            stderr = np.sqrt(spread / np.float64(self._n - 1))
        if self._n < 2:
            stderr = np.full_like(mean, np.nan)
        return Average(mean, stderr, self._n)


class Averages:
    """What is told of one kind of field, memory of one batch at a time.

    Images whose field is 0 everywhere have no spectrum: they are counted and
    left out of all but `power`.

    Attributes:
      zeros: How many there were.
    """

    def __init__(self, windows: Mapping[str, bands.Window], grey: str = "luma"):
        """Starts with no image.

        Args:
          windows: Name to window, for the ratio of high frequencies.
          grey: See `plane.grey`.
        """
        self.zeros = 0
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
        powers = plane.power(plane.grey(fields, self._grey))
        self._moments["power"].add(plane.radial(powers))
        means = powers.mean((1, 2), keepdims=True)
        some = means[:, 0, 0] > 0
        self.zeros += int((~some).sum())
        relative = powers[some] / means[some]
        self._moments["relative"].add(plane.radial(relative))
        self._moments["log"].add(np.log10(np.maximum(relative, _FLOOR)))
        sizes = np.sqrt(relative)
        self._moments["cutoff"].add(bands.over_cutoff(sizes))
        for name, window in self._windows.items():
            self._ratios[name].add(bands.high_share(sizes, window))
        return powers

    def high_frequency_ratio(self, window: str) -> Average:
        """Returns the mean of the images' ratios, supplement Fig. 5."""
        return self._ratios[window].average()

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the means, and their standard errors as name_stderr.

        "power" [bins], the radial mean in squared pixel units; "relative"
        [bins], the same with each image's mean power as the unit, 1 for
        white noise; "cutoff" [cut-offs], see `bands.over_cutoff`; and
        "log" [height, width], the mean of log10 of relative power.
        """
        found = {}
        for name, moments in self._moments.items():
            average = moments.average()
            found[name] = average.mean
            if name != "log":
                found[f"{name}_stderr"] = average.stderr
        return found


class Ratio(NamedTuple):
    """The root of a ratio of two sums over images, its error, and n."""

    value: float
    stderr: float | None
    n: int


def ratio(part: np.ndarray, whole: np.ndarray) -> Ratio:
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
        return Ratio(float("nan"), None, count)
    square = part.sum() / total
    if count < 2 or square == 0:
        return Ratio(float(np.sqrt(square)), None, count)
    spread = np.std(part - square * whole, ddof=1) / np.sqrt(count)
    error = spread / whole.mean() / (2.0 * np.sqrt(square))
    return Ratio(float(np.sqrt(square)), float(error), count)
