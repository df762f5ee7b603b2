"""Every dataset that needs no network fulfils the contract of a batch."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from qup import datasets
from qup.core.errors import InputError

_RNG = np.random.default_rng(0)


def _write_png(path, shape=(9, 7, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = _RNG.integers(0, 256, shape).astype(np.uint8)
    path.write_bytes(tf.io.encode_png(image).numpy())


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("folder")
    for split, count in (("train", 10), ("test", 4)):
        for name, i in itertools.product(("cat", "dog"), range(count)):
            _write_png(root / split / name / f"{i}.png", (9 + i, 7, 3))
    return root


@pytest.fixture(params=["digits", "image_folder", "synthetic"])
def data(request, shared_folder):
    return datasets.load(request.param, data_dir=shared_folder)


def _column(batches, key):
    return np.concatenate([batch[key].numpy() for batch in batches])


def test_the_names_are_those_of_the_files():
    assert set(datasets.names()) >= {
        *("cifar10", "digits", "fashion_mnist", "image_folder"),
        *("mnist", "svhn_cropped", "synthetic"),
    }
    with pytest.raises(InputError, match="Did you mean 'mnist'"):
        datasets.load("mnits")


def test_batches_keep_the_contract(data):
    size = data.info.sizes["test"]
    for batch in (
        *data.training_batches(8, seed=0, epoch=0).take(2),
        *data.evaluation_batches("test", size),
    ):
        rows = len(batch["id"])
        assert batch["image"].shape == (rows, *data.info.image_shape)
        assert [batch[k].dtype for k in ("image", "label", "weight", "id")] == [
            *(tf.float32, tf.int32, tf.float32, tf.int64)
        ]
        assert batch["label"].shape == batch["weight"].shape == (rows,)
        assert np.all(batch["weight"] == 1)


def test_pixels_are_whole_steps_of_the_unit_interval(data):
    images = _column(data.evaluation_batches("test", 7), "image")
    steps = images.astype(np.float64) * 255
    assert images.min() >= 0 and 0.5 < images.max() <= 1
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)


def test_every_class_is_in_every_split(data):
    classes = set(range(data.info.num_classes))
    assert set(data.info.sizes) == {"train", "test"}
    for split in data.info.sizes:
        labels = _column(data.evaluation_batches(split, 16), "label")
        assert set(labels.tolist()) == classes


def test_the_last_evaluation_batch_is_padded_with_weight_zero(data):
    size = data.info.sizes["test"]
    batches = list(data.evaluation_batches("test", size - 1))
    assert [len(batch["id"]) for batch in batches] == [size - 1] * 2
    assert _column(batches, "weight").sum() == size
    last = batches[-1]
    assert last["weight"].numpy().tolist() == [1] + [0] * (size - 2)
    assert set(last["id"].numpy().tolist()) == {size - 1}
    np.testing.assert_array_equal(last["image"][0], last["image"][-1])


def test_evaluation_rows_do_not_depend_on_the_batch_size(data):
    def rows(batch_size):
        batches = list(data.evaluation_batches("test", batch_size))
        real = _column(batches, "weight") == 1
        return {key: _column(batches, key)[real] for key in batches[0]}

    small, large = rows(3), rows(1000)
    np.testing.assert_array_equal(small["id"], np.arange(data.info.sizes["test"]))
    for key, values in small.items():
        np.testing.assert_array_equal(values, large[key])


def test_training_shows_each_image_once_and_matches_its_id(data):
    complete = list(data.evaluation_batches("train", 1 << 11))
    shown = list(data.training_batches(1, seed=0, epoch=0))
    ids = _column(shown, "id")
    assert sorted(ids) == list(range(data.info.sizes["train"]))
    for key in ("image", "label"):
        np.testing.assert_array_equal(_column(shown, key), _column(complete, key)[ids])


def test_the_order_depends_on_seed_and_epoch_alone(data):
    def order(**key):
        return _column(data.training_batches(4, **key), "id").tolist()

    first = order(seed=1, epoch=2)
    assert order(seed=1, epoch=2) == first
    assert order(seed=1, epoch=3) != first
    assert order(seed=2, epoch=2) != first
    assert order(seed=2, epoch=1) != first
    assert first != sorted(first)


def test_training_batches_are_full_and_no_larger_than_the_split():
    data = datasets.load("synthetic", train_size=10)
    sizes = [b["id"].shape for b in data.training_batches(4, seed=0, epoch=0)]
    assert sizes == [(4,), (4,)]
    (only,) = data.training_batches(64, seed=0, epoch=0)
    assert sorted(only["id"].numpy()) == list(range(10))


def test_validation_is_seeded_and_apart_from_training():
    def ids(split, **options):
        data = datasets.load("digits", validation_size=100, **options)
        return set(_column(data.evaluation_batches(split, 500), "id").tolist())

    held_out = ids("validation")
    assert len(held_out) == 100
    assert ids("train") == set(range(1437)) - held_out
    assert ids("validation") == held_out != ids("validation", seed=1)
    assert max(ids("validation", train_size=150)) < 150


def test_ids_and_images_do_not_change_with_the_sizes():
    complete = datasets.load("digits")
    part = datasets.load("digits", train_size=200, validation_size=50)
    images = _column(complete.evaluation_batches("train", 500), "image")
    for split in ("train", "validation"):
        for batch in part.evaluation_batches(split, 25):
            np.testing.assert_array_equal(batch["image"], images[batch["id"].numpy()])
    assert part.info.sizes == {"train": 150, "test": 360, "validation": 50}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_size": 0}, "train_size must be from 1 to 256"),
        ({"train_size": 257}, "train_size must be from 1 to 256"),
        ({"test_size": 65}, "test_size must be from 1 to 64"),
        ({"validation_size": -1}, "validation_size must be from 0 to 255"),
        ({"validation_size": 256}, "validation_size must be from 0 to 255"),
        ({"train_size": 9, "validation_size": 9}, "from 0 to 8"),
        ({"seed": -1}, "at least 0"),
        ({"image_size": (8, 0)}, "image_size must be"),
        ({"image_size": (8,)}, "image_size must be"),
    ],
)
def test_sizes_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        datasets.load("synthetic", **options)


_ODD = (None, "x", b"x", 2.5, [1], {}, object(), True, 10**400, np.zeros((2, 2)), tf.zeros(2))


@pytest.mark.parametrize("name", ["arrays", "image_folder", "synthetic"])
def test_odd_arguments_are_refused_in_one_line(name, tmp_path):
    own = {"data_dir": tmp_path}
    for key, value in itertools.product(
        (
            *("data_dir", "image_size", "channels", "bit_depth", "images", "labels"),
            *("value_range", "train_size", "test_size", "validation_size", "seed"),
        ),
        _ODD,
    ):
        try:
            datasets.load(name, **own | {key: value})
        except InputError as error:
            assert len(str(error)) < 600, (key, value)


def test_images_of_one_size_refuse_another():
    with pytest.raises(InputError, match="digits have a fixed size"):
        datasets.load("digits", image_size=(8, 8))


def test_batches_refuse_what_makes_no_sense():
    data = datasets.load("synthetic")
    with pytest.raises(InputError, match="batch_size must be a finite number of at least 1"):
        data.evaluation_batches("test", 0)
    with pytest.raises(InputError, match="batch_size must be a finite number of at least 1"):
        data.training_batches(0, seed=0, epoch=0)
    with pytest.raises(InputError, match="at least 0"):
        data.training_batches(8, seed=-1, epoch=0)
    with pytest.raises(InputError, match="Unknown split 'validation'"):
        data.evaluation_batches("validation", 8)


def test_max_images_selects_the_first_images():
    data = datasets.load("synthetic", train_size=20, test_size=10)
    batches = list(data.evaluation_batches("test", 4, max_images=7))
    weights = np.concatenate([batch["weight"] for batch in batches])
    ids = np.concatenate([batch["id"] for batch in batches])
    assert weights.sum() == 7 and len(batches) == 2
    np.testing.assert_array_equal(ids[weights > 0], np.arange(7))


def test_the_fingerprint_distinguishes_data():
    def caught(**options):
        sizes = {"train_size": 20, "test_size": 10} | options
        return datasets.load("synthetic", **sizes).fingerprint

    assert caught() == caught()
    changes = ({"seed": 1}, {"train_size": 19}, {"validation_size": 2})
    assert len({caught(), *(caught(**change) for change in changes)}) == 4
