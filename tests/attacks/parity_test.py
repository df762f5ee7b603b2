"""Attacks are as strong as those of other libraries, on one network trained on digits.

`peer_results.py` made the stored distances, one per image, with the versions in `versions`.
"""

import functools
import pathlib

import numpy as np
import pytest

from qup import attacks, datasets, models
from tests.attacks.peer_results import EPSILON

pytestmark = pytest.mark.slow
_PATH = pathlib.Path(__file__).parent / "data" / "peers.npz"
# Two seeds of a random attack differ by at most this many of the 100 images.
_MARGIN = 3
# Attacks of other libraries that are another attack here.
_NAMES = {"pgd_l1_full_gradient": "pgd"}


@functools.cache
def _read_peers():
    with np.load(_PATH) as file:
        return dict(file)


def _list_results():
    return sorted(key for key in _read_peers() if "/" in key)


@functools.cache
def _load_network():
    """Returns the network and its 100 images with their labels."""
    peers, data = _read_peers(), datasets.load("digits")
    network = models.build("convnet", data.info, seed=0, width=0.5)
    network.set_weights([peers[f"weight_{i:02d}"].astype(np.float32) for i in range(10)])
    images, labels, _ = data.get_arrays("test")
    images, labels = images[peers["indices"]] / np.float32(255), labels[peers["indices"]]
    assert (labels == peers["labels"]).all()
    return network, images, labels


@functools.cache
def _compute_distances(name, norm):
    """Returns the distances of our attack, infinite without success."""
    options = {}
    if len(attacks.traits(name)["norms"]) > 1:
        options["norm"] = norm
    if norm in EPSILON and name not in ("deepfool",):
        options["epsilon"] = EPSILON[norm]
    result = attacks.run(name, *_load_network(), batch_size=50, **options)
    return np.where(result.success, result.distances[norm], np.inf)


def test_the_stored_results_are_of_this_network():
    network, images, labels = _load_network()
    assert len(labels) == 100 and len(_list_results()) > 20
    assert (np.argmax(network(images), -1) == labels).all()
    assert _PATH.stat().st_size < 100_000
    for library in ("foolbox 3.3.4", "torchattacks 3.5.1", "pyautoattack 0.2.0"):
        assert library in str(_read_peers()["versions"])


@pytest.mark.parametrize("key", _list_results())
def test_breaks_as_many_images(key):
    _, name, norm = key.split("/")
    theirs = _read_peers()[key]
    ours = _compute_distances(_NAMES.get(name, name), norm)
    # At the budget, or at any distance.
    is_minimum_norm = norm not in EPSILON or name == "deepfool"
    radii = [np.inf] if is_minimum_norm else [EPSILON[norm] * (1 + 1e-5)]
    if is_minimum_norm:
        radii += list(np.quantile(theirs, [0.25, 0.5, 0.75], method="lower"))
    for radius in radii:
        counts = [np.sum((d <= radius) & np.isfinite(d)) for d in (ours, theirs)]
        assert counts[0] >= counts[1] - _MARGIN, (radius, counts)


def test_sparsefool_changes_a_third_of_the_elements_of_the_authors_setting():
    ours = _compute_distances("sparsefool", "l0")
    authors = attacks.run("sparsefool", *_load_network(), batch_size=50, lambda_=3.0)
    assert np.isfinite(ours).all() and authors.success.all()
    assert np.median(ours) < 0.4 * np.median(authors.distances["l0"])
