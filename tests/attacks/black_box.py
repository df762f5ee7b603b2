"""Classifiers and helpers that the tests of black-box attacks share."""

import keras
import numpy as np
import tensorflow as tf
from sklearn import datasets

from qup import attacks
from qup.attacks import inputs, stages
from qup.attacks.batch_sizes import BatchSizes


def build_linear_classifier(shape, classes=3, exact=True):
    """Returns images -> W x, and W float64 [*shape, classes].

    Exact weights are multiples of 1/2: with images in multiples of 1/64 the sums are exact in
    float32, in any order.
    """
    rng = np.random.default_rng(0)
    weights = rng.integers(-6, 7, (*shape, classes)) / 2
    if not exact:
        weights += rng.uniform(-0.2, 0.2, weights.shape)
    size = int(np.prod(shape))
    matrix = tf.constant(weights.reshape(size, classes), tf.float32)
    return lambda images: tf.reshape(images, (-1, size)) @ matrix, weights


def build_grid_images(count, shape):
    """Draws images with multiples of 1/64 in [0, 1], float32 [count, *shape]."""
    rng = np.random.default_rng(1)
    return (rng.integers(0, 65, (count, *shape)) / 64).astype(np.float32)


def add_rounding(logits_fn):
    """Rounds pixels to 16 levels: the classifier has no gradient."""
    return lambda images: logits_fn(tf.round(images * 15) / 15)


def train_digits_classifier():
    """Returns a small network, and 60 8x8 digits that it classifies correctly."""
    keras.utils.set_random_seed(1)
    bunch = datasets.load_digits()
    images = bunch.images[..., None].astype(np.float32) / 16
    labels = bunch.target.astype(np.int32)
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(12, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(5e-3), loss, jit_compile=False)
    network.fit(images[:1400], labels[:1400], 64, epochs=5, verbose=0)
    images, labels = images[1400:], labels[1400:]
    is_correct = predict_classes(network, images) == labels
    return network, images[is_correct][:60], labels[is_correct][:60]


def build_constant_classifier():
    """Returns a classifier whose three logits are 0."""
    return lambda images: tf.zeros((images.shape[0], 3))


def predict_classes(logits_fn, images):
    """Returns the predicted classes, int32 [n]."""
    logits = logits_fn(tf.constant(images, tf.float32))
    return np.argmax(logits, 1).astype(np.int32)


def run_attack(name, logits_fn, images, labels, *, ids=None, batch_size=None, **options):
    """Runs all stages of an attack, and returns its AttackResult."""
    count = len(labels)
    method = attacks.build_method(name, **options)
    budget = np.nan if method.budget is None else method.budget
    examples = inputs.ExampleBatch(
        np.asarray(images, np.float32),
        np.asarray(labels, np.int32),
        np.arange(count) if ids is None else np.asarray(ids),
        np.full(count, budget, np.float32),
    )
    classifiers = stages.ClassifierPair(logits_fn, logits_fn)
    return stages.run_stages(method, classifiers, examples, sizes=BatchSizes(batch_size or count))


def compute_linear_distances(weights, images, labels, dual):
    """Returns distances to the closest boundary of a linear model, without a box."""
    count, size = len(labels), np.prod(weights.shape[:-1])
    matrix = weights.reshape(size, -1)
    logits = images.reshape(count, size).astype(np.float64) @ matrix
    distances = np.full(count, np.inf)
    for other in range(matrix.shape[1]):
        for row, label in enumerate(labels):
            if other != label:
                gradient = matrix[:, other] - matrix[:, label]
                gap = logits[row, label] - logits[row, other]
                distance = gap / np.linalg.norm(gradient, dual)
                distances[row] = min(distances[row], distance)
    return distances


def compute_norms(images, clean, norm):
    """Returns the norms of perturbations, float64 [n]."""
    delta = np.reshape(np.asarray(images) - clean, (len(clean), -1))
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    return np.linalg.norm(delta.astype(np.float64), order, axis=1)
