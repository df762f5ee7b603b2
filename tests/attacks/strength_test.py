"""What attacks are worth on a trained network: the real digits."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks, datasets, models, training
from qup.core import norms

pytestmark = pytest.mark.slow
_EPSILON = {"linf": 0.1, "l2": 1.5, "l1": 20.0}
# One pixel seldom is enough; the others are shortened.
_OPTIONS = {
    "carlini_wagner": {"num_steps": 200, "initial_constant": 0.1},
    "elastic_net": {"num_steps": 200, "initial_constant": 0.1},
    "fab_t": {"num_targets": 3},
    "one_pixel": {"num_pixels": 8, "num_steps": 20, "population": 100},
    "spsa": {"num_steps": 20},
    "square": {"num_queries": 1000},
}


@functools.cache
def _trained():
    """A classifier, and test images that it classifies rightly."""
    data = datasets.load("digits")
    classifier = models.build("convnet", data.info, seed=0)
    training.fit_classifier(classifier, data, epochs=15)
    images, labels, _ = data.get_arrays("test")
    images = images / np.float32(255)
    right = np.argmax(classifier(images), -1) == labels
    return classifier, images[right][:64], labels[right][:64]


@functools.cache
def _found(name, norm):
    options = dict(_OPTIONS.get(name, {}))
    if len(attacks.traits(name)["norms"]) > 1:
        options["norm"] = norm
    if attacks.traits(name)["kind"] == "budget":
        options["epsilon"] = _EPSILON[norm]
        if "class" in name:
            # A target class is far.
            options["epsilon"] *= 3
    return attacks.run(name, *_trained(), batch_size=64, **options)


def _noise(result, norm):
    """Moves each image at random, as far as the attack has moved it."""
    _, images, _ = _trained()
    delta = np.asarray(result.images) - images
    rng = np.random.default_rng(0)
    if norm == "l0":
        # The same changes at other places.
        flat = rng.permuted(delta.reshape(len(delta), -1), axis=1)
        noise = flat.reshape(delta.shape)
    else:
        noise = rng.normal(size=delta.shape)
        if norm == "linf":
            noise = np.sign(noise)
        far = norms.compute_norm(tf.constant(noise, tf.float32), norm).numpy()
        scale = result.distances[norm] / far
        noise = noise * scale[:, None, None, None]
    return np.clip(images + noise, 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    "name,norm",
    [
        (name, norm)
        for name in attacks.names()
        for norm in attacks.traits(name)["norms"]
        # FGSM in L1 moves a single element.
        if name != "autoattack" and (norm != "l1" or "fgsm" not in name)
    ],
)
def test_beats_noise_of_the_same_size(name, norm):
    classifier, _, labels = _trained()
    result = _found(name, norm)
    broken = result.success
    moved = np.argmax(classifier(_noise(result, norm)), -1)
    by_noise = (moved != labels) & broken
    if attacks.traits(name)["kind"] == "budget":
        gained = np.mean(broken) - np.mean(by_noise)
    else:
        gained = 1 - by_noise.sum() / broken.sum()
    assert gained >= 0.2


@pytest.mark.parametrize("name", ["carlini_wagner", "fab", "fab_t"])
def test_is_nearer_than_deepfool(name):
    near, far = _found(name, "l2"), _found("deepfool", "l2")
    both = near.success & far.success
    assert both.mean() > 0.95
    means = [r.distances["l2"][both].mean() for r in (near, far)]
    assert means[0] <= means[1]


def test_autoattack_is_the_worst_case():
    classifier, images, labels = _trained()
    whole = attacks.run("autoattack", classifier, images, labels, epsilon=0.05, batch_size=64)
    many = attacks.run(
        "pgd",
        classifier,
        images,
        labels,
        epsilon=0.05,
        num_steps=100,
        step_size=0.00125,
        random_start=True,
        restarts=5,
        batch_size=64,
        keep="first_adversarial",
    )
    assert 5 < whole.robust_accuracy < 95
    assert whole.robust_accuracy <= many.robust_accuracy + 0.3
    after = whole.after_stages()
    assert list(after) == ["apgd_ce", "apgd_t", "fab_t", "square"]
    assert sorted(after.values(), reverse=True) == list(after.values())
    for name in ("apgd_ce", "apgd_t"):
        alone = attacks.run(name, classifier, images, labels, epsilon=0.05, batch_size=64)
        assert whole.robust_accuracy <= alone.robust_accuracy
