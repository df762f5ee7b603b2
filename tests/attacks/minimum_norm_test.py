"""What four attacks of minimum norm share: rows, boxes, failures, scales."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, stages
from qup.attacks.batch_sizes import BatchSizes
from qup.core.errors import InputError

_SHAPE, _COUNT, _CLASSES = (6, 5, 2), 8, 4
_QUICK = {
    "carlini_wagner": {
        "num_steps": 30,
        "search_steps": 4,
        "initial_constant": 1.0,
        "learning_rate": 0.05,
    },
    "elastic_net": {"num_steps": 30, "search_steps": 4, "initial_constant": 1.0},
    "iterative_fgsm_search": {"num_steps": 10, "max_attempts": 6},
    "jsma": {"gamma": 0.5},
}

every = pytest.mark.parametrize("name", sorted(_QUICK))


def _run(name, logits_fn, images, labels, ids=None, batch_size=_COUNT, **more):
    """An AttackResult under settings that take a second."""
    method = attacks.build_method(name, **(_QUICK[name] | more))
    count = len(labels)
    examples = inputs.ExampleBatch(
        np.asarray(images, np.float32),
        np.asarray(labels, np.int32),
        np.arange(count) if ids is None else ids,
        np.full(count, np.nan, np.float32),
    )
    # The last bits depend on the size of a batch and on a row's place in it.
    sizes = BatchSizes(batch_size, can_shrink=False)
    return stages.run_stages(
        method, stages.ClassifierPair(logits_fn, logits_fn), examples, sizes=sizes
    )


@functools.cache
def _model():
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input(_SHAPE),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(_CLASSES),
        ]
    )
    # Centred, so that images of noise have more than one class.
    images = np.random.default_rng(0).random((200, *_SHAPE), np.float32)
    model.layers[-1].bias.assign(-np.mean(model(images), 0))
    return model


@functools.cache
def _examples():
    """Images, and labels of which the third is wrong from the start."""
    images = np.random.default_rng(1).random((_COUNT, *_SHAPE), np.float32)
    labels = np.argmax(_model()(images), -1)
    labels[2] = (labels[2] + 1) % _CLASSES
    return images, labels


@functools.cache
def _found(name):
    return _run(name, _model(), *_examples())


def _constant(logits):
    def logits_fn(images):
        zero = 0 * tf.reduce_sum(images, range(1, images.shape.rank))
        return zero[:, None] + tf.constant(logits)

    return logits_fn


@every
def test_most_are_broken_and_the_wrong_one_is_left_alone(name):
    images, labels = _examples()
    result = _found(name)
    assert result.success.sum() >= 5
    classes = np.argmax(_model()(result.images), -1)
    assert (classes != labels)[result.success].all()
    assert (result.images[2] == images[2]).all()
    assert result.gradient_calls[2] == 0 and result.forward_calls[2] == 0
    assert (np.delete(result.gradient_calls, 2) > 0).all()


@every
def test_rows_do_not_see_each_other(name):
    images, labels = _examples()
    order = np.random.default_rng(5).permutation(_COUNT)
    mixed = _run(name, _model(), images[order], labels[order], ids=order)
    assert (mixed.images == _found(name).images[order]).all()
    # Three at a time, rows enter and leave at different times.
    few = _run(name, _model(), images, labels, batch_size=3)
    norm = attacks.traits(name)["norms"][0]
    assert (few.success == _found(name).success).all()
    np.testing.assert_allclose(few.distances[norm], _found(name).distances[norm], rtol=0.02)
    one = attacks.get(name)(_model(), images[4:5], labels[4:5], **_QUICK[name])
    np.testing.assert_allclose(
        np.linalg.norm(one - images[4:5]), _found(name).distances["l2"][4], rtol=0.02
    )


@every
def test_the_same_in_a_box_of_255(name):
    images, labels = _examples()

    def logits_fn(bytes_):
        return _model()(bytes_ / 255)

    wide = _run(name, logits_fn, images * 255, labels, bounds=(0, 255))
    norm = attacks.traits(name)["norms"][0]
    width = 1 if norm == "l0" else 255
    assert (wide.success == _found(name).success).all()
    np.testing.assert_allclose(
        wide.distances[norm] / width, _found(name).distances[norm], rtol=0.03
    )
    assert wide.images.min() >= 0 and wide.images.max() <= 255


@every
@pytest.mark.parametrize("logits", [[3.0, 1.0, 0.0, 0.0], [0.0] * 4])
def test_a_constant_model_is_not_broken(name, logits):
    images, _ = _examples()
    labels = np.zeros(_COUNT, int)
    result = _run(name, _constant(logits), images, labels)
    assert not result.success.any()
    assert (result.images == images).all()
    adversarial = attacks.get(name)(_constant(logits), images, labels, **_QUICK[name])
    assert (adversarial == images).numpy().all()


@every
@pytest.mark.parametrize("bounds", [(0, 1), None])
def test_targets_are_reached(name, bounds):
    images, labels = _examples()
    targets = (labels + 1) % _CLASSES
    targets[0] = np.argmax(_model()(images[:1]))
    result = _run(name, _model(), images, targets, targeted=True, bounds=bounds)
    classes = np.argmax(_model()(result.images), -1)
    assert result.success.sum() >= 5
    assert (classes == targets)[result.success].all()
    assert (result.images[0] == images[0]).all()
    # A target is no nearer than the nearest of all classes.
    norm = attacks.traits(name)["norms"][0]
    both = result.success & _found(name).success
    distances = result.distances[norm][both].mean()
    assert distances > 0.9 * _found(name).distances[norm][both].mean()


@pytest.mark.slow
@every
def test_xla_breaks_as_many(name):
    compiled = _run(name, _model(), *_examples(), xla="on")
    assert (compiled.success == _found(name).success).mean() >= 0.9


@every
def test_a_sweep_traces_once(name):
    traces = []
    weights = tf.random.stateless_normal((int(np.prod(_SHAPE)), 3), (1, 2))

    def logits_fn(images):
        traces.append(images.shape)
        return tf.reshape(images, (images.shape[0], -1)) @ weights

    images, labels = _examples()
    option = {"jsma": "gamma"}.get(name, "num_steps")
    first = None
    for value in (0.5, 0.25, 1.0) if name == "jsma" else (4, 3, 2):
        _run(name, logits_fn, images, labels % 3, **{option: value})
        first = first or len(traces)
    assert len(traces) == first


@pytest.mark.parametrize(
    "name,options,message",
    [
        ("carlini_wagner", {"confidence": -1}, "confidence"),
        ("carlini_wagner", {"search_steps": 0}, "search_steps"),
        ("carlini_wagner", {"search_steps": 2.5}, "integer"),
        ("carlini_wagner", {"initial_constant": 0}, "initial_constant"),
        ("carlini_wagner", {"num_steps": 0}, "num_steps"),
        ("carlini_wagner", {"learning_rate": "big"}, "learning_rate"),
        ("elastic_net", {"beta": -1e-3}, "beta"),
        ("elastic_net", {"decision_rule": "l2"}, "Known: elastic_net, l1"),
        ("iterative_fgsm_search", {"initial_epsilon": 0}, "initial_epsilon"),
        ("iterative_fgsm_search", {"max_attempts": 0}, "max_attempts"),
        ("iterative_fgsm_search", {"loss": "hinge"}, "loss"),
        ("jsma", {"theta": 0.0}, "theta"),
        ("jsma", {"theta": float("nan")}, "theta"),
        ("jsma", {"gamma": 0}, "gamma"),
        ("jsma", {"gamma": 14.5}, "fraction"),
    ],
)
def test_bad_options_are_told_in_words(name, options, message):
    with pytest.raises(InputError, match=message):
        attacks.build_method(name, **options)
