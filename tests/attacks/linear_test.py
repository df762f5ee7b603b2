"""Budget attacks on linear classifiers, compared with the exact results."""

import numpy as np
import pytest

from qup import attacks
from tests.attacks.linear_distances import LinearClassifier

shapes = pytest.mark.parametrize("shape", [(8,), (4, 6), (5, 7, 3)])
_EPSILON = 8 / 255


@shapes
@pytest.mark.parametrize(
    "name,norm",
    [
        ("basic_iterative", "linf"),
        ("fgsm", "linf"),
        ("fgsm", "l2"),
        ("iterative_least_likely_class", "linf"),
        ("momentum", "linf"),
        ("momentum", "l2"),
        ("one_step_target_class", "linf"),
        ("pgd", "linf"),
        ("pgd", "l2"),
    ],
)
def test_two_classes_give_the_dual_norm_optimum(name, norm, shape):
    model = LinearClassifier(shape, classes=2, count=3)
    gradient = model.weights[:, 1] - model.weights[:, 0]
    away = np.where(model.labels == 0, 1, -1)[:, None] * gradient
    best = {"linf": np.sign(away), "l2": away / np.linalg.norm(gradient)}[norm]
    options = {} if "class" in name or "basic" in name else {"norm": norm}
    adversarial = attacks.get(name)(
        model, model.images, model.labels, epsilon=0.3, bounds=None, **options
    )
    delta = np.reshape(adversarial - model.images, best.shape)
    np.testing.assert_allclose(delta, 0.3 * best, atol=1e-5)


def _iterate(model, image, label, sign, size, steps, decay):
    """Returns a sign attack on one image in [0, 1], in float64."""
    start = image.ravel().astype(float)
    x, total = start, np.zeros_like(start)
    for _ in range(steps):
        exponentials = np.exp(x @ model.weights)
        # Cross-entropy falls by W (softmax(x W) - 1_label).
        gradient = model.weights @ (
            exponentials / exponentials.sum() - np.eye(len(exponentials))[label]
        )
        total = decay * total + gradient / np.abs(gradient).mean()
        x = x + sign * size * np.sign(total)
        x = np.clip(x, start - _EPSILON, start + _EPSILON).clip(0, 1)
    return x.reshape(image.shape)


# An epsilon of eight grey levels takes min(8 + 4, 1.25 * 8) = 10 steps of one.
_KURAKIN = {"size": 1 / 255, "steps": 10}
_ONE = {"size": _EPSILON, "steps": 1}


@shapes
@pytest.mark.parametrize(
    "name,options,iteration",
    [
        ("basic_iterative", {}, _KURAKIN),
        ("fgsm", {}, _ONE),
        ("iterative_least_likely_class", {}, _KURAKIN),
        (
            "momentum",
            {"num_steps": 6, "decay": 0.7},
            {"size": _EPSILON / 6, "steps": 6, "decay": 0.7},
        ),
        ("one_step_target_class", {}, _ONE),
        ("pgd", {"num_steps": 7, "step_size": 0.01}, {"size": 0.01, "steps": 7}),
    ],
)
def test_four_classes_give_the_naive_iteration(name, options, iteration, shape):
    model = LinearClassifier(shape, classes=4, count=8)
    # Some pixels are on the boundary of the box.
    model.images[:, ::2] = np.round(model.images[:, ::2])
    model.labels = np.argmax(model.logits(), 1)
    labels, sign = model.labels, 1
    if "class" in name:
        # Descends the loss of the least likely class.
        labels, sign = np.argmin(model.logits(), 1), -1
    adversarial = attacks.get(name)(model, model.images, model.labels, epsilon=_EPSILON, **options)
    for row, image, label in zip(adversarial, model.images, labels, strict=True):
        naive = _iterate(model, image, label, sign, **{"decay": 0, **iteration})
        np.testing.assert_allclose(row, naive, atol=2e-6)
