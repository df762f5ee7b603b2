"""No robust accuracy without a flag where NumPy knows better."""

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import reliability, verification
from qup.core.classifier import ClassifierInfo, ProbeInfo
from qup.core.errors import InputError

_COUNT, _SIZE, _EPSILON = 16, 12, 0.1


def _compute_exact_robustness(weights, bias, images, labels) -> float:
    """Returns the RA of a linear classifier in the ball of L-inf, without a box, in percent."""
    logits = images @ weights + bias
    robust = np.ones(len(images), bool)
    for other in range(weights.shape[1]):
        difference = weights[:, labels].T - weights[:, other]
        margin = logits[np.arange(len(images)), labels] - logits[:, other]
        lowest = margin - _EPSILON * np.abs(difference).sum(1)
        robust &= (labels == other) | (lowest > 0)
    return 100.0 * float(robust.mean())


def _disguise(kind: str, logits_fn, rng):
    """Returns the classifier with the decisions, nearly, of `logits_fn`, that hides them."""
    scale = float(10.0 ** rng.uniform(1, 5))
    offset = tf.constant(rng.normal(size=logits_fn(tf.zeros((1, _SIZE))).shape[1]), tf.float32)
    return {
        "none": lambda: logits_fn,
        "scaled": lambda: lambda x: scale * logits_fn(x),
        "shifted": lambda: lambda x: logits_fn(x) + 50.0 * tf.reduce_mean(offset),
        "nan": lambda: lambda x: logits_fn(tf.sqrt(tf.square(x))),
        "zero": lambda: lambda x: logits_fn(tf.stop_gradient(x)) + 0.0 * tf.reduce_sum(x),
        "hidden": lambda: lambda x: tf.stop_gradient(scale * logits_fn(x)) + 0.1 * logits_fn(x),
        "softmax": lambda: lambda x: tf.nn.softmax(scale * logits_fn(x)),
        "sigmoid": lambda: lambda x: tf.sigmoid(3.0 * logits_fn(x)),
        "half": lambda: lambda x: tf.cast(logits_fn(x), tf.float16),
        "constant": lambda: lambda x: 1e-6 * logits_fn(x) + offset,
        "random": lambda: lambda x: logits_fn(x + tf.random.normal(tf.shape(x), stddev=0.05)),
    }[kind]()


_KINDS = (
    *("none", "scaled", "shifted", "nan", "zero", "hidden"),
    *("softmax", "sigmoid", "half", "constant", "random"),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", _KINDS)
def test_disguised_linear_classifiers(kind):
    for seed in range(20):
        rng = np.random.default_rng([seed, _KINDS.index(kind)])
        num_classes = int(rng.integers(2, 6))
        weights = rng.normal(size=(_SIZE, num_classes)).astype(np.float32)
        bias = rng.normal(size=num_classes, scale=0.1).astype(np.float32)
        images = rng.random((_COUNT, _SIZE)).astype(np.float32)
        images[: _COUNT // 2, 0] = 0  # Where sqrt(square) has no derivative.
        labels = (images @ weights + bias).argmax(1)

        def logits_fn(x, weights=weights, bias=bias):
            return x @ weights + bias

        classifier = _disguise(kind, logits_fn, rng)
        name = ("pgd", "apgd_ce")[seed % 2]
        try:
            result = attacks.run(
                name, classifier, images, labels, epsilon=_EPSILON, bounds=None, seed=seed
            )
        except InputError as error:
            assert len(str(error)) <= 600
            continue
        exact = _compute_exact_robustness(weights, bias, images, labels)
        # Half precision makes ties of small margins.
        slack = (2 if kind == "half" else 1) * 100 / _COUNT
        assert result.flags or result.robust_accuracy <= exact + slack + 1e-6, (seed, kind)
        if kind == "none":
            assert result.robust_accuracy >= exact - 1e-6


@pytest.mark.slow
def test_the_verifier_agrees_with_numpy():
    weights = np.random.default_rng(0).normal(size=(_SIZE, 3)).astype(np.float32)
    orders = {"linf": np.inf, "l2": 2, "l1": 1}

    def logits_fn(x):
        return x @ weights

    for seed in range(200):
        rng = np.random.default_rng(seed)
        images = rng.random((_COUNT, _SIZE)).astype(np.float32)
        labels = (images @ weights).argmax(1)
        labels = np.where(rng.random(_COUNT) < 0.2, (labels + 1) % 3, labels)
        norm, epsilon = rng.choice(list(orders)), float(rng.choice([0.05, 0.3, 1.0]))
        delta = rng.normal(size=images.shape) * rng.choice([0.05, 0.5], size=(_COUNT, 1))
        perturbed = (images + delta).astype(np.float32)
        if rng.random() < 0.7:
            perturbed = np.clip(perturbed, 0, 1)
        perturbed[rng.random(_COUNT) < 0.1, 0] = np.nan

        def attack(logits_fn, x, y, *, epsilon, ids, norm="linf", perturbed=perturbed):
            return tf.gather(perturbed, ids)

        result = attacks.run(
            attack, logits_fn, images, labels, epsilon=epsilon, norm=norm, batch_size=8
        )
        with np.errstate(invalid="ignore"):
            finite = np.isfinite(perturbed).all(1)
            in_box = (perturbed >= -1e-6).all(1) & (perturbed <= 1 + 1e-6).all(1)
            distances = np.linalg.norm(perturbed - images, orders[norm], axis=1)
            in_ball = distances <= epsilon * (1 + 1e-5) + 1e-7
            moved = finite & in_box & in_ball & ((perturbed @ weights).argmax(1) != labels)
        correct = (images @ weights).argmax(1) == labels
        np.testing.assert_array_equal(result.correct, correct)
        np.testing.assert_array_equal(result.success, ~correct | moved)
        broken_rules = {
            "not_finite": correct & ~finite,
            "outside_box": correct & finite & ~in_box,
            "outside_ball": correct & finite & ~in_ball,
        }
        flags = {flag.name for flag in result.flags}
        for name, rows in broken_rules.items():
            assert (name in flags) == rows.any(), (seed, name)


_PLAIN = ClassifierInfo(10, "logits")


def _columns(**changes) -> reliability.EvaluatedImages:
    columns = {
        "success": np.arange(20) < 12,
        "correct": np.ones(20, bool),
        "classes": np.arange(20) % 10,
        "progress": np.ones(20, np.float32),
        "violations": np.zeros(20, np.int8),
        "is_saturated": np.zeros(20, bool),
    }
    return reliability.EvaluatedImages(**{**columns, **changes})


@pytest.mark.parametrize(
    "changes,probe,name",
    [
        (
            {"violations": np.arange(20) // 19 * verification.OUTSIDE_BALL},
            ProbeInfo(),
            "outside_ball",
        ),
        ({"success": np.zeros(20, bool)}, ProbeInfo(), "nothing_broken"),
        ({"progress": -np.ones(20, np.float32)}, ProbeInfo(), "no_progress"),
        ({"correct": np.arange(20) < 2}, ProbeInfo(), "above_test_accuracy"),
        ({"correct": np.arange(20) < 4, "success": np.arange(20) != 0}, ProbeInfo(), "at_chance"),
        ({"is_saturated": np.arange(20) > 17}, ProbeInfo(False, True), "vanishing_gradient"),
        ({}, ProbeInfo(False, True, misleading=0.6), "misleading_gradient"),
        ({}, ProbeInfo(False, True, zero=0.5), "zero_gradient"),
        ({}, ProbeInfo(False, True, non_finite=0.1), "gradient_not_finite"),
        ({"distances": np.zeros(20)}, ProbeInfo(), "success_without_moving"),
        # Most images have one label, so a constant classifier is above chance.
        ({"correct": np.arange(20) < 18, "classes": np.zeros(20)}, ProbeInfo(), "one_class"),
    ],
)
def test_each_sign_has_a_flag(changes, probe, name):
    assert not reliability.find_flags(None, _columns(), _PLAIN, ProbeInfo())
    flags = reliability.find_flags(None, _columns(**changes), _PLAIN, probe)
    assert name in {flag.name for flag in flags}
    assert all(len(flag.message) < 250 for flag in flags)


def test_probabilities_and_chance_are_flagged():
    info = ClassifierInfo(10, "softmax", is_exact=False)
    flags = reliability.find_flags(None, _columns(), info, ProbeInfo(is_random=True))
    assert {flag.name for flag in flags} == {"probabilities", "random"}
    exact = ClassifierInfo(10, "softmax", is_exact=True)
    assert not reliability.find_flags(None, _columns(), exact, ProbeInfo())
