"""Classifiers and comparisons that the tests of black-box attacks share."""

import keras
import numpy as np
import tensorflow as tf
from sklearn import datasets

from qup import attacks
from qup.attacks import inputs, stages


def linear(shape, classes=3, exact=True):
    """Logits W x of images of a shape, and W float64 [*shape, classes].

    Exact weights are small and halves: sums over images of 1/64ths are exact
    in float32, in any order.
    """
    random = np.random.default_rng(0)
    weights = random.integers(-6, 7, (*shape, classes)) / 2
    if not exact:
        weights += random.uniform(-0.2, 0.2, weights.shape)
    size = int(np.prod(shape))
    matrix = tf.constant(weights.reshape(size, classes), tf.float32)
    return lambda images: tf.reshape(images, (-1, size)) @ matrix, weights


def grid_images(count, shape):
    """Images of 1/64ths in [0, 1], float32 [count, *shape]."""
    random = np.random.default_rng(1)
    return (random.integers(0, 65, (count, *shape)) / 64).astype(np.float32)


def rounding(logits_fn):
    """The classifier on pixels of 16 levels: it has no gradient."""
    return lambda images: logits_fn(tf.round(images * 15) / 15)


def digits():
    """A small network trained on 8x8 digits, and 60 images it has right."""
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
    good = classes(network, images) == labels
    return network, images[good][:60], labels[good][:60]


def constant():
    """A classifier that answers 0 for each of three classes."""
    return lambda images: tf.zeros((images.shape[0], 3))


def classes(logits_fn, images):
    """The classes that a classifier answers, int32 [n]."""
    answers = logits_fn(tf.constant(images, tf.float32))
    return np.argmax(answers, 1).astype(np.int32)


def run(name, logits_fn, images, labels, *, ids=None, batch_size=None, **options):
    """The AttackResult of an attack of which every part is run."""
    count = len(labels)
    method = attacks.build_method(name, **options)
    budget = np.nan if method.budget is None else method.budget
    given = inputs.ExampleBatch(
        np.asarray(images, np.float32),
        np.asarray(labels, np.int32),
        np.arange(count) if ids is None else np.asarray(ids),
        np.full(count, budget, np.float32),
    )
    both = stages.ClassifierPair(logits_fn, logits_fn)
    return stages.run_stages(method, both, given, batch_size=batch_size or count)


def linear_distances(weights, images, labels, dual):
    """Distances to the nearest boundary of a linear model, without a box."""
    count, size = len(labels), np.prod(weights.shape[:-1])
    matrix = weights.reshape(size, -1)
    logits = images.reshape(count, size).astype(np.float64) @ matrix
    found = np.full(count, np.inf)
    for other in range(matrix.shape[1]):
        for row, label in enumerate(labels):
            if other != label:
                slope = matrix[:, other] - matrix[:, label]
                gap = logits[row, label] - logits[row, other]
                far = gap / np.linalg.norm(slope, dual)
                found[row] = min(found[row], far)
    return found


def lengths(images, clean, norm):
    """Norms of what was added to images, float64 [n]."""
    delta = np.reshape(np.asarray(images) - clean, (len(clean), -1))
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    return np.linalg.norm(delta.astype(np.float64), order, axis=1)
