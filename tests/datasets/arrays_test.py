"""The user's arrays: what is certain is read, what is in doubt is refused with advice."""

import itertools
import pickle

import numpy as np
import pytest
import tensorflow as tf

from qup import datasets
from qup.core.errors import InputError
from qup.datasets import dataset

_RNG = np.random.default_rng(0)
_BYTES = _RNG.integers(0, 256, (6, 5, 4, 3)).astype(np.uint8)
_BYTES[0, 0, 0, :2] = 0, 255
_LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture(autouse=True)
def _log_again():
    dataset.log_once.cache_clear()


def _load(images, labels=_LABELS, **options):
    """Returns the pixels and the labels that are kept, and the notes."""
    data = datasets.from_arrays(images, labels, **options)
    pixels, numbers, ids = data.get_arrays("test")
    assert (pixels.dtype, numbers.dtype) == (np.uint8, np.int32)
    assert ids.tolist() == list(range(len(pixels)))
    return pixels, numbers, " ".join(data.report[0].notes)


def test_bytes_are_used_as_they_are():
    pixels, labels, notes = _load(_BYTES)
    np.testing.assert_array_equal(pixels, _BYTES)
    np.testing.assert_array_equal(labels, _LABELS)
    assert notes == "used as they are"
    data = datasets.from_arrays(_BYTES, _LABELS)
    assert data.info.image_shape == (5, 4, 3) and data.info.class_names == ("0", "1", "2")
    assert data.info.sizes == {"test": 6} and data.info.name == "arrays"
    (batch,) = data.evaluation_batches("test", 6)
    np.testing.assert_allclose(batch["image"], _BYTES / 255, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_floats_from_0_to_1_are_scaled(dtype):
    images = tf.cast(_BYTES / 255, dtype)
    pixels, _, notes = _load(images)
    expected = np.rint(images.numpy().astype(np.float64) * 255)
    np.testing.assert_array_equal(pixels, expected)
    assert "black is 0, white is 1" in notes
    if dtype in ("float32", "float64"):
        np.testing.assert_array_equal(pixels, _BYTES)
        assert "rounded" not in notes


def test_rounding_to_256_levels_is_said(caplog):
    images = np.linspace(0, 1, _BYTES.size).reshape(_BYTES.shape)
    _, _, notes = _load(images)
    assert "rounded to 256 levels, by up to 0.00" in notes
    assert "rounded to 256 levels" in caplog.text


@pytest.mark.parametrize(
    ("images", "value_range"),
    [
        (_BYTES.astype(np.float32), (0, 255)),
        (_BYTES / 127.5 - 1, (-1, 1)),
        (_BYTES.astype(np.uint16) * 257, (0, 65535)),
        (_BYTES.astype(np.int16) - 128, (-128, 127)),
        ((_BYTES > 100).astype(np.uint8), (0, 1)),
    ],
)
def test_the_range_can_be_stated(images, value_range):
    pixels, _, _ = _load(images, value_range=value_range)
    expected = (_BYTES > 100) * 255 if value_range == (0, 1) else _BYTES
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (_BYTES.astype(np.float32), r"floats from 0 to 255; .* value_range=\(0, 255\)"),
        (_BYTES / 127.5 - 1, r"floats from -1 to 1; .* value_range=\(-1, 1\)"),
        (_BYTES / 60 - 2, "look standardised: undo it"),
        (_BYTES * 300.0, r"Pass value_range=\(BLACK, WHITE\)"),
        (_BYTES // 255, r"uint8 of 0 and 1 alone.*value_range=\(0, 1\), or value_range=\(0, 255\)"),
        (_BYTES.astype(int) - 5, r"integers from -5 to 250"),
        (_BYTES.astype(int) * 1000, r"integers from 0 to 255000"),
        (np.where(_BYTES == 255, np.nan, 0.5), "NaN or infinite values, first in image 0"),
        (np.full((6, 2, 2, 1), np.inf), "NaN or infinite"),
        (_BYTES.astype(object), r"Python objects.*np.stack\(images\)"),
        (_BYTES.astype(str), "must be numbers, floats .* received <U"),
        (_BYTES.astype(complex), "must be numbers"),
        ([[[1, 2], [3]], [[1, 2, 3]]], "are no array"),
        (_BYTES.reshape(6, -1), r"received \[6, 60\]. Pass images.reshape\(6, height, width"),
        (_BYTES[None], r"received \[1, 6, 5, 4, 3\]"),
        (np.uint8(3), r"received \[\]"),
        (_BYTES[:0], "are empty"),
        (_BYTES[:, :0], "are empty"),
        (
            np.zeros((6, 3, 8, 8), np.uint8),
            r"channels first: shape \[6, 3, 8, 8\].*np.moveaxis\(images, 1, -1\)",
        ),
        (_BYTES[:4], "There are 4 images and 6 labels"),
        (None, "Python objects"),
    ],
)
def test_images_in_doubt_are_refused_with_advice(images, message):
    with pytest.raises(InputError, match=message) as caught:
        datasets.from_arrays(images, _LABELS)
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_integers_have_the_white_of_their_depth(bits, caplog):
    images = np.linspace(0, (1 << bits) - 1, 120).round().reshape(6, 5, 4).astype(np.uint16)
    pixels, _, notes = _load(images)
    np.testing.assert_array_equal(pixels[..., 0], np.rint(images / ((1 << bits) - 1) * 255))
    assert f"white is {(1 << bits) - 1}" in notes and "a channel added to [6, 5, 4]" in notes
    assert "the fewest bits that hold all values" in caplog.text


def test_splits_of_deep_integers_have_one_white():
    images = np.full((6, 5, 4, 1), 300, np.uint16)
    data = datasets.from_arrays(
        images, _LABELS, train_images=images * 10, train_labels=_LABELS, validation_size=2
    )
    assert data.info.sizes == {"train": 4, "test": 6, "validation": 2}
    assert data.get_arrays("test")[0].max() == round(300 / 4095 * 255)
    assert data.get_arrays("train")[0].max() == round(3000 / 4095 * 255)


def test_stated_ranges_are_checked():
    with pytest.raises(InputError, match=r"values from 0 to 255, outside .* \(0, 1\)"):
        datasets.from_arrays(_BYTES, _LABELS, value_range=(0, 1))
    for wrong in ((1, 0), (0,), 5, "0-255", (0, np.nan)):
        with pytest.raises(InputError, match="value_range must be the values of black and white"):
            datasets.from_arrays(_BYTES, _LABELS, value_range=wrong)


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (_LABELS.tolist(), ""),
        (_LABELS[:, None], ""),
        (_LABELS.astype(np.uint8)[:, None], ""),
        (np.eye(3)[_LABELS], "one-hot"),
        (np.eye(3, dtype=bool)[_LABELS], "one-hot"),
        (tf.one_hot(_LABELS, 3), "one-hot"),
        (tf.constant(_LABELS), ""),
    ],
)
def test_labels_of_every_form_become_class_numbers(labels, note):
    _, numbers, notes = _load(_BYTES, labels)
    np.testing.assert_array_equal(numbers, _LABELS)
    assert note in notes


def test_two_classes_may_be_booleans():
    _, numbers, _ = _load(_BYTES, _LABELS > 0)
    np.testing.assert_array_equal(numbers, [0, 1, 1, 0, 1, 1])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (list("abcabc"), r"texts or objects .*np.unique\(labels, return_inverse=True\)"),
        (np.array(["a"] * 6, object), "texts or objects"),
        (_LABELS.astype(float), r"float64, not integers. Pass labels.astype\('int32'\)"),
        (_LABELS + 0.5, "not integers. Pass the number of each class"),
        (np.where(_LABELS == 0, np.nan, 1.0), "not integers. Pass the number of each class"),
        (np.full((6, 3), 1 / 3), r"not a single 1 .* labels.argmax\(axis=1\)"),
        (np.ones((6, 3), int), "several classes per image"),
        (np.zeros((6, 1, 1), int), r"received the shape \[6, 1, 1\]"),
        (7, r"received the shape \[\]"),
        (_LABELS[:5], "6 images and 5 labels"),
        (np.where(_LABELS, 1, -1), r"are -1 and 1; expected 0 and 1. Pass \(labels \+ 1\) // 2"),
        (_LABELS - 1, "class numbers from 0; received -1"),
        (_LABELS.astype(np.uint64) + 2**60, "class numbers 0, 1, 2, ...; received 1152"),
        (_LABELS.astype(complex), "received complex128"),
        (_LABELS.astype("datetime64[D]"), "received datetime64"),
        ([0, [1], 2, 0, 1, 2], "are no array"),
    ],
)
def test_labels_in_doubt_are_refused_with_advice(labels, message):
    with pytest.raises(InputError, match=message):
        datasets.from_arrays(_BYTES, labels)


def test_labels_that_count_from_1_are_noticed(caplog):
    datasets.from_arrays(_BYTES, _LABELS + 1)
    assert "pass labels - 1" in caplog.text


def test_classes_can_be_named_and_one_image_is_enough():
    data = datasets.from_arrays(_BYTES[:1], [0], class_names=["cat", "dog"])
    assert data.info.class_names == ("cat", "dog")
    assert datasets.from_arrays(_BYTES[:1], [0]).info.num_classes == 2
    with pytest.raises(InputError, match="2 class_names, but a label is 2"):
        datasets.from_arrays(_BYTES, _LABELS, class_names=["cat", "dog"])


def test_splits_belong_together():
    with pytest.raises(InputError, match="belong together"):
        datasets.from_arrays(_BYTES, _LABELS, train_images=_BYTES)
    with pytest.raises(InputError, match=r"one shape; received .*\(5, 4, 3\).*\(5, 4, 1\)"):
        datasets.from_arrays(_BYTES, _LABELS, train_images=_BYTES[..., :1], train_labels=_LABELS)
    with pytest.raises(InputError, match="test images alone, so no classifier can be trained"):
        datasets.from_arrays(_BYTES, _LABELS).training_batches(2, seed=0, epoch=0)


# Files


@pytest.fixture
def saved(tmp_path):
    np.save(tmp_path / "x.npy", _BYTES)
    np.save(tmp_path / "y.npy", _LABELS[:, None])
    return tmp_path


def test_two_npy_files_are_mapped_into_memory(saved):
    data = datasets.load("arrays", images=saved / "x.npy", labels=str(saved / "y.npy"))
    np.testing.assert_array_equal(data.get_arrays("test")[0], _BYTES)
    source = datasets.get("arrays")(images=saved / "x.npy", labels=saved / "y.npy")
    assert isinstance(source.splits["test"].arrays[0], np.memmap)
    digest = data.compute_source_digest()
    np.save(saved / "y.npy", _LABELS[::-1])
    assert data.compute_source_digest() != digest


@pytest.mark.parametrize(
    ("test", "train"),
    [
        (("images", "labels"), ()),
        (("x_test", "y_test"), ("x_train", "y_train")),
        (("test_images", "test_labels"), ("train_images", "train_labels")),
    ],
)
def test_an_npz_file_has_all_splits(tmp_path, test, train):
    content = dict(zip(test, (_BYTES, _LABELS), strict=True))
    content |= dict(zip(train, (255 - _BYTES, _LABELS), strict=True)) if train else {}
    if train:
        content |= {f"{train[0].replace('train', 'val')}": _BYTES[:2]}
        content |= {f"{train[1].replace('train', 'val')}": _LABELS[:2]}
    np.savez_compressed(tmp_path / "data", **content)
    data = datasets.load("arrays", images=tmp_path / "data.npz")
    sizes = {"train": 6, "test": 6, "validation": 2} if train else {"test": 6}
    assert data.info.sizes == sizes
    if train:
        np.testing.assert_array_equal(data.get_arrays("train")[0], 255 - _BYTES)


class _Harm:
    def __reduce__(self):
        return (exec, ("import pathlib; pathlib.Path('harm').write_text('done')",))


def test_pickles_are_never_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("objects.npy", np.array([_Harm()], object))
    np.savez("objects.npz", images=np.array([_Harm()], object), labels=_LABELS)
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(_Harm()))
    for name in ("objects.npy", "objects.npz", "plain.npy"):
        with pytest.raises(InputError, match="Pickles can run code and are not loaded"):
            datasets.load("arrays", images=name, labels=None if "npz" in name else "objects.npy")
    assert not (tmp_path / "harm").exists()


def test_files_that_cannot_be_used_are_named(saved):
    np.savez(saved / "train.npz", x_train=_BYTES, y_train=_LABELS)
    np.savez(saved / "half.npz", x_test=_BYTES)
    np.savez(saved / "twice.npz", images=_BYTES, labels=_LABELS, x_test=_BYTES, y_test=_LABELS)
    (saved / "cut.npy").write_bytes((saved / "x.npy").read_bytes()[:200])
    (saved / "cut.npz").write_bytes((saved / "twice.npz").read_bytes()[:300])
    (saved / "empty.npy").write_bytes(b"")
    (saved / "text.npy").write_text("1,2,3")
    cases = {
        ("nowhere.npy", "y.npy"): "Cannot read .*nowhere.npy: No such file",
        (".", "y.npy"): "Cannot read .*: Is a directory",
        ("x.npy", None): r"images alone. Give --labels=FILE.npy",
        ("x.npy", "twice.npz"): "labels must be a .npy file",
        ("twice.npz", "y.npy"): "an .npz file, which holds the labels itself",
        ("train.npz", None): "must hold images and labels, .* received x_train, y_train",
        ("half.npz", None): "has x_test but no y_test",
        ("twice.npz", None): "test images under two names",
        ("cut.npy", "y.npy"): "cut.npy is damaged",
        ("cut.npz", None): "cut.npz is damaged",
        ("empty.npy", "y.npy"): "empty.npy is damaged",
        ("text.npy", "y.npy"): "no array file of NumPy",
        (None, "y.npy"): r"needs images: --images=FILE.npy with --labels=FILE.npy",
    }
    for (images, labels), message in cases.items():
        paths = [name and saved / name for name in (images, labels)]
        with pytest.raises(InputError, match=message) as caught:
            datasets.load("arrays", images=paths[0], labels=paths[1])
        assert len(str(caught.value)) < 600, images


def test_options_of_other_datasets_are_refused():
    with pytest.raises(InputError, match=r"digits has no option images; .* omit images"):
        datasets.load("digits", images="x.npy")
    with pytest.raises(InputError, match="has no option channels"):
        datasets.load("digits", channels=3)
    assert datasets.load("synthetic", channels=3).info.image_shape == (8, 8, 3)


# tf.data


def _slices(images=_BYTES, labels=_LABELS):
    return tf.data.Dataset.from_tensor_slices((images, labels))


@pytest.mark.parametrize(
    "elements",
    [
        _slices(),
        _slices().batch(4),
        _slices(tf.cast(_BYTES, tf.float32) / 255, tf.one_hot(_LABELS, 3)).batch(5),
        _slices().map(lambda image, label: {"image": image, "label": label, "id": 0}),
        _slices(_BYTES, _LABELS[:, None]),
    ],
)
def test_elements_of_tf_data_are_read(elements):
    data = datasets.from_tf_data(elements)
    np.testing.assert_array_equal(data.get_arrays("test")[0], _BYTES)
    np.testing.assert_array_equal(data.get_arrays("test")[1], _LABELS)


def test_the_batches_of_a_dataset_are_read_without_their_padding():
    data = datasets.load("synthetic", train_size=9, test_size=7)
    again = datasets.from_tf_data(
        data.evaluation_batches("test", 4), train=data.evaluation_batches("train", 4)
    )
    assert again.info.sizes == {"train": 9, "test": 7}
    for split in ("train", "test"):
        np.testing.assert_array_equal(again.get_arrays(split)[0], data.get_arrays(split)[0])


def _fail(image, label):
    tf.debugging.assert_less(tf.cast(label, tf.int32), 3, "this label is too high")
    return image, label


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ([(_BYTES, _LABELS)], "expects a tf.data.Dataset .* received list. Pass arrays"),
        (_slices().repeat(), r"repeats without end. Pass dataset.take\(n\)"),
        (_slices().take(0), "has no elements"),
        (tf.data.Dataset.from_tensor_slices(_BYTES), r"must be \(image, label\)"),
        (_slices().map(lambda x, y: (x, y, y)), "received tuple of 3 parts"),
        (_slices().map(lambda x, y: {"x": x}), r"received \['x'\]"),
        (_slices(["a.png"] * 6), "are texts. Decode them"),
        (_slices(_BYTES, _LABELS + 2).map(_fail), "failed while it was read: .*too high"),
        (
            _slices().map(lambda x, y: (x[: y + 1], y)),
            r"different shapes, \[1, 4, 3\] and \[2, 4, 3\]",
        ),
        (_slices().batch(3).map(lambda x, y: (x, y[:2])), "A batch of the dataset has images"),
        (_slices(tf.cast(_BYTES, tf.float32)), r"value_range=\(0, 255\)"),
    ],
)
def test_other_elements_are_refused_with_advice(elements, message):
    with pytest.raises(InputError, match=message) as caught:
        datasets.from_tf_data(elements)
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)


@pytest.mark.slow
def test_arrays_of_every_kind_equal_the_reference_or_are_refused():
    rng = np.random.default_rng(5)
    dtypes = ("bool", "uint8", "int16", "uint16", "int32", "int64", "float16", "float32", "float64")
    ranges = ((0, 1), (0, 255), (-1, 1), (0, 1023), (0, 65535), (-2.5, 3), (0, 1e6))
    read = refused = 0
    for dtype, (low, high), stated, rank in itertools.product(
        dtypes, ranges, (False, True), (3, 4)
    ):
        if dtype == "bool":
            fits = (low, high) == (0, 1)
        else:
            fits = dtype[0] == "f" or np.iinfo(dtype).min <= low < high <= np.iinfo(dtype).max
        if not fits:
            continue
        values = rng.uniform(low, high, (4, 3, 5, 2)[:rank])
        values.flat[:2] = low, high
        with np.errstate(over="ignore"):
            images = values.astype(dtype)
        options = {"value_range": (low, high)} if stated else {}
        try:
            pixels, _, _ = _load(images, [0, 1, 0, 1], **options)
        except InputError as error:
            refused += 1
            assert len(str(error)) < 600
            # Half precision rounds or overflows beyond the stated range.
            assert not stated or dtype == "float16", (dtype, low, high)
            continue
        read += 1
        if not stated:
            assert (low, high) in ((0, 1), (0, 255), (0, 1023), (0, 65535)), (dtype, low, high)
        levels = (images.astype(np.float64) - low) * (255 / (high - low))
        expected = np.clip(np.rint(levels), 0, 255)
        np.testing.assert_array_equal(pixels.reshape(expected.shape), expected)
    assert read > 60 and refused > 60
