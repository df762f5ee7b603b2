"""Prepared datasets are read as they are, and any damage is named."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from qup import datasets
from qup.core.errors import InputError
from qup.datasets import tfds as datasets_tfds

_TFDS_NAMES = ("cifar10", "fashion_mnist", "mnist", "svhn_cropped")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    monkeypatch.setattr(datasets_tfds, "find_connection_error", lambda _: "no network")


def _store(name, root):
    shape = (28, 28, 1) if "mnist" in name else (32, 32, 3)
    generator = np.random.default_rng(0)
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="3.1.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=shape),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
        ),
        split_datasets={
            split: [
                (i, {"image": generator.integers(0, 256, shape, np.uint8), "label": i % 10})
                for i in range(count)
            ]
            for split, count in (("train", 30), ("test", 20))
        },
        data_dir=root,
    )
    # What follows reads (image, label) pairs, which the real ones declare.
    _declare_pairs(root / name / "3.1.0" / "dataset_info.json")


def _declare_pairs(path):
    description = json.loads(path.read_text())
    keys = [{"featureKey": "image"}, {"featureKey": "label"}]
    description["supervisedKeys"] = {"tuple": {"items": keys}}
    path.write_text(json.dumps(description))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    root = tmp_path_factory.mktemp("tfds")
    _store("mnist", root)
    return root


@pytest.fixture
def mnist_dir(stored, tmp_path):
    shutil.copytree(stored, tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("name", _TFDS_NAMES)
def test_a_prepared_dataset_is_read_without_a_network(name, tmp_path):
    _store(name, tmp_path)
    data = datasets.load(name, data_dir=tmp_path, validation_size=5)
    assert data.info.sizes == {"train": 25, "test": 20, "validation": 5}
    assert data.info.image_shape[2] == (1 if "mnist" in name else 3)
    (batch,) = data.evaluation_batches("test", 20)
    assert batch["image"].shape == (20, *data.info.image_shape)
    assert batch["label"].dtype == tf.int32
    assert np.unique(batch["label"]).tolist() == list(range(10))


def test_the_environment_is_read_at_the_call(stored, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(stored))
    assert datasets.load("mnist").info.sizes["test"] == 20


def test_a_data_directory_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file"):
        datasets.load("mnist", data_dir=tmp_path / "file")


def _record_file(root, split="train"):
    (path,) = (root / "mnist" / "3.1.0").glob(f"mnist-{split}.tfrecord*")
    return path


def _cut_last_record(path):
    records = [r.numpy() for r in tf.data.TFRecordDataset(str(path))]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records[:-1]:
            writer.write(record)


def _flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: os.truncate(p, p.stat().st_size - 9), "truncated or corr"),
        (_flip_a_byte, "truncated or corrupted .expected 20 records"),
        (_cut_last_record, "holds 19 records, expected 20"),
        (lambda p: os.truncate(p, 0), "holds 0 records, expected 20"),
        (lambda p: p.unlink(), "is missing"),
    ],
)
def test_a_damaged_record_file_is_named(mnist_dir, damage, message):
    path = _record_file(mnist_dir, "test")
    damage(path)
    with pytest.raises(InputError, match=message) as caught:
        datasets.load("mnist", data_dir=mnist_dir)
    assert str(path) in str(caught.value)


def test_an_image_that_cannot_be_decoded_names_the_dataset(mnist_dir):
    path = _record_file(mnist_dir)
    records = [r.numpy() for r in tf.data.TFRecordDataset(str(path))]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record.replace(b"\x89PNG", b"\x89GNP"))
    data = datasets.load("mnist", data_dir=mnist_dir)
    with pytest.raises(InputError, match=r"mnist/3\.1\.0 is incomplete"):
        data.training_batches(2, seed=0, epoch=0)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": 3}'])
def test_a_damaged_description_is_named(mnist_dir, content):
    folder = mnist_dir / "mnist" / "3.1.0"
    (folder / "dataset_info.json").write_text(content)
    with pytest.raises(InputError, match=str(folder)):
        datasets.load("mnist", data_dir=mnist_dir)


def test_an_empty_version_is_named(tmp_path):
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    with pytest.raises(InputError, match=r"dataset_info\.json is missing"):
        datasets.load("mnist", data_dir=tmp_path)


def test_an_interrupted_preparation_is_not_prepared(stored, tmp_path):
    shutil.copytree(stored / "mnist" / "3.1.0", tmp_path / "mnist" / "incomplete.ABCDEF_3.1.0")
    with pytest.raises(InputError, match="not prepared in"):
        datasets.load("mnist", data_dir=tmp_path)
