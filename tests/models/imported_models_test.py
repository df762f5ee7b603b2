"""A user's model is accepted, or refused with a clear error."""

import keras
import pytest
import tensorflow as tf

from qup.core import errors
from qup.models import saving
from qup.pipelines.components.artifacts import Model
from qup.pipelines.components.examples import ModelImporter

_SHAPE = [8, 8, 1]


def _network(*, shape=_SHAPE, classes=4, dtype="float32", outputs=1):
    image = keras.Input(shape)
    flat = keras.layers.Flatten()(image)
    ends = [keras.layers.Dense(classes, dtype=dtype)(flat) for _ in range(outputs)]
    return keras.Model(image, ends if outputs > 1 else ends[0])


def _import(path, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    ModelImporter.fn(
        Model(uri=str(folder)),
        content="c",
        dataset="synthetic",
        name="mine",
        image_shape=_SHAPE,
        num_classes=4,
        source=str(path),
    )


@pytest.mark.parametrize(
    "given,message",
    [
        ({"shape": [9, 9, 1]}, "8 x 8 x 1 .* it takes .*9, 9, 1"),
        ({"classes": 3}, r"gives \[2, 3\]"),
        ({"outputs": 2}, "gives 2 outputs"),
        ({"dtype": "mixed_bfloat16"}, "gives bfloat16.*dtype='float32'"),
        ({"dtype": "float64"}, "gives float64"),
    ],
)
def test_a_model_that_cannot_be_attacked_is_reported(given, message, tmp_path):
    path = tmp_path / "mine.keras"
    _network(**given).save(path)
    with pytest.raises(errors.InputError, match=message):
        _import(path, tmp_path)


def test_a_saved_model_of_other_images_is_reported(tmp_path):
    path = tmp_path / "saved"
    _network(shape=[9, 9, 1]).export(path, verbose=False)
    with pytest.raises(errors.InputError, match="8 x 8 x 1"):
        _import(path, tmp_path)


def test_a_suitable_model_is_accepted(tmp_path):
    path = tmp_path / "mine.keras"
    _network(classes=5).save(path)
    _import(path, tmp_path)
    assert (tmp_path / "model" / "model.keras").exists()


@pytest.mark.parametrize("content", [b"", b"half a file"])
def test_a_damaged_file_is_not_called_absent(content, tmp_path):
    path = tmp_path / "mine.keras"
    path.write_bytes(content)
    for load in (saving.load_model, saving.load_user_model):
        with pytest.raises(errors.InputError, match=r"not a complete \.keras") as caught:
            load(path)
        assert "not found" not in str(caught.value)


def test_truncated_variables_of_a_saved_model_are_reported(tmp_path):
    path = tmp_path / "saved"
    _network().export(path, verbose=False)
    (index,) = path.glob("variables/*.index")
    complete = index.read_bytes()
    for data in path.glob("variables/variables.*"):
        data.write_bytes(data.read_bytes()[: len(complete) // 3])
        with pytest.raises(errors.InputError, match="cannot be read"):
            saving.load_saved_model(path)


def test_any_failure_to_load_is_reported(tmp_path, monkeypatch):
    def fail(path):
        raise IndexError

    monkeypatch.setattr(tf.saved_model, "load", fail)
    with pytest.raises(errors.InputError, match="IndexError"):
        saving.load_saved_model(tmp_path)
