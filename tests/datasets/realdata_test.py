"""The real MNIST, where its files are available."""

import gzip
import os
import pathlib

import numpy as np
import pytest

from qup import datasets


@pytest.fixture
def real_mnist():
    root = os.environ.get("TFDS_DATA_DIR")
    if not root or not pathlib.Path(root, "mnist").is_dir():
        pytest.skip("TFDS_DATA_DIR names no directory with mnist prepared.")
    return root


@pytest.mark.realdata
def test_mnist_is_mnist(real_mnist):
    data = datasets.load("mnist", data_dir=real_mnist, train_size=1000)
    assert data.info.sizes == {"train": 1000, "test": 10000}
    assert data.info.class_names == tuple("0123456789")
    batches = list(data.evaluation_batches("test", 10000))
    # Counted in the original label file t10k-labels-idx1-ubyte.gz.
    assert np.bincount(batches[0]["label"]).tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]
    assert abs(float(np.mean(batches[0]["image"])) - 0.1325) < 1e-3


@pytest.fixture
def real_manual():
    folder = os.environ.get("QUP_MANUAL_DIR")
    name = "train-images-idx3-ubyte.gz"
    if not folder or not pathlib.Path(folder, name).is_file():
        pytest.skip("QUP_MANUAL_DIR names no directory with MNIST's files.")
    return folder


@pytest.mark.realdata
def test_mnist_is_prepared_from_the_original_files(real_manual, tmp_path):
    data = datasets.load("mnist", data_dir=tmp_path, manual_dir=real_manual)
    assert data.info.sizes == {"train": 60000, "test": 10000}
    (batch,) = data.evaluation_batches("test", 10000)
    raw = gzip.decompress(pathlib.Path(real_manual, "t10k-images-idx3-ubyte.gz").read_bytes())
    # tensorflow-datasets shuffles as it writes: compare as sets of images.
    originals = np.frombuffer(raw, np.uint8, offset=16).reshape(10000, -1)
    shown = np.round(batch["image"].numpy() * 255).astype(np.uint8)
    assert {image.tobytes() for image in shown} == {image.tobytes() for image in originals}
