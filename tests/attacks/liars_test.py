"""Classifiers that look robust and are not: refused, flagged, or seen through.

Each liar has the decisions of an honest network, or nearly so, and hides them from attacks. For
every attack it must be refused, or its result flagged, or the robust accuracy must be that of the
honest network within two points.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks, datasets
from qup.attacks.results import AttackResult
from qup.core.errors import InputError

pytestmark = pytest.mark.slow
_COUNT, _EPSILON = 100, {"linf": 0.15, "l2": 1.5, "l1": 8.0, "l0": 8.0}
_TOLERANCE = 2.0
# Options that make slow attacks fast, with enough steps that they are not weak.
_QUICK = {
    "apgd_ce": {"num_steps": 30},
    "apgd_dlr": {"num_steps": 30},
    "apgd_t": {"num_steps": 20, "num_targets": 2},
    "carlini_wagner": {"num_steps": 60, "search_steps": 3, "initial_constant": 1.0},
    "elastic_net": {"num_steps": 60, "search_steps": 3, "initial_constant": 1.0},
    "fab": {"num_steps": 30},
    "fab_t": {"num_steps": 20, "num_targets": 2},
    "one_pixel": {"num_pixels": 4, "population": 40, "num_steps": 8},
    "spsa": {"num_samples": 32, "num_steps": 25},
    "square": {"num_queries": 300},
}
# Those that only say that an attack is weak by itself.
_HARMLESS_FLAGS = {"few_steps"}
# One attack of each family; the others are in the exhaustive tests.
_FAMILIES = (
    "apgd_ce",
    "apgd_t",
    "carlini_wagner",
    "cleverhans_pgd",
    "ddn",
    "deepfool",
    "fab",
    "fgsm",
    "jsma",
    "pgd",
    "spsa",
    "square",
)
# Ensembles run attacks that are here by themselves.
_NAMES = [name for name in attacks.names() if name not in ("autoattack", "minimum_norm")]
_BUDGET_NAMES = [name for name in _NAMES if attacks.traits(name)["kind"] == "budget"]
# The label leak looks images up, and is robust only in a small ball.
_LEAK_FACTOR = 0.25


@functools.cache
def build_honest() -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """Returns a small network trained on 8 x 8 digits, test images and their labels."""
    data = datasets.load("digits")
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(0.01), loss)
    (images, labels), (test_images, test_labels) = (
        (_shrink(arrays[0]) / np.float32(255), arrays[1])
        for arrays in map(data.get_arrays, ("train", "test"))
    )
    network.fit(images, labels, epochs=20, verbose=0)
    return network, test_images[:_COUNT], test_labels[:_COUNT]


def _shrink(images: np.ndarray) -> np.ndarray:
    """Returns bytes [n, height, width, 1] as bytes [n, 8, 8, 1]."""
    resized = tf.image.resize(images, (8, 8), antialias=True).numpy()
    return np.clip(np.round(resized), 0, 255).astype(np.uint8)


def _pass_gradient(change):
    """Returns `change` with the gradient of the identity."""
    return lambda x: x + tf.stop_gradient(change(x) - x)


def _round_pixels(x):
    return tf.round(15 * x) / 15


def _compress(x):
    def compress_image(image):
        pixels = tf.cast(tf.round(255 * image), tf.uint8)
        return tf.cast(tf.io.decode_jpeg(tf.io.encode_jpeg(pixels), 1), tf.float32)

    decoded = tf.map_fn(compress_image, x, fn_output_signature=tf.float32)
    return tf.reshape(decoded, tf.shape(x)) / 255


def build_liars() -> dict:
    """Returns what each liar makes of the honest network: name to classifier."""
    network, images, labels = build_honest()
    memory = tf.constant(images.reshape(_COUNT, -1))
    memory_labels = tf.constant(labels, tf.int32)

    def nan_gradient(x):
        return network(tf.sqrt(tf.square(x)))

    def scaled(x):
        return 1000.0 * network(x)

    def zero_gradient(x):
        return network(tf.stop_gradient(x)) + 0.0 * tf.reduce_sum(x)

    def quantised(x):
        return network(_round_pixels(x))

    def random(x):
        return network(x + tf.random.normal(tf.shape(x), stddev=0.1))

    def jpeg(x):
        return network(_compress(x))

    def one_class(x):
        return network(x) * 1e-3 + 5.0 * tf.one_hot(3, 10)

    def leak(x):
        # Looks the image up among the test images, and gives its label.
        flat = tf.stop_gradient(tf.reshape(x, (tf.shape(x)[0], -1)))
        distances = tf.reduce_sum(tf.square(flat[:, None] - memory), -1)
        known = tf.gather(memory_labels, tf.argmin(distances, -1))
        return network(x) + 100.0 * tf.one_hot(known, 10)

    def dropout_on(x):
        return network(tf.nn.dropout(x, 0.5))

    return {
        "nan_gradient": nan_gradient,
        "zero_gradient": zero_gradient,
        "scaled": scaled,
        "quantised": quantised,
        "random": random,
        "jpeg": jpeg,
        "sigmoid": keras.Sequential([network, keras.layers.Activation("sigmoid")]),
        "softmax": keras.Sequential([network, keras.layers.Softmax()]),
        "one_class": one_class,
        "wrong_range": keras.Sequential([keras.layers.Rescaling(1 / 255), network]),
        "dropout": dropout_on,
        "leak": leak,
    }


LIARS = (
    "nan_gradient",
    "zero_gradient",
    "scaled",
    "quantised",
    "random",
    "jpeg",
    "sigmoid",
    "softmax",
    "one_class",
    "wrong_range",
    "dropout",
    "leak",
)


def _attack(name: str, classifier, budget_factor: float = 1.0) -> AttackResult:
    _, images, labels = build_honest()
    norm = attacks.traits(name)["norms"][0]
    options = dict(_QUICK.get(name, {}))
    if attacks.traits(name)["kind"] == "budget":
        options["epsilon"] = budget_factor * _EPSILON[norm]
    return attacks.run(name, classifier, images, labels, batch_size=50, **options)


def _compute_robust_accuracy(name: str, result) -> float:
    norm = attacks.traits(name)["norms"][0]
    within = result.distances[norm] <= _EPSILON[norm] * (1 + 1e-5)
    return 100 * float(np.mean(~(result.success & within)))


@functools.cache
def _build_reference(liar: str):
    """Returns the classifier whose robust accuracy is the true one of a liar."""
    network = build_honest()[0]
    change = {"quantised": _round_pixels, "jpeg": _compress}.get(liar)
    if change is None:
        return network
    change = _pass_gradient(change)
    return lambda x: network(change(x))


@functools.cache
def _compute_reference(liar: str, name: str) -> float:
    return _compute_robust_accuracy(name, _attack(name, _build_reference(liar)))


@functools.cache
def _get_liar(liar: str):
    return build_liars()[liar]


def _mark(names: list[str]) -> list:
    """Returns parameters of tests; those outside the families are exhaustive."""
    return [
        pytest.param(name, marks=() if name in _FAMILIES else pytest.mark.exhaustive)
        for name in names
    ]


@pytest.mark.parametrize("name", _mark(_NAMES))
@pytest.mark.parametrize("liar", [liar for liar in LIARS if liar != "leak"])
def test_liars_are_refused_flagged_or_seen_through(liar, name):
    try:
        result = _attack(name, _get_liar(liar))
    except InputError as error:
        assert len(str(error)) <= 600 and "\n" not in str(error)
        return
    flags = {flag.name for flag in result.flags} - _HARMLESS_FLAGS
    robust_accuracy = _compute_robust_accuracy(name, result)
    truth = _compute_reference(liar if liar in ("quantised", "jpeg") else "", name)
    assert flags or robust_accuracy <= truth + _TOLERANCE, (robust_accuracy, truth)


# A minimum-norm attack finds the images beyond the small ball, at their true distances.
@pytest.mark.parametrize("name", _mark(_BUDGET_NAMES))
def test_a_leak_of_labels_is_flagged(name):
    result = _attack(name, _get_liar("leak"), _LEAK_FACTOR)
    assert result.robust_accuracy == result.test_accuracy
    assert "nothing_broken" in {flag.name for flag in result.flags}
