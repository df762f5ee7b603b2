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

_KINDS = ("literal", "symmetric")
# Pixels of a side: the highest frequency that the paper calls low.
_REACH = {28: 3, 32: 2}

Window = tuple[slice, slice]


def window(shape: tuple[int, int], kind: str = "literal") -> Window:
    """Returns where low frequencies stand in a shifted spectrum.

    Args:
      shape: (height, width) in pixels. Sides of which the paper says
        nothing take the share of its 28 pixels, 3 cycles.
      kind: "literal" or "symmetric", see above.

    Raises:
      InputError: Another kind, or an image of less than 3 pixels.
    """
    if kind not in _KINDS:
        raise errors.unknown("window", kind, _KINDS)
    if min(shape) < 3:
        raise errors.InputError(
            "A window needs images of at least 3 x 3 pixels; got "
            f"{tuple(shape)}. Choose larger images."
        )
    return tuple(_side(size, kind) for size in shape)


def _side(size: int, kind: str) -> slice:
    reach = _REACH.get(size, max(1, round(3 * size / 28)))
    middle = size // 2
    before = reach - 1 if kind == "literal" else reach
    return slice(middle - before, middle + reach + 1)


def words(of: Window) -> str:
    """Returns a window as the paper prints it: "12:18,12:18"."""
    return ",".join(f"{side.start}:{side.stop}" for side in of)


def high_share(sizes: np.ndarray, of: Window) -> np.ndarray:
    """Returns the share that lies outside of a window.

    Args:
      sizes: At least 0, [n, height, width], zero frequency in the middle:
        magnitudes for supplement Fig. 5 (powers give another number).
      of: The window.

    Returns:
      float64 [n], NaN where everything is 0.
    """
    total = sizes.sum((1, 2))
    low = sizes[:, of[0], of[1]].sum((1, 2))
    return _share(total - low, total)


def _share(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    known = total > 0
    return np.where(known, part / np.where(known, total, 1.0), np.nan)


def white_share(shape: tuple[int, int], of: Window) -> float:
    """Returns the ratio of a flat spectrum: the share of frequencies outside.

    White noise has it, but for the four frequencies that are real numbers,
    whose mean magnitude is a tenth smaller: 0.9542, not 0.9541, for the
    literal window of 28 x 28 pixels.
    """
    inside = np.zeros(shape)
    inside[of] = 1.0
    return float(1.0 - inside.mean())


def over_cutoff(sizes: np.ndarray) -> np.ndarray:
    """Returns the ratio of high frequencies for every symmetric window.

    Args:
      sizes: As `high_share` takes them.

    Returns:
      float64 [n, (shorter side + 1) // 2]: at index r the share of
      frequencies of which one of the two is more than r cycles per image.
    """
    rows, columns = plane.frequencies(sizes.shape[1:])
    reach = np.maximum(np.abs(rows), np.abs(columns)).ravel()
    cutoffs = np.arange((min(sizes.shape[1:]) + 1) // 2)
    above = (reach[:, None] > cutoffs).astype(np.float64)
    flat = sizes.reshape(len(sizes), reach.size)
    return _share(flat @ above, flat.sum(1, keepdims=True))
