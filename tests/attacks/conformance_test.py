"""What every registered attack promises, whatever it does."""

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
# Settings under which the slow ones take seconds; none is needed.
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


class _RowByRow(keras.layers.Dense):
    """Dense, but every row is summed alike, wherever it stands.

    A matrix product may round a row by its place in the batch, which some
    processors' kernels do; attacks must add no such dependence of their own.
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
            _RowByRow(_CLASSES),
        ]
    )


@functools.cache
def _examples():
    """Images and labels, two of which are wrong from the start."""
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


def _every(**wanted):
    """Every (attack, norm) that has the traits wanted."""
    return [
        (name, norm)
        for name in attacks.names()
        for norm in attacks.traits(name)["norms"]
        if wanted.items() <= attacks.traits(name).items()
    ]


every = pytest.mark.parametrize("name,norm", _every())
budgeted = pytest.mark.parametrize("name,norm", _every(kind="budget"))


@every
def test_a_result_is_what_it_says(name, norm):
    images, labels = _examples()
    result = _result(name, norm)
    moved, won = np.asarray(result.images), result.success
    assert moved.shape == images.shape and moved.dtype == np.float32
    assert np.isfinite(moved).all()
    assert moved.min() >= 0 and moved.max() <= 1
    wrong = np.argmax(_classifier()(moved), -1) != labels
    assert (wrong[won]).all()
    assert (moved[~won] == images[~won]).all()
    assert (result.stage >= 0).tolist() == won.tolist()
    delta = np.reshape(moved - images, (_COUNT, -1))
    for key, far in result.distances.items():
        order = {"l0": 0, **_ORDER}[key]
        np.testing.assert_allclose(far, np.linalg.norm(delta, order, axis=1), atol=1e-5)
    # What was misclassified from the start is broken.
    assert won[[3, 11]].all()


@budgeted
def test_stays_in_its_ball(name, norm):
    result = _result(name, norm)
    assert (result.distances[norm] <= _EPSILON[norm] * (1 + 1e-5)).all()
    assert (result.epsilon == np.float32(_EPSILON[norm])).all()


@every
def test_breaks_something(name, norm):
    assert _result(name, norm).success.sum() >= 5


@pytest.mark.parametrize(
    "name,norm", [pair for pair in _every() if attacks.traits(pair[0])["method"]]
)
def test_counts_its_calls(name, norm):
    result = _result(name, norm)
    calls = result.forward_calls + result.gradient_calls
    assert (calls > 0).all() and np.isfinite(calls).all()
    gradients = bool(result.gradient_calls.sum())
    assert gradients or not attacks.traits(name)["gradients"]


@every
def test_rows_depend_on_nothing_but_themselves(name, norm):
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
    # To the last bit: the shape of the batch is the same.
    assert (np.asarray(other.images) == result.images[order]).all()
    assert (other.success == result.success[order]).all()


@pytest.mark.slow
@every
def test_batch_sizes_agree_in_success_and_loss(name, norm):
    _, labels = _examples()
    results = [_result(name, norm, batch_size=size) for size in (8, _COUNT)]
    np.testing.assert_array_equal(*(r.success for r in results))
    found = [_classifier()(np.asarray(r.images)) for r in results]
    np.testing.assert_allclose(*(losses.margin(logits, labels) for logits in found), atol=1e-5)


@pytest.mark.parametrize("name,norm", _every(kind="budget", targeted=True))
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


@pytest.mark.parametrize("name,norm", _every(kind="minimum_norm", targeted=True))
def test_nearest_targets_are_farther_than_the_nearest_class(name, norm):
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
    hit = result.success
    assert (classes == np.argmin(logits, 1))[hit].all()
    free = _result(name, norm)
    both = hit & free.success
    assert both.any()
    far, near = (r.distances[norm][both].mean() for r in (result, free))
    assert far >= near


@budgeted
def test_no_budget_returns_the_images(name, norm):
    # As many as a batch, for which the attack is compiled already.
    images, labels = (column[:8] for column in _examples())
    options = _options(name, norm) | {"epsilon": 0.0}
    moved = attacks.get(name)(_classifier(), images, labels, **options)
    np.testing.assert_allclose(moved, images, atol=1e-6)


@every
def test_an_empty_batch_is_empty(name, norm):
    images, labels = _examples()
    result = attacks.run(name, _classifier(), images[:0], labels[:0], **_options(name, norm))
    assert len(result) == 0 and result.images.shape == (0, *_SHAPE)


@pytest.mark.parametrize("name,norm", _every(kind="budget", gradients=True))
def test_raises_the_loss(name, norm):
    images, labels = _examples()
    result = _result(name, norm)
    right = np.argmax(_classifier()(images), -1) == labels
    won = result.success & right
    before = losses.margin(_classifier()(images), labels)
    moved = _classifier()(np.asarray(result.images))
    after = losses.margin(moved, labels)
    assert (after > before).numpy()[won].all() and won.any()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,norm", [pair for pair in _every() if attacks.traits(pair[0])["method"]]
)
def test_xla_breaks_as_many(name, norm):
    compiled = attacks.run(
        name, _classifier(), *_examples(), batch_size=8, xla="on", **_options(name, norm)
    )
    plain = _result(name, norm).success
    assert np.sum(compiled.success != plain) <= 1


@pytest.mark.parametrize(
    "name,norm", [p for p in _every(kind="budget") if attacks.traits(p[0])["method"]]
)
def test_a_sweep_over_epsilon_traces_once(name, norm):
    traces = []
    weights = tf.random.stateless_normal((int(np.prod(_SHAPE)), 5), (1, 2))

    def logits_fn(inputs):
        traces.append(inputs.shape)
        return tf.reshape(inputs, (inputs.shape[0], -1)) @ weights

    images, labels = _examples()
    given = images[:6], labels[:6] % 3
    options = _options(name, norm)
    epsilon = options.pop("epsilon")
    if name in ("basic_iterative", "iterative_least_likely_class"):
        options["num_steps"] = 3
    attacks.run(name, logits_fn, *given, batch_size=8, epsilon=epsilon, **options)
    first = len(traces)
    for factor in (0.5, 0.3, 0.2):
        attacks.run(name, logits_fn, *given, batch_size=8, epsilon=factor * epsilon, **options)
    assert len(traces) == first


@pytest.mark.parametrize("epsilon", [-0.1, float("nan"), "big"])
@budgeted
def test_bad_epsilon(name, norm, epsilon):
    images, labels = _examples()
    options = _options(name, norm) | {"epsilon": epsilon}
    with pytest.raises(InputError, match="epsilon must be"):
        attacks.get(name)(_classifier(), images[:6], labels[:6], **options)
