"""The ratio of high frequencies, supplement Fig. 5.

(|FFT[Delta_1]| - |FFT[Delta_1]_LF|) / |FFT[Delta_1]|, where LF takes the
slices [15:19, 15:19] of 32 x 32 pixels and [12:18, 12:18] of 28 x 28. Zero
frequency must have been shifted to the middle (unshifted, these are the
highest frequencies). Read as Python's, the slices leave out their end and
lie askew: frequencies from -1 to 2, and from -2 to 3. "symmetric" ones, as
they would be in a language that counts from 1 and includes the end, go from
-2 to 2 and from -3 to 3.
"""

import numpy as np

from qup import errors
from qup.measures.spectrum import plane

_WINDOW_KINDS = ("literal", "symmetric")
# Pixels of a side: the highest frequency that the paper calls low.
_LOW_FREQUENCY_REACH = {28: 3, 32: 2}

Window = tuple[slice, slice]


def compute_window(shape: tuple[int, int], kind: str = "literal") -> Window:
    """Returns where low frequencies stand in a shifted spectrum.

    Args:
      shape: (height, width) in pixels. Sides of which the paper says
        nothing take the share of its 28 pixels, 3 cycles.
      kind: "literal" or "symmetric", see above.

    Raises:
      InputError: Another kind, or an image of less than 3 pixels.
    """
    if kind not in _WINDOW_KINDS:
        raise errors.make_unknown_error("window", kind, _WINDOW_KINDS)
    if min(shape) < 3:
        raise errors.InputError(
            "A window needs images of at least 3 x 3 pixels; got "
            f"{tuple(shape)}. Choose larger images."
        )
    return tuple(_build_side_slice(size, kind) for size in shape)


def _build_side_slice(size: int, kind: str) -> slice:
    reach = _LOW_FREQUENCY_REACH.get(size, max(1, round(3 * size / 28)))
    middle = size // 2
    before = reach - 1 if kind == "literal" else reach
    return slice(middle - before, middle + reach + 1)


def format_window(low_window: Window) -> str:
    """Returns a window as the paper prints it: "12:18,12:18"."""
    return ",".join(f"{side.start}:{side.stop}" for side in low_window)


def compute_high_share(magnitudes: np.ndarray, low_window: Window) -> np.ndarray:
    """Returns the share that lies outside of a window.

    Args:
      magnitudes: At least 0, [n, height, width], zero frequency in the middle:
        magnitudes for supplement Fig. 5 (powers give another number).
      low_window: The window.

    Returns:
      float64 [n], NaN where everything is 0.
    """
    total = magnitudes.sum((1, 2))
    low = magnitudes[:, low_window[0], low_window[1]].sum((1, 2))
    return _compute_share(total - low, total)


def _compute_share(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    is_positive = total > 0
    return np.where(is_positive, part / np.where(is_positive, total, 1.0), np.nan)


def compute_white_share(shape: tuple[int, int], low_window: Window) -> float:
    """Returns the ratio of a flat spectrum: the share of frequencies outside.

    White noise has it, but for the four frequencies that are real numbers,
    whose mean magnitude is a tenth smaller: 0.9542, not 0.9541, for the
    literal window of 28 x 28 pixels.
    """
    inside = np.zeros(shape)
    inside[low_window] = 1.0
    return float(1.0 - inside.mean())


def compute_cutoff_shares(magnitudes: np.ndarray) -> np.ndarray:
    """Returns the ratio of high frequencies for every symmetric window.

    Args:
      magnitudes: As `compute_high_share` takes them.

    Returns:
      float64 [n, (shorter side + 1) // 2]: at index r the share of
      frequencies of which one of the two is more than r cycles per image.
    """
    rows, columns = plane.compute_frequencies(magnitudes.shape[1:])
    reach = np.maximum(np.abs(rows), np.abs(columns)).ravel()
    cutoffs = np.arange((min(magnitudes.shape[1:]) + 1) // 2)
    is_above = (reach[:, None] > cutoffs).astype(np.float64)
    flat = magnitudes.reshape(len(magnitudes), reach.size)
    return _compute_share(flat @ is_above, flat.sum(1, keepdims=True))
