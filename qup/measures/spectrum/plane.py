"""The power of an image's frequencies, and its mean over directions.

Zero frequency stands in the middle, at index size // 2, as the paper's
slices need it; along an axis of N pixels frequencies are whole cycles per
image, from -(N // 2).
"""

import numpy as np

from qup import errors

# Weights of red, green and blue: of the luma of ITU-R BT.601, and even ones.
GREY_WEIGHTS = {"luma": (0.299, 0.587, 0.114), "mean": (1 / 3, 1 / 3, 1 / 3)}


def convert_to_grey(fields: np.ndarray, weighting: str = "luma") -> np.ndarray:
    """Turns fields of one or three channels into grey ones.

    Args:
      fields: Finite numbers [n, height, width, channels].
      weighting: A key of `GREY_WEIGHTS`; of no effect where there is one channel.

    Returns:
      float64 [n, height, width].

    Raises:
      InputError: Another `weighting`, another shape, or numbers not finite.
    """
    if weighting not in GREY_WEIGHTS:
        raise errors.make_unknown_error("way to grey", weighting, GREY_WEIGHTS)
    fields = np.asarray(fields, np.float64)
    if fields.ndim != 4 or fields.shape[-1] not in (1, 3):
        raise errors.InputError(
            "Fields must be [n, height, width, channels] of 1 or 3 channels; "
            f"got {list(fields.shape)}. Add the axes that are missing."
        )
    if not np.isfinite(fields).all():
        raise errors.InputError(
            "Fields must be finite; got NaN or infinity. Look at the "
            "classifier's gradient, of which they are made."
        )
    if fields.shape[-1] == 1:
        return fields[..., 0]
    return fields @ np.array(GREY_WEIGHTS[weighting])


def compute_power(planes: np.ndarray) -> np.ndarray:
    """Returns |F|^2 of the unitary discrete Fourier transform.

    Unitary: sum_k |F_k|^2 = sum_x field(x)^2 (Parseval), so that the mean
    over frequencies is the mean square of a pixel, in squared units of it.

    Args:
      planes: Numbers [..., height, width].

    Returns:
      float64 [..., height, width], zero frequency in the middle.
    """
    transform = np.fft.fft2(planes, norm="ortho")
    return np.fft.fftshift(np.abs(transform) ** 2, axes=(-2, -1))


def compute_frequencies(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns cycles per image along both axes: [height, 1], [1, width]."""
    rows, columns = (np.arange(size) - size // 2 for size in shape)
    return rows[:, None], columns[None, :]


def compute_radial_bins(shape: tuple[int, int]) -> np.ndarray:
    """Returns each frequency's length, rounded: int64 [height, width].

    In cycles over the shorter side; the longest are those of the corners,
    beyond the shorter side's Nyquist frequency of half its pixels.
    """
    rows, columns = compute_frequencies(shape)
    squares = (rows / shape[0]) ** 2 + (columns / shape[1]) ** 2
    return np.rint(min(shape) * np.sqrt(squares)).astype(np.int64)


def compute_radial_mean(powers: np.ndarray) -> np.ndarray:
    """Averages power over all frequencies of about the same length.

    Args:
      powers: float64 [n, height, width], see `compute_power`.

    Returns:
      float64 [n, bins]: at index k the mean over the ring that is k cycles
      over the shorter side away from zero, see `compute_radial_bins`.
    """
    bins = compute_radial_bins(powers.shape[1:]).ravel()
    rings = (bins[:, None] == np.arange(bins.max() + 1)).astype(np.float64)
    flat = powers.reshape(len(powers), bins.size)
    return flat @ (rings / rings.sum(0))
