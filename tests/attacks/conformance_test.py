"""Properties of all registered attacks."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import losses
from qup.core.errors import InputError

_COUNT, _CLASSES, _SHAPE = 17, 5, (9, 6, 2)
_EPSILON = {"linf": 0.1, "l2": 0.6, "l1": 3.0}
_ORDER = {"linf": np.inf, "l2": 2, "l1": 1}
# Options that make slow attacks fast.
_QUICK = {
    "apgd_ce": {"num_steps": 12},
    "apgd_dlr": {"num_steps": 12},
    "apgd_t": {"num_steps": 12, "num_targets": 2},
    "carlini_wagner": {
        "num_steps": 40,
        "search_steps": 4,
        "learning_rate": 0.05,
        "initial_constant": 1.0,
    },
    "elastic_net": {"num_steps": 40, "search_steps": 4, "initial_constant": 1.0},
    "fab": {"num_steps": 12},
    "fab_t": {"num_steps": 12, "num_targets": 2},
    "one_pixel": {"population": 30, "num_steps": 6},
    "spsa": {"num_samples": 16, "num_steps": 8},
    "square": {"num_queries": 60},
}


class _RowwiseDense(keras.layers.Dense):
    """A dense layer whose rounding does not depend on the row.

    The matrix product of some processors rounds each row differently. Attacks must not add such a
    dependence.
    """

    def call(self, inputs):
        products = inputs[:, :, None] * self.kernel
        return keras.ops.sum(products, 1) + self.bias


@functools.cache
def _classifier():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input(_SHAPE),
            keras.layers.Conv2D(6, 3, activation="relu"),
            keras.layers.Flatten(),
            _RowwiseDense(_CLASSES),
        ]
    )


@functools.cache
def _examples():
    """Returns images and labels; two images are misclassified."""
    images = np.random.default_rng(0).random((_COUNT, *_SHAPE), np.float32)
    labels = np.argmax(_classifier()(images), -1)
    labels[[3, 11]] = (labels[[3, 11]] + 1) % _CLASSES
    return images, labels


def _options(name, norm):
    options = dict(_QUICK.get(name, {}))
    if len(attacks.traits(name)["norms"]) > 1:
        options["norm"] = norm
    if attacks.traits(name)["kind"] == "budget":
        options["epsilon"] = _EPSILON[norm]
    return options


@functools.cache
def _result(name, norm, batch_size=8):
    return attacks.run(
        name, _classifier(), *_examples(), batch_size=batch_size, **_options(name, norm)
    )


def _select_attacks(**traits):
    """Returns all (attack, norm) with these traits."""
    return [
        (name, norm)
        for name in attacks.names()
        for norm in attacks.traits(name)["norms"]
        if traits.items() <= attacks.traits(name).items()
    ]


all_attacks = pytest.mark.parametrize("name,norm", _select_attacks())
budget_attacks = pytest.mark.parametrize("name,norm", _select_attacks(kind="budget"))


@all_attacks
def test_result_is_consistent(name, norm):
    images, labels = _examples()
    result = _result(name, norm)
    perturbed, success = np.asarray(result.images), result.success
    assert perturbed.shape == images.shape and perturbed.dtype == np.float32
    assert np.isfinite(perturbed).all()
    assert perturbed.min() >= 0 and perturbed.max() <= 1
    is_misclassified = np.argmax(_classifier()(perturbed), -1) != labels
    assert (is_misclassified[success]).all()
    assert (perturbed[~success] == images[~success]).all()
    assert (result.stage >= 0).tolist() == (success & result.correct).tolist()
    delta = np.reshape(perturbed - images, (_COUNT, -1))
    for key, distance in result.distances.items():
        # Elements that rounding alone has moved do not count.
        changes = np.abs(delta) > 1e-6 if key == "l0" else delta
        order = {"l0": 0, **_ORDER}[key]
        np.testing.assert_allclose(distance, np.linalg.norm(changes, order, axis=1), atol=1e-5)
    # Misclassified clean images count as successes.
    assert success[[3, 11]].all()


@budget_attacks
def test_stays_in_the_ball(name, norm):
    result = _result(name, norm)
    assert (result.distances[norm] <= _EPSILON[norm] * (1 + 1e-5)).all()
    assert (result.epsilon == np.float32(_EPSILON[norm])).all()


@all_attacks
def test_succeeds_for_some_images(name, norm):
    assert _result(name, norm).success.sum() >= 5


@pytest.mark.parametrize(
    "name,norm", [pair for pair in _select_attacks() if attacks.traits(pair[0])["method"]]
)
def test_counts_its_calls(name, norm):
    result = _result(name, norm)
    calls = result.forward_calls + result.gradient_calls
    # An image that is misclassified as it is is not attacked.
    assert (calls[result.correct] > 0).all() and np.isfinite(calls).all()
    assert not calls[~result.correct].any()
    gradients = bool(result.gradient_calls.sum())
    assert gradients or not attacks.traits(name)["gradients"]


@all_attacks
def test_rows_are_independent(name, norm):
    images, labels = _examples()
    order = np.random.default_rng(1).permutation(_COUNT)
    other = attacks.run(
        name,
        _classifier(),
        images[order],
        labels[order],
        batch_size=8,
        ids=order,
        **_options(name, norm),
    )
    result = _result(name, norm)
    # Equal bit for bit, because the shape of the batch is equal.
    assert (np.asarray(other.images) == result.images[order]).all()
    assert (other.success == result.success[order]).all()


@pytest.mark.slow
@all_attacks
def test_batch_sizes_agree_in_success_and_loss(name, norm):
    _, labels = _examples()
    results = [_result(name, norm, batch_size=size) for size in (8, _COUNT)]
    np.testing.assert_array_equal(*(r.success for r in results))
    logits = [_classifier()(np.asarray(r.images)) for r in results]
    np.testing.assert_allclose(*(losses.margin(z, labels) for z in logits), atol=1e-5)


@pytest.mark.parametrize("name,norm", _select_attacks(kind="budget", targeted=True))
def test_targets_are_reached(name, norm):
    images, labels = _examples()
    targets = (labels + 2) % _CLASSES
    options = _options(name, norm)
    options["epsilon"] *= 3
    result = attacks.run(
        name, _classifier(), images, labels, batch_size=8, targets=targets, **options
    )
    classes = np.argmax(_classifier()(np.asarray(result.images)), -1)
    assert (classes == targets)[result.success].all()
    assert result.success.sum() >= 3


@pytest.mark.parametrize("name,norm", _select_attacks(kind="minimum_norm", targeted=True))
def test_targets_are_farther_than_the_closest_class(name, norm):
    images, labels = _examples()
    result = attacks.run(
        name,
        _classifier(),
        images,
        labels,
        batch_size=8,
        targets="least_likely",
        **_options(name, norm),
    )
    logits = np.array(_classifier()(images))
    logits[np.arange(_COUNT), labels] = np.inf
    classes = np.argmax(_classifier()(np.asarray(result.images)), -1)
    success = result.success
    assert (classes == np.argmin(logits, 1))[success].all()
    untargeted = _result(name, norm)
    both = success & untargeted.success
    assert both.any()
    distances = [r.distances[norm][both].mean() for r in (result, untargeted)]
    assert distances[0] >= distances[1]


@budget_attacks
def test_epsilon_zero_returns_the_images(name, norm):
    # The attack is already compiled for this batch size.
    images, labels = (column[:8] for column in _examples())
    options = _options(name, norm) | {"epsilon": 0.0}
    perturbed = attacks.get(name)(_classifier(), images, labels, **options)
    np.testing.assert_allclose(perturbed, images, atol=1e-6)


@all_attacks
def test_accepts_no_images(name, norm):
    images, labels = _examples()
    result = attacks.run(name, _classifier(), images[:0], labels[:0], **_options(name, norm))
    assert len(result) == 0 and result.images.shape == (0, *_SHAPE)


@pytest.mark.parametrize("name,norm", _select_attacks(kind="budget", gradients=True))
def test_raises_the_loss(name, norm):
    images, labels = _examples()
    result = _result(name, norm)
    correct = np.argmax(_classifier()(images), -1) == labels
    success = result.success & correct
    before = losses.margin(_classifier()(images), labels)
    perturbed = _classifier()(np.asarray(result.images))
    after = losses.margin(perturbed, labels)
    assert (after > before).numpy()[success].all() and success.any()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,norm", [pair for pair in _select_attacks() if attacks.traits(pair[0])["method"]]
)
def test_xla_has_equal_success(name, norm):
    compiled = attacks.run(
        name, _classifier(), *_examples(), batch_size=8, xla="on", **_options(name, norm)
    )
    plain = _result(name, norm).success
    assert np.sum(compiled.success != plain) <= 1


@pytest.mark.parametrize(
    "name,norm", [p for p in _select_attacks(kind="budget") if attacks.traits(p[0])["method"]]
)
def test_sweep_over_epsilon_traces_once(name, norm):
    traces = []
    weights = tf.random.stateless_normal((int(np.prod(_SHAPE)), 5), (1, 2))

    def logits_fn(inputs):
        traces.append(inputs.shape)
        return tf.reshape(inputs, (inputs.shape[0], -1)) @ weights

    images, labels = _examples()
    examples = images[:6], labels[:6] % 3
    options = _options(name, norm)
    epsilon = options.pop("epsilon")
    if name in ("basic_iterative", "iterative_least_likely_class"):
        options["num_steps"] = 3
    attacks.run(name, logits_fn, *examples, batch_size=8, epsilon=epsilon, **options)
    num_traces = len(traces)
    for factor in (0.5, 0.3, 0.2):
        attacks.run(name, logits_fn, *examples, batch_size=8, epsilon=factor * epsilon, **options)
    assert len(traces) == num_traces


@pytest.mark.parametrize("epsilon", [-0.1, float("nan"), "big"])
@budget_attacks
def test_refuses_an_invalid_epsilon(name, norm, epsilon):
    images, labels = _examples()
    options = _options(name, norm) | {"epsilon": epsilon}
    with pytest.raises(InputError, match="epsilon must be"):
        attacks.get(name)(_classifier(), images[:6], labels[:6], **options)
