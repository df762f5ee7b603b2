"""`.keras` files of earlier versions of the package load and give the same outputs."""

import pathlib

import numpy as np
import pytest

from qup.models import saving

# Written before the modules moved; BatchNormalization was in qup.batch_normalization then.
_DATA = pathlib.Path(__file__).parent / "data"


@pytest.mark.parametrize("name", ["convnet", "translator"])
def test_old_file_loads_with_equal_outputs(name):
    images = (np.arange(2 * 64).reshape(2, 8, 8, 1) * 37 % 101 / 100).astype("float32")
    outputs = saving.load_model(_DATA / f"{name}.keras")(images, training=False)
    np.testing.assert_allclose(outputs, np.load(_DATA / f"{name}.npy"), atol=1e-6)
