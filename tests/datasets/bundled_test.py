"""Properties of digits and synthetic, in addition to the contract of every dataset."""

import subprocess
import sys

import numpy as np

from qup import datasets


def _column(batches, key):
    return np.concatenate([batch[key].numpy() for batch in batches])


def test_digits_are_split_in_equal_proportions():
    data = datasets.load("digits")
    counts = [
        np.bincount(_column(data.evaluation_batches(split, 3), "label"))
        for split in ("train", "test")
    ]
    np.testing.assert_allclose(counts[0] / counts[0].sum(), counts[1] / counts[1].sum(), atol=0.01)


def test_digits_are_the_enlarged_originals():
    from sklearn import datasets as bundled

    batches = datasets.load("digits").evaluation_batches("test", 360)
    shown = _column(batches, "image")[..., 0]
    labels = _column(batches, "label")
    originals = bundled.load_digits()
    means = [originals.images[originals.target == c].mean() for c in range(10)]
    # Bilinear enlargement keeps the mean but for the border: per class.
    for c in range(10):
        assert abs(shown[labels == c].mean() - means[c] / 16) < 0.03


def test_synthetic_images_are_separable_and_can_have_colour():
    source = datasets.get("synthetic")(channels=3, image_size=(6, 5), seed=4)
    data = datasets.Dataset("synthetic", source)
    train = next(iter(data.evaluation_batches("train", 256)))
    test = next(iter(data.evaluation_batches("test", 64)))
    assert train["image"].shape == (256, 6, 5, 3)
    means = np.stack([train["image"][train["label"] == c].numpy().mean(0) for c in range(4)])
    gaps = test["image"].numpy()[:, None] - means
    nearest = (gaps**2).sum((2, 3, 4)).argmin(1)
    assert (nearest == test["label"].numpy()).all()


def test_another_process_sees_the_same_order():
    code = (
        "from qup import datasets; d = datasets.load('synthetic');"
        "print([int(b['id'][0]) for b in"
        " d.training_batches(16, seed=3, epoch=5)])"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    data = datasets.load("synthetic")
    batches = data.training_batches(16, seed=3, epoch=5)
    assert other.stdout.strip() == str([int(b["id"][0]) for b in batches])
