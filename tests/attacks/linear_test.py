"""Budget attacks on linear classifiers, compared with the exact results."""

import numpy as np
import pytest

from qup import attacks
from qup.core.errors import InputError
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
        ("pgd4", "linf"),
        ("pgd4", "l2"),
        ("pgd4", "l1"),
    ],
)
def test_two_classes_give_the_dual_norm_optimum(name, norm, shape):
    model = LinearClassifier(shape, classes=2, count=3)
    gradient = model.weights[:, 1] - model.weights[:, 0]
    away = np.where(model.labels == 0, 1, -1)[:, None] * gradient
    best = {
        "linf": np.sign(away),
        "l2": away / np.linalg.norm(gradient),
        "l1": np.sign(away) * (np.abs(away) == np.abs(away).max()),
    }[norm]
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
        (
            "pgd",
            {"num_steps": 7, "step_size": 0.01, "random_start": False},
            {"size": 0.01, "steps": 7},
        ),
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


def _fill(gradient, image, epsilon, bounds=(0, 1)):
    """Returns the largest increase of gradient d over the L1 ball and the box."""
    gain, left = 0.0, epsilon
    for i in np.argsort(-np.abs(gradient)):
        room = bounds[1] - image[i] if gradient[i] > 0 else image[i] - bounds[0]
        change = min(room, left)
        gain, left = gain + abs(gradient[i]) * change, left - change
    return gain


@shapes
@pytest.mark.parametrize("epsilon", [0.3, 2.0])
@pytest.mark.parametrize("name", ["fgsm", "pgd", "pgd4"])
def test_an_l1_budget_is_used_inside_the_box(name, epsilon, shape):
    model = LinearClassifier(shape, classes=2, count=5, seed=1)
    gradient = model.weights[:, 1] - model.weights[:, 0]
    away = np.where(model.labels == 0, 1, -1)[:, None] * gradient
    adversarial = attacks.get(name)(
        model, model.images, model.labels, epsilon=epsilon, norm="l1"
    ).numpy()
    delta = (adversarial - model.images).reshape(away.shape)
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    assert np.abs(delta).sum(1).max() <= epsilon * (1 + 1e-5)
    gain = (away * delta).sum(1)
    best = [_fill(w, image.ravel(), epsilon) for w, image in zip(away, model.images, strict=True)]
    np.testing.assert_array_less(gain, np.multiply(best, 1 + 1e-5))
    # The limit of an element per step leaves a part of the best direction to `pgd`.
    least = {"fgsm": 1 - 1e-5, "pgd": 0.9, "pgd4": 0.5}[name]
    assert (gain >= np.multiply(best, least)).all(), gain / best


def test_pgd_is_strong_by_default_and_pgd4_is_that_of_the_paper():
    strong, weak = (attacks.build_method(name, epsilon=0.1) for name in ("pgd", "pgd4"))
    assert (strong.num_steps, strong.random_start, strong.is_weak) == (40, True, False)
    assert (weak.num_steps, weak.random_start, weak.is_weak) == (4, False, True)
    model = LinearClassifier((8,), classes=4, count=6)
    arguments = (model, model.images, model.labels)
    for name, step_size in (("pgd", 2.5 * 0.05 / 7), ("pgd4", 0.05 / 7)):
        default, explicit = (
            attacks.get(name)(*arguments, epsilon=0.05, num_steps=7, **options)
            for options in ({}, {"step_size": step_size})
        )
        np.testing.assert_allclose(default, explicit, atol=1e-7)


@pytest.mark.parametrize(
    "name,options,is_weak",
    [
        ("fgsm", {}, True),
        ("one_step_target_class", {}, True),
        ("pgd", {"num_steps": 19}, True),
        ("pgd", {"num_steps": 20}, False),
        ("momentum", {}, True),
        ("momentum", {"num_steps": 20}, False),
        # Eight grey levels are 10 steps, 60 are 64.
        ("basic_iterative", {"epsilon": 8 / 255}, True),
        ("iterative_least_likely_class", {"epsilon": 60 / 255}, False),
    ],
)
def test_few_steps_are_a_weak_attack(name, options, is_weak):
    assert attacks.build_method(name, **{"epsilon": 0.1, **options}).is_weak == is_weak


@pytest.mark.parametrize("name", ["basic_iterative", "iterative_least_likely_class"])
class TestKurakinsNumberOfSteps:
    @pytest.mark.parametrize("width", [1e-6, 1e-3, 1.0, 255.0])
    def test_is_bounded_by_the_box(self, name, width):
        model = LinearClassifier((8,), classes=3, count=4)
        images = np.float32(0.5 * width) * np.ones_like(model.images)
        labels = np.argmax(model(images), 1)
        result = attacks.run(
            name, model, images, labels, epsilon=1e5, bounds=(0.0, width), batch_size=4
        )
        # min(255 + 4, 1.25 * 255) steps, and at most the first call for the target.
        assert result.gradient_calls.max() == 259
        assert (np.asarray(result.images) <= np.float32(width)).all()

    def test_is_refused_without_a_box(self, name):
        with pytest.raises(InputError, match=r"without bounds takes 2\.55e\+08 steps"):
            attacks.build_method(name, epsilon=1e6, bounds=None)
        assert attacks.build_method(name, epsilon=1e6, bounds=None, num_steps=5).num_steps == 5
