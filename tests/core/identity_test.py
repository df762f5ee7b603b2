"""Who a classifier is: graph, configuration, weights, range of pixels; code and responses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.core.classifier import Classifier, wrap_classifier
from qup.core.errors import InputError
from qup.core.identity import compute_classifier_identity, compute_network_identity

_SHAPE = (6, 6, 1)
_IMAGES = np.random.default_rng(0).random((8, *_SHAPE)).astype(np.float32)


def _build(*first_layers, seed=0, activation="relu", last=()) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input(_SHAPE),
            *first_layers,
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation),
            keras.layers.Dense(3),
            *last,
        ]
    )


def _identify(classifier) -> str:
    return compute_classifier_identity(classifier, _IMAGES)


def test_the_same_layers_and_weights_are_one_network():
    first, second = _build(), _build()
    assert first.layers[-1].name != second.layers[-1].name
    assert compute_network_identity(first) == compute_network_identity(second)
    assert _identify(first) == _identify(second)
    inputs = keras.Input(_SHAPE)
    graphs = [keras.Model(inputs, _build()(inputs)) for _ in range(2)]
    assert _identify(graphs[0]) == _identify(graphs[1])


def test_graph_configuration_weights_and_range_all_count():
    classifiers = [
        _build(),
        _build(seed=1),
        _build(activation="tanh"),
        _build(keras.layers.Rescaling(4.0, -1.5)),
        _build(last=[keras.layers.Softmax()]),
        Classifier(_build(), pixel_range=(-1, 1)),
    ]
    assert len({_identify(classifier) for classifier in classifiers}) == len(classifiers)


def test_code_models_inside_logits_and_gradients_identify_a_function():
    network, other = _build(), _build(seed=1)
    weights = tf.constant(np.random.default_rng(2).normal(size=(36, 3)).astype(np.float32))

    def call_network(images):
        return network(images)

    def call_other(images):
        return other(images)

    def linear(images):
        return tf.reshape(images, (-1, 36)) @ weights

    @tf.custom_gradient
    def with_other_gradient(images):
        return linear(images), lambda upstream: tf.ones_like(images)

    def hidden(images):
        return with_other_gradient(images)

    def build_scaled(scale):
        return lambda images: network(images) * scale

    functions = [call_network, call_other, linear, hidden, build_scaled(1.0), build_scaled(2.0)]
    identities = [_identify(function) for function in functions]
    assert len(set(identities)) == len(functions)
    assert identities == [_identify(function) for function in functions]


def test_an_object_without_code_is_identified_by_its_responses():
    class Opaque:
        def __init__(self, network):
            self._network = network

        def __call__(self, images):
            return self._network(images)

    same, again, other = Opaque(_build()), Opaque(_build()), Opaque(_build(seed=1))
    assert _identify(same) == _identify(again) != _identify(other)


def _build_pairs():
    """Returns pairs of classifiers with the same weights or the same logits."""
    plain = _build()
    weights = tf.constant(np.random.default_rng(2).normal(size=(36, 3)).astype(np.float32))

    @tf.custom_gradient
    def replaced(images):
        return tf.reshape(images, (-1, 36)) @ weights, lambda upstream: tf.zeros_like(images)

    class Opaque:
        def __init__(self, function):
            self._function = function

        def __call__(self, images):
            return self._function(images)

    return {
        "another first layer": (plain, _build(keras.layers.Rescaling(4.0, -1.5))),
        "another range": (plain, wrap_classifier(plain, pixel_range=(-1, 1))),
        "another gradient": (Opaque(lambda x: tf.reshape(x, (-1, 36)) @ weights), Opaque(replaced)),
    }


@pytest.mark.parametrize("name", ["another first layer", "another range", "another gradient"])
def test_a_folder_of_results_belongs_to_one_classifier(name, tmp_path):
    first, second = _build_pairs()[name]
    labels = np.arange(8) % 3
    options = {"epsilon": 0.1, "output": tmp_path / "out"}
    result = attacks.run("pgd", first, _IMAGES, labels, **options)
    again = attacks.run("pgd", first, _IMAGES, labels, **options)
    np.testing.assert_array_equal(result.success, again.success)
    with pytest.raises(InputError, match="another attack's results: classifier"):
        attacks.run("pgd", second, _IMAGES, labels, **options)


@pytest.mark.slow
def test_many_networks_differ_pairwise():
    rng, identities = np.random.default_rng(3), {}
    activations = ["relu", "tanh", "elu", "linear"]
    for number in range(200):
        keras.utils.set_random_seed(number // 100)
        layers = [keras.Input(_SHAPE), keras.layers.Rescaling(float(1 + number % 5))]
        layers += [keras.layers.Flatten()]
        layers += [keras.layers.Dense(4 + number % 3, activations[number % 4])]
        if number % 7 == 0:
            layers.append(keras.layers.LayerNormalization())
        layers.append(keras.layers.Dense(2 + int(rng.integers(3))))
        network = keras.Sequential(layers)
        description = (
            str([w.numpy().tolist() for w in network.weights]),
            number % 5,
            number % 4,
            number % 7 == 0,
        )
        identity = compute_network_identity(network)
        assert identities.setdefault(identity, description) == description
    assert len(identities) > 150
