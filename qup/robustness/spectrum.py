"""Image frequency: Fourier transforms over the image plane (supplement S4, Fig. 5).

Zero frequency is in the middle, at index size // 2. Along an axis of N pixels, frequencies are
cycles per image, from -(N // 2).

The ratio of high frequencies is (|FFT[Delta_1]| - |FFT[Delta_1]_LF|) / |FFT[Delta_1]|, where LF is
the slice [15:19, 15:19] of 32 x 32 pixels and [12:18, 12:18] of 28 x 28. Zero frequency must be in
the middle (without the shift, these are the highest frequencies). As Python's, the slices exclude
their end and are asymmetric: frequencies from -1 to 2, and from -2 to 3. The "symmetric" ones, as
in a language that counts from 1 and includes the end, are from -2 to 2 and from -3 to 3.

These are the frequencies of the pixels of one image. The F-principle, which section S4 uses to
explain Fig. 5, is about frequencies of the network as a function of its input, see
qup/robustness/response.py.

```python
planes = convert_to_grey(deltas, "luma")  # float64 [n, height, width]
power = compute_power(planes)
window = compute_window((28, 28), "literal")  # [12:18, 12:18]
compute_high_share(np.sqrt(power), window)  # float64 [n], supp. Fig. 5
compute_white_share((28, 28), window)  # 0.954, the white-noise line
```
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from qup.core import errors

# Weights of red, green and blue: of the luma of ITU-R BT.601, and equal ones.
GREY_WEIGHTS = {"luma": (0.299, 0.587, 0.114), "mean": (1 / 3, 1 / 3, 1 / 3)}
_WINDOW_KINDS = ("literal", "symmetric")
# Size of a side in pixels -> the highest frequency that the paper calls low.
_LOW_FREQUENCY_REACH = {28: 3, 32: 2}
# Minimum of a relative power, so that logarithms are finite.
_EPS = 1e-12

Window = tuple[slice, slice]


def convert_to_grey(fields: np.ndarray, weighting: str = "luma") -> np.ndarray:
    """Converts fields of one or three channels to grey.

    Args:
      fields: Finite numbers [n, height, width, channels].
      weighting: A key of `GREY_WEIGHTS`; ignored for one channel.

    Returns:
      float64 [n, height, width].

    Raises:
      InputError: Another `weighting` or shape, or numbers that are not finite.
    """
    if weighting not in GREY_WEIGHTS:
        raise errors.make_unknown_error("way to grey", weighting, GREY_WEIGHTS)
    fields = np.asarray(fields, np.float64)
    if fields.ndim != 4 or fields.shape[-1] not in (1, 3):
        raise errors.InputError(
            "Fields must be [n, height, width, channels] with 1 or 3 channels; got "
            f"{list(fields.shape)}. Add the missing axes."
        )
    if not np.isfinite(fields).all():
        raise errors.InputError(
            "Fields must be finite; got NaN or infinity. Check the classifier's gradient, from "
            "which they are computed."
        )
    if fields.shape[-1] == 1:
        return fields[..., 0]
    return fields @ np.array(GREY_WEIGHTS[weighting])


def compute_power(planes: np.ndarray) -> np.ndarray:
    """Returns |F|^2 of the unitary discrete Fourier transform, zero frequency in the middle.

    Unitary means sum_k |F_k|^2 = sum_x field(x)^2 (Parseval): the mean over frequencies is the mean
    square of the pixels, in squared pixel units.

    Args:
      planes: Numbers [..., height, width].

    Returns:
      float64 [..., height, width].
    """
    transform = np.fft.fft2(planes, norm="ortho")
    return np.fft.fftshift(np.abs(transform) ** 2, axes=(-2, -1))


def compute_frequencies(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns cycles per image along both axes: [height, 1], [1, width]."""
    rows, columns = (np.arange(size) - size // 2 for size in shape)
    return rows[:, None], columns[None, :]


def compute_radial_bins(shape: tuple[int, int]) -> np.ndarray:
    """Returns the length of each frequency, rounded: int64 [height, width].

    The unit is cycles per shorter side. The longest are in the corners, above the Nyquist frequency
    of the shorter side, half its pixels.
    """
    rows, columns = compute_frequencies(shape)
    squares = (rows / shape[0]) ** 2 + (columns / shape[1]) ** 2
    return np.rint(min(shape) * np.sqrt(squares)).astype(np.int64)


def compute_radial_mean(powers: np.ndarray) -> np.ndarray:
    """Averages power over all frequencies of about the same length.

    Args:
      powers: float64 [n, height, width], see `compute_power`.

    Returns:
      float64 [n, bins]: at index k the mean over the ring of k cycles per shorter side, see
      `compute_radial_bins`.
    """
    bins = compute_radial_bins(powers.shape[1:]).ravel()
    rings = (bins[:, None] == np.arange(bins.max() + 1)).astype(np.float64)
    flat = powers.reshape(len(powers), bins.size)
    return flat @ (rings / rings.sum(0))


def compute_window(shape: tuple[int, int], kind: str = "literal") -> Window:
    """Returns the window of low frequencies in a shifted spectrum.

    Args:
      shape: (height, width) in pixels. Sides other than the paper's 28 and 32 pixels scale the 3
        cycles of 28 pixels.
      kind: "literal" or "symmetric", see above.

    Raises:
      InputError: Another kind, or an image below 3 pixels.
    """
    if kind not in _WINDOW_KINDS:
        raise errors.make_unknown_error("window", kind, _WINDOW_KINDS)
    if min(shape) < 3:
        raise errors.InputError(
            f"A window needs images of at least 3 x 3 pixels; got {tuple(shape)}. Choose larger "
            "images."
        )
    sides = []
    for size in shape:
        reach = _LOW_FREQUENCY_REACH.get(size, max(1, round(3 * size / 28)))
        before = reach - 1 if kind == "literal" else reach
        sides.append(slice(size // 2 - before, size // 2 + reach + 1))
    return tuple(sides)


def format_window(low_window: Window) -> str:
    """Returns a window as the paper prints it: "12:18,12:18"."""
    return ",".join(f"{side.start}:{side.stop}" for side in low_window)


def compute_high_share(magnitudes: np.ndarray, low_window: Window) -> np.ndarray:
    """Returns the share outside a window: float64 [n], NaN where everything is 0.

    Args:
      magnitudes: At least 0, [n, height, width], zero frequency in the middle. Supplement Fig. 5
        uses magnitudes (powers give another number).
      low_window: The window.
    """
    total = magnitudes.sum((1, 2))
    low = magnitudes[:, low_window[0], low_window[1]].sum((1, 2))
    return _compute_share(total - low, total)


def _compute_share(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    is_positive = total > 0
    return np.where(is_positive, part / np.where(is_positive, total, 1.0), np.nan)


def compute_white_share(shape: tuple[int, int], low_window: Window) -> float:
    """Returns the ratio of a flat spectrum: the share of frequencies outside the window.

    White noise has about this ratio: the mean magnitude of the four real frequencies is a tenth
    smaller. For the literal window of 28 x 28 pixels it is 0.9542, not 0.9541.
    """
    inside = np.zeros(shape)
    inside[low_window] = 1.0
    return float(1.0 - inside.mean())


def compute_cutoff_shares(magnitudes: np.ndarray) -> np.ndarray:
    """Returns the ratio of high frequencies for every symmetric window.

    Args:
      magnitudes: See `compute_high_share`.

    Returns:
      float64 [n, (shorter side + 1) // 2]: at index r the share of frequencies with more than r
      cycles per image along at least one axis.
    """
    rows, columns = compute_frequencies(magnitudes.shape[1:])
    reach = np.maximum(np.abs(rows), np.abs(columns)).ravel()
    cutoffs = np.arange((min(magnitudes.shape[1:]) + 1) // 2)
    is_above = (reach[:, None] > cutoffs).astype(np.float64)
    flat = magnitudes.reshape(len(magnitudes), reach.size)
    return _compute_share(flat @ is_above, flat.sum(1, keepdims=True))


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
    """Spectra of one kind of field, averaged over batches.

    Fields that are 0 everywhere have no spectrum: they are counted, and omitted from all results
    except `power`.

    Attributes:
      num_zero_fields: Number of such fields.
    """

    def __init__(self, windows: Mapping[str, Window], grey: str = "luma"):
        """Starts without images.

        Args:
          windows: Windows for the ratio of high frequencies, by name.
          grey: See `convert_to_grey`.
        """
        self.num_zero_fields = 0
        self._windows, self._grey = dict(windows), grey
        names = ("power", "relative", "log", "cutoff")
        self._moments = {name: _Moments() for name in names}
        self._ratios = {name: _Moments() for name in windows}

    def add(self, fields: np.ndarray) -> np.ndarray:
        """Adds a batch of fields [n, height, width, channels].

        Returns:
          Their powers, float64 [n, height, width].
        """
        powers = compute_power(convert_to_grey(fields, self._grey))
        self._moments["power"].add(compute_radial_mean(powers))
        means = powers.mean((1, 2), keepdims=True)
        is_nonzero = means[:, 0, 0] > 0
        self.num_zero_fields += int((~is_nonzero).sum())
        relative = powers[is_nonzero] / means[is_nonzero]
        self._moments["relative"].add(compute_radial_mean(relative))
        self._moments["log"].add(np.log10(np.maximum(relative, _EPS)))
        magnitudes = np.sqrt(relative)
        self._moments["cutoff"].add(compute_cutoff_shares(magnitudes))
        for name, window in self._windows.items():
            self._ratios[name].add(compute_high_share(magnitudes, window))
        return powers

    def get_high_frequency_ratio(self, window: str) -> SpectrumAverage:
        """Returns the mean of the images' ratios, supplement Fig. 5."""
        return self._ratios[window].compute_average()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Returns the means, and their standard errors as name_stderr.

        "power" [bins], the radial mean in squared pixel units; "relative" [bins], the same in units
        of each image's mean power, 1 for white noise; "cutoff" [cut-offs], see
        `compute_cutoff_shares`; "log" [height, width], the mean of log10 of the relative power.
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
    """Returns sqrt(sum part / sum whole), with its standard error to first order (delta method).

    Args:
      part: At least 0, [n], for example each image's squared error.
      whole: [n], for example each image's squared norm. NaN is returned if its sum is 0.
    """
    part, whole = (np.asarray(x, np.float64) for x in (part, whole))
    count, total = len(part), whole.sum()
    if not total > 0:
        return RatioEstimate(float("nan"), None, count)
    squared_ratio = part.sum() / total
    if count < 2 or squared_ratio == 0:
        return RatioEstimate(float(np.sqrt(squared_ratio)), None, count)
    spread = np.std(part - squared_ratio * whole, ddof=1) / np.sqrt(count)
    stderr = spread / whole.mean() / (2.0 * np.sqrt(squared_ratio))
    return RatioEstimate(float(np.sqrt(squared_ratio)), float(stderr), count)
