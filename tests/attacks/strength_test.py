"""The strength of attacks on a network trained on real digits."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks, datasets, models, training
from qup.core import norms

pytestmark = pytest.mark.slow
_EPSILON = {"linf": 0.1, "l2": 1.5, "l1": 20.0}
# One pixel is rarely enough. The other options make the attacks faster.
_OPTIONS = {
    "carlini_wagner": {"num_steps": 200, "initial_constant": 0.1},
    "elastic_net": {"num_steps": 200, "initial_constant": 0.1},
    "fab_t": {"num_targets": 3},
    "one_pixel": {"num_pixels": 8, "num_steps": 20, "population": 100},
    "spsa": {"num_steps": 20},
    "square": {"num_queries": 1000},
}


@functools.cache
def _train_classifier():
    """Returns a classifier and 64 correctly classified test images with their labels."""
    data = datasets.load("digits")
    classifier = models.build("convnet", data.info, seed=0)
    training.fit_classifier(classifier, data, epochs=15)
    images, labels, _ = data.get_arrays("test")
    images = images / np.float32(255)
    is_correct = np.argmax(classifier(images), -1) == labels
    return classifier, images[is_correct][:64], labels[is_correct][:64]


@functools.cache
def _run(name, norm):
    options = dict(_OPTIONS.get(name, {}))
    if len(attacks.traits(name)["norms"]) > 1:
        options["norm"] = norm
    if attacks.traits(name)["kind"] == "budget":
        options["epsilon"] = _EPSILON[norm]
        if "class" in name:
            # A target class needs a larger budget.
            options["epsilon"] *= 3
    return attacks.run(name, *_train_classifier(), batch_size=64, **options)


def _add_noise(result, norm):
    """Returns clean images with noise of the norm of the attack's perturbation."""
    _, images, _ = _train_classifier()
    delta = np.asarray(result.images) - images
    rng = np.random.default_rng(0)
    if norm == "l0":
        # The same changes at other pixels.
        flat = rng.permuted(delta.reshape(len(delta), -1), axis=1)
        noise = flat.reshape(delta.shape)
    else:
        noise = rng.normal(size=delta.shape)
        if norm == "linf":
            noise = np.sign(noise)
        noise_norm = norms.compute_norm(tf.constant(noise, tf.float32), norm).numpy()
        scale = result.distances[norm] / noise_norm
        noise = noise * scale[:, None, None, None]
    return np.clip(images + noise, 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    "name,norm",
    [
        (name, norm)
        for name in attacks.names()
        for norm in attacks.traits(name)["norms"]
        # That of cleverhans changes a single element in L1.
        if name != "autoattack" and (name, norm) != ("cleverhans_fgsm", "l1")
    ],
)
def test_beats_noise_of_the_same_size(name, norm):
    classifier, _, labels = _train_classifier()
    result = _run(name, norm)
    success = result.success
    predicted = np.argmax(classifier(_add_noise(result, norm)), -1)
    noise_success = (predicted != labels) & success
    if attacks.traits(name)["kind"] == "budget":
        advantage = np.mean(success) - np.mean(noise_success)
    else:
        advantage = 1 - noise_success.sum() / success.sum()
    assert advantage >= 0.2


@pytest.mark.parametrize("name", ["carlini_wagner", "fab", "fab_t"])
def test_is_closer_than_deepfool(name):
    result, deepfool = _run(name, "l2"), _run("deepfool", "l2")
    both = result.success & deepfool.success
    assert both.mean() > 0.95
    means = [r.distances["l2"][both].mean() for r in (result, deepfool)]
    assert means[0] <= means[1]


def test_autoattack_is_the_worst_case():
    classifier, images, labels = _train_classifier()
    autoattack = attacks.run("autoattack", classifier, images, labels, epsilon=0.05, batch_size=64)
    pgd = attacks.run(
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
    assert 5 < autoattack.robust_accuracy < 95
    assert autoattack.robust_accuracy <= pgd.robust_accuracy + 0.3
    after = autoattack.after_stages()
    assert list(after) == ["apgd_ce", "apgd_t", "fab_t", "square"]
    assert sorted(after.values(), reverse=True) == list(after.values())
    for name in ("apgd_ce", "apgd_t"):
        single = attacks.run(name, classifier, images, labels, epsilon=0.05, batch_size=64)
        assert autoattack.robust_accuracy <= single.robust_accuracy
