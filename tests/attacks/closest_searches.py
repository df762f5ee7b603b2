"""Checks that the tests of DDN, FMN, sigma-zero, PDPGD and their ensemble share."""

import functools

import numpy as np

from qup import attacks
from tests.attacks.linear_distances import LinearClassifier

_SHAPE, _CLASSES, _COUNT = (5, 7, 3), 4, 8
# Enough for a linear model.
_STEPS = {"ddn": 100, "fmn": 200, "sigma_zero": 500}


@functools.cache
def build_linear_classifier():
    """Returns a linear classifier of 105 pixels and 4 classes, with 8 images."""
    return LinearClassifier(_SHAPE, classes=_CLASSES, count=_COUNT)


def compute_exact_distances(model, norm, bounds):
    """Returns the distance to the closest class inside the box, float64 [count].

    In "l0" it is the smallest number of elements whose largest gains together cross the boundary.
    """
    if norm != "l0":
        return model.compute_distances(norm, bounds).min(1)
    rows = np.reshape(model.images, (len(model.images), -1)).astype(float)
    counts = np.full((len(rows), model.weights.shape[1]), np.inf)
    for i, (y, z) in enumerate(zip(model.labels, model.logits(), strict=True)):
        for t in set(range(len(z))) - {y}:
            gradient = model.weights[:, t] - model.weights[:, y]
            room = np.full(rows[i].shape, np.inf)
            if bounds is not None:
                room = np.where(gradient > 0, bounds[1] - rows[i], rows[i] - bounds[0])
            gains = np.cumsum(np.sort(np.abs(gradient) * room)[::-1])
            if gains[-1] > z[y] - z[t]:
                counts[i, t] = 1 + np.argmax(gains > z[y] - z[t])
    return counts.min(1)


def _choose_options(name, norm):
    options = {"num_steps": _STEPS[name]} if name in _STEPS else {}
    return options | ({"norm": norm} if len(attacks.traits(name)["norms"]) > 1 else {})


@functools.cache
def attack_linear_classifier(name, norm, bounds, batch_size=_COUNT):
    """Returns the result of an attack on the linear classifier."""
    model = build_linear_classifier()
    return attacks.run(
        name,
        model,
        model.images,
        model.labels,
        bounds=bounds,
        batch_size=batch_size,
        **_choose_options(name, norm),
    )


def measure_excess(name, norm, bounds):
    """Returns the distances found, divided by the exact ones: float64 [count]."""
    result = attack_linear_classifier(name, norm, bounds)
    assert result.success.all()
    exact = compute_exact_distances(build_linear_classifier(), norm, bounds)
    excess = result.distances[norm] / exact
    assert (excess >= 0.999).all()
    return excess


def check_rows_are_independent(name, norm):
    """Checks that the order of the images and the size of the batch do not matter."""
    model, result = build_linear_classifier(), attack_linear_classifier(name, norm, (0.0, 1.0))
    order = np.random.default_rng(2).permutation(_COUNT)
    mixed = attacks.run(
        name,
        model,
        model.images[order],
        model.labels[order],
        ids=order,
        batch_size=_COUNT,
        **_choose_options(name, norm),
    )
    np.testing.assert_allclose(
        mixed.distances[norm], result.distances[norm][order], rtol=0.02, atol=norm == "l0"
    )
    few = attack_linear_classifier(name, norm, (0.0, 1.0), batch_size=3)
    np.testing.assert_allclose(
        few.distances[norm], result.distances[norm], rtol=0.02, atol=norm == "l0"
    )


def check_box(name, norm):
    """Checks that images are inside the box, and that a box of [0, 255] changes only the unit."""
    model, result = build_linear_classifier(), attack_linear_classifier(name, norm, (0.0, 1.0))
    assert result.images.min() >= 0 and result.images.max() <= 1
    wide = attacks.run(
        name,
        lambda images: model(images / 255),
        model.images * 255,
        model.labels,
        bounds=(0, 255),
        batch_size=_COUNT,
        **_choose_options(name, norm),
    )
    assert wide.images.min() >= 0 and wide.images.max() <= 255
    width = 1 if norm == "l0" else 255
    np.testing.assert_allclose(
        wide.distances[norm] / width, result.distances[norm], rtol=0.03, atol=norm == "l0"
    )


def check_targets(name, norm):
    """Checks that each target is reached at about its exact distance."""
    model = build_linear_classifier()
    targets = np.argmin(model.logits(), 1)
    result = attacks.run(
        name,
        model,
        model.images,
        model.labels,
        targets=targets,
        bounds=None,
        batch_size=_COUNT,
        **_choose_options(name, norm),
    )
    assert result.success.all()
    assert (np.argmax(model(result.images), -1) == targets).all()
    untargeted = attack_linear_classifier(name, norm, None)
    assert (result.distances[norm] >= 0.999 * untargeted.distances[norm]).all()
