"""`.keras` files of earlier versions of the package load and give the same outputs."""

import json
import pathlib
import zipfile

import keras
import numpy as np
import pytest
from packaging.version import Version

from qup.models import saving

# Written before the modules moved; BatchNormalization was in qup.batch_normalization then.
_DATA = pathlib.Path(__file__).parent / "data"


@pytest.mark.parametrize("name", ["convnet", "translator"])
def test_old_file_loads_with_equal_outputs(name):
    path = _DATA / f"{name}.keras"
    with zipfile.ZipFile(path) as archive:
        written_by = json.loads(archive.read("metadata.json"))["keras_version"]
    if Version(keras.__version__) < Version(written_by):
        pytest.skip(f"Keras {keras.__version__} cannot read files of Keras {written_by}.")
    images = (np.arange(2 * 64).reshape(2, 8, 8, 1) * 37 % 101 / 100).astype("float32")
    outputs = saving.load_model(path)(images, training=False)
    np.testing.assert_allclose(outputs, np.load(_DATA / f"{name}.npy"), atol=1e-6)
