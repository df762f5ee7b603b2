"""A folder of the user's images: any kind is read, any change is said, any fault is named."""

import importlib.util
import itertools
import os
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from qup import augmentation, datasets
from qup.core.errors import InputError
from qup.datasets import dataset

_RNG = np.random.default_rng(0)


def _write_png(path, image=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if image is None:
        image = _RNG.integers(0, 256, (9, 7, 3)).astype(np.uint8)
    path.write_bytes(tf.io.encode_png(image).numpy())


@pytest.fixture(autouse=True)
def _log_again():
    dataset.log_once.cache_clear()


@pytest.fixture
def folder(tmp_path):
    for split, name in itertools.product(("train", "test"), ("cat", "dog")):
        _write_png(tmp_path / split / name / "0.png")
    return tmp_path


def _column(batches, key):
    return np.concatenate([batch[key].numpy() for batch in batches])


def _read(folder, split="train", **options):
    """Returns the dataset, and its images by the names of their files."""
    options = {"image_size": (9, 7)} | options
    data = datasets.load("image_folder", data_dir=folder, **options)
    source = datasets.get("image_folder")(data_dir=folder, **options)
    names = [name for name in source.files if name.startswith(f"{split}/")]
    order = np.random.default_rng(0).permutation(len(names))
    images, _, _ = data.get_arrays(split)
    return data, {names[i]: image for i, image in zip(order, images, strict=True)}


def _notes(data):
    return {record.name: record.notes for record in data.report}


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
    assert batch["image"].shape == (2, 3, 5, 1)
    for image, label in zip(batch["image"], batch["label"], strict=True):
        np.testing.assert_allclose(image, (0.2, 0.8)[int(label)], atol=1e-6)


def _odd_images():
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
    # 40000 of 65535 is 155.6 of 255.
    assert (np.abs(shown - 156 / 255).max((1, 2, 3)) < 1e-6).sum() == 1


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_broken_image_is_named(folder, content):
    broken = folder / "test" / "dog" / "broken.png"
    broken.write_bytes(content)
    data = datasets.load("image_folder", data_dir=folder)
    assert _notes(data)["test/dog/broken.png"] == ("damaged, refused when the images are read",)
    data.training_batches(2, seed=0, epoch=0)
    with pytest.raises(InputError, match=f"Cannot read the image {broken}"):
        data.evaluation_batches("test", 2)


def test_folders_within_class_folders_are_walked(folder):
    _write_png(folder / "test" / "dog" / "0.jpg" / "deep" / "1.png")
    (folder / "test" / "dog" / "empty").mkdir()
    data, images = _read(folder, "test")
    assert sorted(images) == ["test/cat/0.png", "test/dog/0.jpg/deep/1.png", "test/dog/0.png"]
    assert data.info.sizes["test"] == 3


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


def test_a_missing_pillow_is_one_line(folder, monkeypatch):
    find = importlib.util.find_spec
    hide = {"PIL": None}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: hide.get(name, find(name)))
    with pytest.raises(InputError, match=r"image_folder needs PIL.*pip install 'qup\[datasets\]'"):
        datasets.load("image_folder", data_dir=folder)


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


def test_every_file_is_in_the_report(folder, caplog):
    other = folder / "test" / "dog"
    for name, content in {
        ".DS_Store": b"x",
        "Thumbs.db": b"x",
        "notes.txt": b"x",
        "BMW.txt": b"BM" * 40,
    }.items():
        (other / name).write_bytes(content)
    (other / ".cache").mkdir()
    (other / "elsewhere").symlink_to(folder / "train" / "cat")
    os.mkfifo(other / "pipe")
    _write_png(folder / "test" / "beside.png")
    _write_png(folder / "val" / "cat" / "0.png")
    data, images = _read(folder, "test")
    left_alone = {record.name: record.notes for record in data.report if not record.used}
    unreadable = left_alone.pop("test/dog/BMW.txt")
    assert "unreadable" in unreadable[0]
    assert left_alone == {
        "test/dog/.DS_Store": ("hidden",),
        "test/dog/.cache/": ("hidden",),
        "test/dog/Thumbs.db": ("none of PNG, JPEG, GIF, BMP, WebP, TIFF",),
        "test/dog/notes.txt": ("none of PNG, JPEG, GIF, BMP, WebP, TIFF",),
        "test/dog/elsewhere/": ("a link to a folder",),
        "test/dog/pipe": ("neither a file nor a folder",),
        "test/beside.png": ("beside the class folders",),
        "val/": ("neither train/ nor test/",),
    }
    used = {record.name for record in data.report if record.used}
    assert used == {f"{s}/{c}/0.png" for s in ("train", "test") for c in ("cat", "dog")}
    lines = [r.getMessage() for r in caplog.records if "image_folder, test" in r.getMessage()]
    assert len(lines) == 1 and "2 of 10 files used" in lines[0]
    assert "2 none of PNG" in lines[0] and "1 a link to a folder (test/dog/elsewhere/)" in lines[0]
    assert set(images) == {"test/cat/0.png", "test/dog/0.png"}


def test_an_ordinary_folder_gives_no_warning(folder, caplog):
    (folder / "test" / "dog" / "Thumbs.db").write_bytes(b"x")
    _read(folder)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_transparent_pixels_are_laid_on_white(folder, caplog):
    ink = np.zeros((9, 7, 4), np.uint8)
    ink[2, 3, 3], ink[4, 5, 3] = 255, 51
    Image.fromarray(ink).save(folder / "train" / "cat" / "ink.png")
    data, images = _read(folder)
    expected = np.full((9, 7, 3), 255)
    expected[2, 3], expected[4, 5] = 0, 204
    np.testing.assert_array_equal(images["train/cat/ink.png"], expected)
    assert _notes(data)["train/cat/ink.png"] == ("transparency laid on white",)
    assert "1 transparency laid on white (train/cat/ink.png)" in caplog.text


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_deep_images_keep_their_shades(folder, caplog, bits, channels):
    highest = (1 << bits) - 1
    shades = np.linspace(0, highest, 63).round().astype(np.uint16).reshape(9, 7, 1)
    _write_png(folder / "train" / "cat" / "deep.png", shades.repeat(channels, -1))
    _write_png(folder / "test" / "cat" / "deep.png", (shades // 2).repeat(channels, -1))
    data, images = _read(folder)
    expected = np.rint(shades / highest * 255).repeat(3, -1)
    np.testing.assert_allclose(images["train/cat/deep.png"], expected, atol=1)
    assert len(np.unique(images["train/cat/deep.png"])) == 63
    assert "16 bits per channel scaled to 8" in _notes(data)["train/cat/deep.png"]
    assert f"white is {highest}, all values fit in {bits} bits" in caplog.text
    # All files of the folder have one white.
    _, images = _read(folder, "test")
    np.testing.assert_allclose(images["test/cat/deep.png"], expected // 2, atol=1)


def test_the_bit_depth_can_be_stated(folder):
    deep = np.full((9, 7, 1), 900, np.uint16)
    _write_png(folder / "train" / "cat" / "deep.png", deep)
    _, images = _read(folder, bit_depth=12)
    assert (images["train/cat/deep.png"] == round(900 / 4095 * 255)).all()
    with pytest.raises(InputError, match=r"bit_depth=8 .*deep.png has 900. Set bit_depth=10"):
        _read(folder, bit_depth=8)
    with pytest.raises(InputError, match="bit_depth must be 8, 10"):
        _read(folder, bit_depth=9)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_images_are_turned_upright(folder, suffix):
    stored = np.zeros((14, 18, 3), np.uint8)
    stored[:6, :6] = 255
    exif = Image.Exif()
    exif[274] = 6
    path = folder / "train" / "cat" / f"turned.{suffix}"
    Image.fromarray(stored).save(path, exif=exif)
    data, images = _read(folder, image_size=(18, 14))
    # 6: the first row is shown at the right.
    expected = np.rot90(stored, -1)
    np.testing.assert_allclose(images[f"train/cat/turned.{suffix}"], expected, atol=40)
    assert _notes(data)[f"train/cat/turned.{suffix}"] == ("turned upright as EXIF says",)


def test_the_content_decides_the_format(folder):
    cat = folder / "train" / "cat"
    pixels = _RNG.integers(0, 256, (9, 7, 3)).astype(np.uint8)
    for name in ("photo.jpg", "nothing", "UPPER.PNG", "0.png.bak"):
        _write_png(cat / name, pixels)
    Image.fromarray(pixels).save(cat / "lossless.webp", lossless=True)
    Image.fromarray(pixels).save(cat / "page.tif")
    data, images = _read(folder)
    del images["train/cat/0.png"], images["train/dog/0.png"]
    assert len(images) == 6
    for image in images.values():
        np.testing.assert_array_equal(image, pixels)
    by_content = ("recognised by its content, not by its name",)
    notes = _notes(data)
    assert notes["train/cat/photo.jpg"] == notes["train/cat/nothing"] == by_content
    assert notes["train/cat/UPPER.PNG"] == notes["train/cat/page.tif"] == ()


def test_the_first_of_several_frames_is_used(folder):
    frames = [Image.fromarray(np.full((9, 7, 3), value, np.uint8)) for value in (60, 200)]
    for name in ("a.gif", "b.tif", "c.png", "d.webp"):
        options = {"lossless": True} if name == "d.webp" else {}
        path = folder / "train" / "cat" / name
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    data, images = _read(folder)
    for name in ("a.gif", "b.tif", "c.png", "d.webp"):
        assert (images[f"train/cat/{name}"] == 60).all(), name
        assert _notes(data)[f"train/cat/{name}"] == ("the first of several frames",)


def test_grey_folders_have_one_channel(tmp_path):
    grey = _RNG.integers(0, 256, (9, 7, 1)).astype(np.uint8)
    for split, name in itertools.product(("train", "test"), ("cat", "dog")):
        _write_png(tmp_path / split / name / "0.png", grey)
    data, images = _read(tmp_path)
    assert data.info.image_shape == (9, 7, 1)
    np.testing.assert_array_equal(images["train/cat/0.png"], grey)
    data, images = _read(tmp_path, channels=3)
    np.testing.assert_array_equal(images["train/cat/0.png"], grey.repeat(3, -1))
    assert _notes(data)["train/cat/0.png"] == ("grey repeated in 3 channels",)
    _write_png(tmp_path / "test" / "cat" / "colour.png")
    assert _read(tmp_path)[0].info.image_shape == (9, 7, 3)
    with pytest.raises(InputError, match="channels must be 1 or 3; received 2"):
        _read(tmp_path, channels=2)


def test_colour_becomes_grey_on_request(folder):
    colours = np.zeros((9, 7, 3), np.uint8)
    colours[0], colours[1], colours[2] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    _write_png(folder / "train" / "cat" / "colours.png", colours)
    data, images = _read(folder, channels=1)
    assert images["train/cat/colours.png"][:4, 0, 0].tolist() == [76, 150, 29, 0]
    assert _notes(data)["train/cat/colours.png"] == ("colour turned into grey",)


def test_stretching_is_said(folder):
    data, _ = _read(folder, image_size=(18, 14))
    assert _notes(data)["train/cat/0.png"] == ("resized to 18 x 14",)
    data, images = _read(folder, image_size=(28, 36))
    assert images["train/cat/0.png"].shape == (28, 36, 3)
    assert _notes(data)["train/cat/0.png"] == (
        "resized to 28 x 36",
        "stretched, because its proportions differ",
    )


def test_plain_images_have_the_bits_of_tensorflow(folder):
    pixels = _RNG.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    for name in ("a.png", "a.jpg", "a.bmp", "grey.jpg"):
        image = Image.fromarray(pixels)
        image = image.convert("L") if name == "grey.jpg" else image
        image.save(folder / "train" / "cat" / name)
    _, images = _read(folder)
    for name in ("a.png", "a.jpg", "a.bmp", "grey.jpg"):
        content = (folder / "train" / "cat" / name).read_bytes()
        decoded = tf.io.decode_image(content, channels=3, expand_animations=False)
        expected = dataset.resize(decoded, (9, 7))
        np.testing.assert_array_equal(images[f"train/cat/{name}"], expected)


def _truncate(content):
    return content[: len(content) * 3 // 4]


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tif"])
def test_truncated_files_are_named(folder, suffix):
    image = Image.fromarray(_RNG.integers(0, 256, (40, 50, 3)).astype(np.uint8))
    path = folder / "train" / "cat" / f"half.{suffix}"
    image.save(path)
    path.write_bytes(_truncate(path.read_bytes()))
    with pytest.raises(InputError, match=rf"Cannot read the image .*half\.{suffix}") as caught:
        _read(folder)
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)


def test_bombs_are_refused(folder):
    content = bytearray((folder / "train" / "cat" / "0.png").read_bytes())
    content[16:24] = struct.pack(">II", 30_000, 30_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (folder / "train" / "cat" / "bomb.png").write_bytes(content)
    with pytest.raises(InputError, match=r"bomb.png has more than 179 million pixels"):
        _read(folder)


@pytest.mark.parametrize(
    "image",
    [Image.fromarray(np.ones((4, 4), np.float32)), Image.fromarray(np.ones((4, 4), np.int32))],
    ids=["float", "int32"],
)
def test_kinds_of_pixels_that_are_not_read_are_refused(folder, image):
    image.save(folder / "train" / "cat" / "deep.tif")
    with pytest.raises(InputError, match=r"deep.tif is a TIFF file of 32 bits .* Save it as PNG"):
        _read(folder)


def test_broken_links_and_closed_files_are_named(folder):
    link = folder / "train" / "cat" / "link.png"
    link.symlink_to(folder / "nowhere.png")
    with pytest.raises(InputError, match=r"link.png: No such file"):
        _read(folder)
    link.unlink()
    link.symlink_to(folder / "train" / "dog" / "0.png")
    _, images = _read(folder)
    np.testing.assert_array_equal(images["train/cat/link.png"], images["train/dog/0.png"])


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads every file")
def test_files_without_permission_are_named(folder):
    path = folder / "train" / "cat" / "0.png"
    path.chmod(0)
    with pytest.raises(InputError, match=r"0.png: Permission denied"):
        _read(folder)
    path.parent.chmod(0o400)
    with pytest.raises(InputError, match=r"Permission denied"):
        _read(folder)
    path.parent.chmod(0o700)


def test_a_test_split_alone_can_be_attacked_but_not_trained_on(folder):
    _remove(folder / "train")
    data = datasets.load("image_folder", data_dir=folder, image_size=(9, 7))
    assert data.info.sizes == {"test": 2} and data.get_size("test") == 2
    assert len(list(data.evaluation_batches("test", 1))) == 2
    alone = "has test images alone, so no classifier can be trained"
    for call in (
        lambda: data.training_batches(1, seed=0, epoch=0),
        lambda: data.get_arrays("train"),
        lambda: data.get_size("train"),
        lambda: augmentation.compute_deltas(None, data, folder, num_steps=1, step_size=0.1),
        lambda: datasets.load("image_folder", data_dir=folder, train_size=1),
        lambda: datasets.load("image_folder", data_dir=folder, validation_size=1),
    ):
        with pytest.raises(InputError, match=alone):
            call()


def test_classes_without_images_name_what_was_there(folder):
    path = folder / "test" / "dog" / "0.png"
    path.rename(path.with_name("0.heic"))
    (path.parent / "0.heic").write_bytes(b"\0\0\0 ftypheic")
    with pytest.raises(InputError, match=r"test/dog has no images \(PNG.*0.heic is none of PNG"):
        datasets.load("image_folder", data_dir=folder)
