"""Opposite-FGSM iterates, shards of Delta and the combined classifier."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks, datasets, models
from qup.augmentation import deltas, generation, opposite_fgsm
from qup.augmentation import translator as augmentation_translator
from qup.core.errors import InputError
from qup.core.parts import Part
from qup.robustness import evaluation


@pytest.fixture(scope="module")
def data():
    return datasets.load("synthetic", train_size=50, test_size=20)


@pytest.fixture(scope="module")
def classifier(data):
    return models.build("convnet", data.info, seed=1)


def _linear(size, classes=3):
    weights = np.random.default_rng(0).normal(size=(size, classes))
    return (
        lambda images: tf.reshape(images, (-1, size)) @ tf.constant(weights, tf.float32)
    ), weights


@pytest.mark.parametrize("loss", ["log_odds", "cross_entropy"])
def test_one_step_is_equation_1_of_the_supplement(loss):
    logits_fn, weights = _linear(6, classes=2)
    images = tf.constant(np.full((2, 6), 0.5, np.float32))
    end = opposite_fgsm.iterate(
        logits_fn, images, tf.constant([0, 1]), num_steps=1, step_size=0.1, bounds=None, loss=loss
    )
    toward_0 = np.sign(weights[:, 0] - weights[:, 1])
    expected = 0.5 + 0.1 * np.stack([toward_0, -toward_0])
    np.testing.assert_allclose(end, expected, atol=1e-6)


def test_steps_add_up_and_clip(classifier, data):
    batch = next(iter(data.evaluation_batches("train", 8)))
    images, labels = batch["image"], batch["label"]
    options = {"step_size": 0.03}
    once = opposite_fgsm.iterate(classifier, images, labels, num_steps=5, **options)
    twice = opposite_fgsm.iterate(
        classifier,
        opposite_fgsm.iterate(classifier, images, labels, num_steps=2, **options),
        labels,
        num_steps=3,
        **options,
    )
    np.testing.assert_array_equal(once, twice)
    assert np.min(once) >= 0 and np.max(once) <= 1
    assert np.abs(once - images).max() <= 0.15 + 1e-6
    free = opposite_fgsm.iterate(
        classifier, images, labels, num_steps=40, step_size=0.1, bounds=None
    )
    assert np.max(free) > 1


def test_iterates_lower_the_loss(classifier, data):
    batch = next(iter(data.evaluation_batches("train", 50)))
    end = opposite_fgsm.iterate(
        classifier, batch["image"], batch["label"], num_steps=20, step_size=0.02
    )
    before = evaluation.compute_correct_mask(classifier, batch["image"], batch)
    after = evaluation.compute_correct_mask(classifier, end, batch)
    assert tf.reduce_sum(after) > tf.reduce_sum(before)


def _compute_deltas(classifier, data, path, **changes):
    options = {
        "num_steps": 4,
        "step_size": 0.05,
        "batch_size": 16,
        "points": (0, 2, 4, 9),
        "attack": attacks.bind("pgd", epsilon=0.05),
    }
    return generation.compute_deltas(classifier, data, path, **(options | changes))


def test_shards_hold_every_image_once(classifier, data, tmp_path):
    computed = _compute_deltas(classifier, data, tmp_path / "d")
    assert computed.num_images == 50 and not computed.list_missing()
    shards = [computed.read_shard(i) for i in range(4)]
    ids = np.concatenate([shard["id"] for shard in shards])
    assert sorted(ids) == list(range(50))
    batch = next(iter(data.evaluation_batches("train", 50)))
    end = opposite_fgsm.iterate(
        classifier, batch["image"], batch["label"], num_steps=4, step_size=0.05
    )
    delta = np.concatenate([shard["delta"] for shard in shards])
    np.testing.assert_allclose(delta, end - batch["image"], atol=1e-5)
    assert computed.scale == np.abs(delta).max()
    points, right, _ = zip(*computed.trajectory_counts, strict=True)
    assert points == (0, 2, 4)
    assert right[2] == tf.reduce_sum(evaluation.compute_correct_mask(classifier, end, batch))


def test_an_interrupted_computation_resumes(classifier, data, tmp_path):
    whole = _compute_deltas(classifier, data, tmp_path / "whole")
    part = _compute_deltas(classifier, data, tmp_path / "part")
    kept = part.get_shard_path(0).stat().st_mtime_ns
    part.get_shard_path(2).unlink()
    part.get_shard_path(3).unlink()
    part = _compute_deltas(classifier, data, tmp_path / "part")
    assert part.get_shard_path(0).stat().st_mtime_ns == kept
    for shard in range(4):
        one, other = whole.read_shard(shard), part.read_shard(shard)
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_parts_give_the_pairs_of_one_process(classifier, data, tmp_path):
    whole = _compute_deltas(classifier, data, tmp_path / "whole")
    first = _compute_deltas(classifier, data, tmp_path / "parts", part=Part(2, 3))
    assert first.list_missing() == [0, 2, 3]
    _compute_deltas(classifier, data, tmp_path / "parts", part=Part(1, 3))
    joined = _compute_deltas(classifier, data, tmp_path / "parts", part=Part(3, 3))
    assert not joined.list_missing()
    for shard in range(4):
        one, other = whole.read_shard(shard), joined.read_shard(shard)
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])
    assert joined.trajectory_counts == whole.trajectory_counts


def test_other_settings_in_the_same_folder_are_refused(classifier, data, tmp_path):
    _compute_deltas(classifier, data, tmp_path)
    with pytest.raises(InputError, match="other settings"):
        _compute_deltas(classifier, data, tmp_path, step_size=0.1)


@pytest.mark.parametrize(
    "change",
    [{"batch_size": 15}, {"attack": attacks.bind("pgd", epsilon=0.1)}, {"num_images": 49}],
    ids=lambda change: next(iter(change)),
)
def test_shards_of_other_settings_are_never_mixed(change, classifier, data, tmp_path):
    _compute_deltas(classifier, data, tmp_path)
    with pytest.raises(InputError, match="other settings"):
        _compute_deltas(classifier, data, tmp_path, **change)


def test_settings_identify_classifier_and_data(classifier, data, tmp_path):
    _compute_deltas(classifier, data, tmp_path)
    other = models.build("convnet", data.info, seed=2)
    with pytest.raises(InputError, match="other settings"):
        _compute_deltas(other, data, tmp_path)
    drawn = datasets.load("synthetic", train_size=50, test_size=20, seed=1)
    with pytest.raises(InputError, match="other settings"):
        _compute_deltas(classifier, drawn, tmp_path)


def test_the_first_images_alone(classifier, data, tmp_path):
    computed = _compute_deltas(classifier, data, tmp_path, num_images=23)
    assert computed.num_images == 23
    ids = np.concatenate([computed.read_shard(i)["id"] for i in range(2)])
    np.testing.assert_array_equal(ids, np.arange(23))
    assert computed.trajectory_counts[0][1] <= 23


def test_a_gradient_that_is_nan_is_reported(data, tmp_path):
    def broken(images):
        return tf.reduce_sum(images, [1, 2, 3])[:, None] * tf.constant(
            [[float("nan"), 1.0, 2.0, 3.0]]
        )

    with pytest.raises(InputError, match="NaN or infinite"):
        _compute_deltas(broken, data, tmp_path, bounds=None)


def test_bounds_are_checked(classifier, data):
    batch = next(iter(data.evaluation_batches("train", 5)))
    arguments = {"num_steps": 2, "step_size": 0.1}
    one, other = (
        opposite_fgsm.iterate(classifier, batch["image"], batch["label"], bounds=box, **arguments)
        for box in ((0.0, 1.0), [0, 1])
    )
    np.testing.assert_array_equal(one, other)
    for box in ((1, 0), 3, (0, 1, 2)):
        with pytest.raises(InputError, match="bounds must be"):
            opposite_fgsm.iterate(
                classifier, batch["image"], batch["label"], bounds=box, **arguments
            )


def test_a_broken_shard_is_named(classifier, data, tmp_path):
    computed = _compute_deltas(classifier, data, tmp_path)
    computed.get_shard_path(1).write_bytes(b"no archive")
    with pytest.raises(InputError, match="shard-00001-of-00004"):
        _ = deltas.DeltaDataset(tmp_path, computed.settings).scale


def test_batches_shuffle_by_seed_and_epoch(classifier, data, tmp_path):
    computed = _compute_deltas(classifier, data, tmp_path)

    def order(seed, epoch):
        batches = deltas.build_pair_batches(computed, 10, seed=seed, epoch=epoch)
        assert int(batches.cardinality()) == 5
        return np.concatenate([b["delta"] for b in batches])

    np.testing.assert_array_equal(order(1, 2), order(1, 2))
    assert not np.array_equal(order(1, 2), order(1, 3))
    assert not np.array_equal(order(1, 2), order(2, 2))
    whole = np.concatenate([computed.read_shard(i)["delta"] for i in range(4)])
    assert np.isclose(np.sum(order(1, 2)), np.sum(whole), rtol=1e-4)


@pytest.mark.parametrize("change", [{"num_steps": 0}, {"step_size": -1.0}, {"step_size": 0.0}])
def test_bad_settings(change, classifier, data, tmp_path):
    with pytest.raises(InputError, match=next(iter(change))):
        _compute_deltas(classifier, data, tmp_path, **change)


def _translator(shape):
    inputs = keras.Input(shape)
    outputs = keras.layers.Conv2D(shape[-1], 3, padding="same")(inputs)
    return keras.Model(inputs, outputs)


def test_combine_adds_delta_and_hides_its_gradient_on_demand(classifier, data):
    translator = _translator(data.info.image_shape)
    images = next(iter(data.evaluation_batches("test", 4)))["image"]
    expected = classifier(images + translator(images))
    slopes = {}
    for through in augmentation_translator.GRADIENT_PATHS:
        pair = augmentation_translator.combine(
            classifier, translator, attack_gradient_through=through
        )
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = pair(images)
        slopes[through] = tape.gradient(logits, images).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-5)
    perturbed = images + translator(images)
    with tf.GradientTape() as tape:
        tape.watch(perturbed)
        logits = classifier(perturbed)
    alone = tape.gradient(logits, perturbed)
    np.testing.assert_allclose(slopes["classifier"], alone, atol=1e-5)
    assert np.abs(slopes["both"] - alone).max() > 1e-3


def test_combine_refuses_other_shapes(classifier):
    with pytest.raises(InputError, match="must take the same images"):
        augmentation_translator.combine(classifier, _translator((10, 10, 1)))
