"""Hashes depend on the content alone."""

import hashlib

import keras
import numpy as np
import pytest

from qup.core import hashing


def test_the_order_of_keys_does_not_count():
    assert hashing.hash_json({"a": 1, "b": 2}) == hashing.hash_json({"b": 2, "a": 1})
    assert hashing.hash_json({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()
    with pytest.raises(ValueError, match="Out of range"):
        hashing.hash_json(float("nan"))


def test_type_and_shape_of_an_array_count():
    array = np.arange(6.0).reshape(2, 3)
    variants = [array, array.T, array.reshape(3, 2), array.astype(np.float32)]
    assert len({hashing.hash_array(variant) for variant in variants}) == 4
    assert hashing.hash_array(array[:, ::2]) == hashing.hash_array(array[:, ::2].copy())


def test_names_and_bytes_of_a_folder_count_but_not_its_path(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name / "empty").mkdir(parents=True)
        (tmp_path / name / "file").write_text("text")
    first = hashing.hash_tree(tmp_path / "one")
    assert first == hashing.hash_tree(tmp_path / "other")
    (tmp_path / "other/empty").rmdir()
    assert first != hashing.hash_tree(tmp_path / "other")


def test_weights_are_those_of_a_keras_model_only():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    parts = [weight.numpy() for weight in model.weights]
    assert hashing.hash_weights(model) == hashing.hash_parts(parts)
    assert hashing.hash_weights(lambda images: images) is None
