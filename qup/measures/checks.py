"""What is asked of images, classes and options before a measurement."""

import numbers

import numpy as np

from qup import errors, norms
from qup.measures import slopes
from qup.types import Bounds

# Radii of the balls, in widths of the box.
_DEFAULT_RADII = {"l2": 5.0, "linf": 0.1, "l1": 40.0}


def build_ball(norm, radius, bounds: Bounds, seed) -> slopes.SampleBall:
    """Returns where samples are drawn, checked."""
    norms.check_norm(norm, slopes.DUAL_NORM)
    try:
        low, high = (0.0, 1.0) if bounds is None else map(float, bounds)
    except (TypeError, ValueError):
        low = high = 0.0
    if not low < high:
        raise errors.InputError(
            f"bounds must be (lowest, highest), such as (0, 1), or None; got {bounds!r}."
        )
    radius = _DEFAULT_RADII[norm] * (high - low) if radius is None else radius
    errors.check_number("radius", radius, above=0)
    if not isinstance(seed, numbers.Integral):
        raise errors.InputError(f"seed must be an integer; got {seed!r}.")
    box = None if bounds is None else (low, high)
    return slopes.SampleBall(norm, float(radius), box, seed)


def check_sizes(sizes: slopes.SampleSizes) -> None:
    """Raises an InputError unless all are integers of at least 1."""
    for name, value in sizes._asdict().items():
        errors.check_number(name, value, at_least=1)
        if not isinstance(value, numbers.Integral):
            raise errors.InputError(f"{name} must be an integer; got {value!r}.")


def check_examples(images, labels, ids, ball: slopes.SampleBall):
    """Returns images, labels and ids as arrays."""
    images, labels = np.asarray(images), np.asarray(labels)
    count = len(images)
    if not (np.issubdtype(images.dtype, np.floating) and images.ndim > 1):
        raise errors.InputError(
            "Images must be floating point [n, ...]; got "
            f"{images.dtype} {images.shape}. Divide bytes by 255."
        )
    low, high = ball.bounds or (-np.inf, np.inf)
    inside = (images >= low - 1e-6) & (images <= high + 1e-6)
    if not (count and (inside & np.isfinite(images)).all()):
        raise errors.InputError(
            f"Images must be finite, inside the bounds {ball.bounds}, and "
            "at least one. Rescale them, or pass other bounds."
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (count,):
        raise errors.InputError(
            f"Labels must be integers [{count}], one an image; got {labels.dtype} {labels.shape}."
        )
    _check_classes(labels)
    ids = np.arange(count) if ids is None else np.asarray(ids)
    if ids.shape != (count,) or ids.dtype.kind not in "iu":
        raise errors.InputError(
            f"ids must be integers [{count}], one an image, or None; got {ids.dtype} {ids.shape}."
        )
    return (images.astype(np.float32), labels.astype(np.int32), ids.astype(np.int64))


def _check_classes(labels: np.ndarray) -> None:
    """Raises an InputError for labels that int32 cannot hold."""
    max_label = np.iinfo(np.int32).max
    if labels.max() > max_label:
        raise errors.InputError(f"Labels must be classes, 0, 1, 2, ...; got {labels.max()}.")


def check_targets(targets, labels, num_classes: int) -> np.ndarray:
    """Returns int32 [n, k], checked; every other class for None."""
    if labels.min() < 0 or labels.max() >= num_classes:
        raise errors.InputError(
            f"Labels must be 0 to {num_classes - 1}, the classifier's "
            f"classes; got {labels.min()} to {labels.max()}."
        )
    if targets is None:
        others = labels[:, None] + np.arange(1, num_classes)
        targets = np.sort(others % num_classes, 1)
    targets = np.asarray(targets)
    if targets.ndim == 1:
        targets = targets[:, None]
    is_valid = (
        np.issubdtype(targets.dtype, np.integer)
        and targets.ndim == 2
        and targets.shape == (len(labels), max(targets.shape[1], 1))
        and ((targets >= 0) & (targets < num_classes)).all()
        and (targets != labels[:, None]).all()
    )
    if not is_valid:
        raise errors.InputError(
            f"Targets must be classes, integers [{len(labels)}] or "
            f"[{len(labels)}, k] from 0 to {num_classes - 1}, none of them "
            f"an image's own label; got {targets.dtype} {targets.shape}."
        )
    return targets.astype(np.int32)
