"""A folder of the user's images: any kind is read, any fault is named."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from qup import datasets
from qup.core.errors import InputError

_RNG = np.random.default_rng(0)


def _write_png(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = _RNG.integers(0, 256, (9, 7, 3)).astype(np.uint8)
    path.write_bytes(tf.io.encode_png(image).numpy())


@pytest.fixture
def folder(tmp_path):
    for split, name in itertools.product(("train", "test"), ("cat", "dog")):
        _write_png(tmp_path / split / name / "0.png")
    return tmp_path


def _column(batches, key):
    return np.concatenate([batch[key].numpy() for batch in batches])


def test_the_order_does_not_depend_on_the_folder(folder):
    def labels(root):
        data = datasets.load("image_folder", data_dir=root)
        return _column(data.evaluation_batches("train", 5), "label").tolist()

    for name, i in itertools.product(("cat", "dog"), range(1, 10)):
        _write_png(folder / "train" / name / f"{i}.png")
    first = labels(folder)
    assert first != sorted(first)
    assert labels(folder.rename(folder.with_name("elsewhere"))) == first


def test_a_folder_keeps_its_pixels(tmp_path):
    for split in ("train", "test"):
        for name, value in (("dark", 51), ("light", 204)):
            path = tmp_path / split / name / "0.PNG"
            path.parent.mkdir(parents=True)
            image = np.full((4, 4, 1), value, np.uint8)
            path.write_bytes(tf.io.encode_png(image).numpy())
            (path.parent / "notes.txt").write_text("left alone")
    data = datasets.load("image_folder", data_dir=tmp_path, image_size=(3, 5))
    assert data.info.class_names == ("dark", "light")
    (batch,) = data.evaluation_batches("test", 2)
    assert batch["image"].shape == (2, 3, 5, 3)
    for image, label in zip(batch["image"], batch["label"], strict=True):
        np.testing.assert_allclose(image, (0.2, 0.8)[int(label)], atol=1e-6)


def _odd_images():
    from PIL import Image

    colour = Image.fromarray(_RNG.integers(0, 256, (6, 5, 3)).astype(np.uint8))
    deep = Image.fromarray(np.full((6, 5), 40000, np.uint16))
    return {
        "deep.png": deep,
        "palette.png": colour.convert("P"),
        "alpha.png": colour.convert("RGBA"),
        "bits.png": colour.convert("1"),
        "dot.png": colour.resize((1, 1)),
        "cmyk.jpg": colour.convert("CMYK"),
        "plain.bmp": colour,
        "palette.gif": colour,
    }


def test_images_of_any_kind_become_three_channels(folder):
    images = _odd_images()
    for name, image in images.items():
        image.save(folder / "train" / "cat" / name)
    data = datasets.load("image_folder", data_dir=folder, image_size=(4, 4))
    assert data.info.sizes["train"] == 2 + len(images)
    shown = _column(data.evaluation_batches("train", 10), "image")
    # 16 bits are cut to the upper 8: 40000 // 256 is 156.
    assert (np.abs(shown - 156 / 255).max((1, 2, 3)) < 1e-6).sum() == 1


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_broken_image_is_named(folder, content):
    broken = folder / "test" / "dog" / "broken.png"
    broken.write_bytes(content)
    data = datasets.load("image_folder", data_dir=folder)
    data.training_batches(2, seed=0, epoch=0)
    with pytest.raises(InputError, match=f"Cannot read the image {broken}"):
        data.evaluation_batches("test", 2)


def test_a_directory_called_like_an_image_is_named(folder):
    (folder / "test" / "dog" / "0.jpg").mkdir()
    data = datasets.load("image_folder", data_dir=folder)
    with pytest.raises(InputError, match=r"dog/0\.jpg"):
        data.evaluation_batches("test", 2)


def test_images_that_are_not_used_are_not_decoded(folder):
    def labels(size):
        data = datasets.load("image_folder", data_dir=folder, train_size=size)
        return _column(data.evaluation_batches("train", 1), "label")

    # The first of the fixed order stays whole, all others are broken.
    unused = "dog" if labels(1)[0] == 0 else "cat"
    (folder / "train" / unused / "0.png").write_bytes(b"broken")
    assert len(labels(1)) == 1
    with pytest.raises(InputError, match=rf"{unused}/0\.png"):
        labels(2)


def _remove(path):
    for file in path.rglob("*.png"):
        file.unlink()
    for child in path.iterdir() if path.name in ("train", "test") else ():
        child.rmdir()
    path.rmdir()


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("train", "Cannot read the folder .*/train"),
        ("test", "Cannot read the folder .*/test"),
        ("train/dog", "one of them only: dog"),
        ("test/dog", "one of them only: dog"),
    ],
)
def test_a_missing_folder_is_named(folder, gone, message):
    _remove(folder / gone)
    with pytest.raises(InputError, match=message):
        datasets.load("image_folder", data_dir=folder)


def test_an_empty_class_folder_is_named(folder):
    (folder / "train" / "dog" / "0.png").unlink()
    with pytest.raises(InputError, match="train/dog has no images"):
        datasets.load("image_folder", data_dir=folder)


def test_a_folder_must_be_given():
    with pytest.raises(InputError, match="image_folder needs data_dir"):
        datasets.load("image_folder")


def test_one_class_is_not_enough(tmp_path):
    for split in ("train", "test"):
        _write_png(tmp_path / split / "cat" / "0.png")
    with pytest.raises(InputError, match="one class, 'cat'"):
        datasets.load("image_folder", data_dir=tmp_path)


def test_a_name_that_is_not_in_utf_8_is_reported(folder):
    image = folder / "train" / "cat" / "0.png"
    image.rename(image.with_name("\udcff.png"))
    with pytest.raises(InputError, match=r"udcff.png' is not in UTF-8"):
        datasets.load("image_folder", data_dir=folder)
