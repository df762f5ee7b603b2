"""The controls of IFA, by closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.augmentation import deltas as augmentation_deltas
from qup.augmentation import templates as augmentation_templates
from qup.augmentation import trajectories
from qup.augmentation import translator as augmentation_translator
from qup.augmentation.deltas import DeltaDataset
from qup.core.errors import InputError
from qup.robustness import evaluation, transfer

_SIDE = 2
_LABELS = {0: 0, 1: 1, 2: 0, 3: 2, 4: 1}


@pytest.fixture
def walk(tmp_path):
    """Five pairs in two shards; Delta is the id everywhere."""
    made = DeltaDataset(
        tmp_path / "walk",
        {
            "num_shards": 2,
            "num_images": 5,
            "num_steps": 1,
            "step_size": 0.1,
            "bounds": None,
            "loss": "log_odds",
        },
    )
    for shard, ids in enumerate(([0, 1, 2], [3, 4])):
        ids = np.array(ids)
        delta = np.ones((len(ids), _SIDE, _SIDE, 1)) * ids[:, None, None, None]
        arrays = {
            "id": ids,
            "image": np.full(delta.shape, 255, np.uint8),
            "delta": delta.astype(np.float32),
        }
        made.write_shard(shard, arrays, {"points": np.zeros(0)})
    return made


def _batch(images, labels, weights=None):
    labels = np.asarray(labels, np.int32)
    weights = np.ones(len(labels)) if weights is None else weights
    return {
        "image": tf.constant(images, tf.float32),
        "label": tf.constant(labels),
        "weight": tf.constant(weights, tf.float32),
        "id": tf.range(len(labels), dtype=tf.int64),
    }


def test_a_template_is_the_mean_of_its_class(walk):
    templates = augmentation_templates.compute_class_means(walk, _LABELS, 3)
    expected = np.ones((3, _SIDE, _SIDE, 1))
    expected *= np.array([1.0, 2.5, 3.0])[:, None, None, None]
    np.testing.assert_allclose(templates, expected)


def test_every_delta_becomes_that_of_its_class(walk, tmp_path):
    templates = augmentation_templates.compute_class_means(walk, _LABELS, 3)
    made = augmentation_templates.write_template_deltas(walk, templates, _LABELS, tmp_path / "made")
    assert not made.list_missing() and made.num_images == 5
    assert made.scale == 3.0 and made.iterate_options == walk.iterate_options
    for shard in range(2):
        before, after = walk.read_shard(shard), made.read_shard(shard)
        for key in ("id", "image"):
            np.testing.assert_array_equal(before[key], after[key])
        own = [_LABELS[i] for i in after["id"].tolist()]
        np.testing.assert_array_equal(after["delta"], templates[own])
    (batch,) = augmentation_deltas.build_pair_batches(made, 5, seed=0, epoch=0)
    assert sorted(batch["delta"][:, 0, 0, 0].numpy()) == [1, 1, 2.5, 2.5, 3]
    with pytest.raises(InputError, match="other settings"):
        augmentation_templates.write_template_deltas(walk, templates, _LABELS, walk.directory)


def test_templates_that_cannot_be_are_told(walk):
    with pytest.raises(InputError, match="Class 3 has no image"):
        augmentation_templates.compute_class_means(walk, _LABELS, 4)
    with pytest.raises(InputError, match="hold image 4"):
        augmentation_templates.compute_class_means(
            walk, {k: v for k, v in _LABELS.items() if k != 4}, 3
        )


def test_the_nearest_template_is_by_angle_alone():
    templates = np.eye(4, dtype=np.float32).reshape(4, 2, 2, 1)
    templates[1] *= 100
    wanted = np.array([3, 1, 0, 2])
    deltas = templates[wanted] * np.array([9, 0.1, 1e-3, 5])[:, None, None, None]
    deltas = tf.constant(deltas + 1e-5, tf.float32)
    np.testing.assert_array_equal(
        augmentation_templates.find_nearest_template(deltas, templates), wanted
    )


def test_an_error_is_a_mean_and_a_share():
    sizes = np.array([0.1, 0.3, 0.2, 9.0])
    image = np.ones((4, 2, 2, 1)) * sizes[:, None, None, None]
    batch = _batch(image, [0, 0, 0, 0], [1, 1, 1, 0])
    found = augmentation_translator.compute_l1_errors(
        {
            "zero": lambda b: tf.zeros_like(b["image"]),
            "share": lambda b: 0.75 * b["image"],
            "shifted": lambda b: b["image"] - 0.05,
        },
        [batch, batch],
        lambda b: b["image"],
    )
    zero, share, shifted = (found[k] for k in ("zero", "share", "shifted"))
    assert zero.pixels.value == pytest.approx(0.2) and zero.pixels.n == 6
    spread = np.std([0.1, 0.3, 0.2] * 2, ddof=1) / np.sqrt(6)
    assert zero.pixels.stderr == pytest.approx(spread)
    assert zero.relative.value == pytest.approx(1)
    assert share.relative.value == pytest.approx(0.25)
    # In proportion to Delta: the share is the same of any images.
    assert share.relative.stderr == pytest.approx(0, abs=1e-6)
    assert shifted.pixels.value == pytest.approx(0.05)
    assert shifted.relative.value == pytest.approx(0.25)
    # r std(s) / (sqrt(n) mean(s)), e being constant.
    assert shifted.relative.stderr == pytest.approx(0.25 * spread / 0.2)


def test_no_delta_at_all_has_no_share():
    batch = _batch(np.zeros((2, 2, 2, 1)), [0, 0])
    found = augmentation_translator.compute_l1_errors(
        {"one": lambda b: b["image"] + 1}, [batch], lambda b: b["image"]
    )
    assert found["one"].pixels.value == 1
    assert np.isnan(found["one"].relative.value)
    assert found["one"].relative.stderr is None


def test_a_translator_that_tells_the_class_is_found_out():
    templates = np.eye(4, dtype=np.float32)[:3].reshape(3, 2, 2, 1)
    # An image is half its class's template, so that G can read it.
    batch = _batch(0.5 * templates[[0, 1, 2, 1]], [0, 1, 2, 1], [1, 1, 1, 0])

    def translator(images):
        return 2.0 * images

    def blind(images):
        # Class 0 whatever the image, unless a pixel is above 1.
        bright = tf.reshape(images, (-1, 4))[:, :3] > 1
        return tf.cast(bright, tf.float32) * 2 + [[1.0, 0.0, 0.0]]

    readers = augmentation_templates.build_label_readers(blind, translator, templates)
    found = augmentation_templates.evaluate_label_readers(readers, blind, [batch, batch])
    assert found["nearest_template", "all"] == (100, 0, 6)
    assert found["nearest_template", "misclassified"] == (100, 0, 4)
    # 0.5 t + t is above 1, t alone is not.
    assert found["pair", "misclassified"].value == 100
    assert found["classifier_of_delta", "all"].value == pytest.approx(100 / 3)
    assert found["classifier_of_delta", "misclassified"].value == 0


def test_where_nothing_is_wrong_nothing_is_said_of_it():
    batch = _batch(np.ones((2, 2, 2, 1)), [1, 1])
    found = augmentation_templates.evaluate_label_readers(
        {"one": lambda b: tf.ones_like(b["label"])},
        lambda images: tf.reshape(images, (-1, 4))[:, :2] * [0.0, 1.0],
        [batch],
    )
    assert set(found) == {("one", "all")}


@pytest.fixture(scope="module")
def linear():
    """A linear classifier of two classes, images and the margins."""
    draw = np.random.default_rng(0)
    weights = draw.normal(size=(4, 2)).astype(np.float32)
    images = draw.uniform(size=(40, 2, 2, 1)).astype(np.float32)
    labels = draw.integers(2, size=40)

    def classifier(inputs):
        return tf.reshape(inputs, (-1, 4)) @ weights

    towards = (weights[:, 0] - weights[:, 1]) * np.where(labels, -1, 1)[:, None]
    margins = (images.reshape(40, 4) * towards).sum(1)
    return classifier, _batch(images, labels), margins, np.abs(towards[0]).sum()


def _share(right):
    return pytest.approx(100 * np.mean(right))


_EPSILON, _STEP = 0.03, 0.05


def _walked(linear, walked_with):
    return trajectories.evaluate_trajectory(
        linear[0],
        [linear[1]],
        attacks.bind("fgsm", epsilon=_EPSILON, bounds=None),
        points=(8, 0, 2),
        label_source=walked_with,
        step_size=_STEP,
        bounds=None,
    )


def test_true_labels_move_every_margin_by_as_much(linear):
    _, _, margins, slope = linear
    found = _walked(linear, "true")
    assert [point.step for point in found] == [0, 2, 8]
    assert 0 < found[0].test_accuracy.value < 100
    for point in found:
        # m + n step |w|_1, less epsilon |w|_1 where it is attacked.
        moved = margins + point.step * _STEP * slope
        assert point.test_accuracy.value == _share(moved > 0)
        for attacked in (point.attacked_after, point.attacked_before):
            assert attacked.value == _share(moved > _EPSILON * slope)
    assert found[-1].test_accuracy.value > found[0].test_accuracy.value


def test_predicted_labels_turn_no_decision(linear):
    _, _, margins, slope = linear
    for point in _walked(linear, "predicted"):
        assert point.test_accuracy.value == _share(margins > 0)
        # The attack comes first and the walk goes on from its class.
        robust = margins > _EPSILON * slope
        assert point.attacked_before.value == _share(robust)
        reach = point.step * _STEP * slope
        moved = margins + np.where(margins > 0, reach, -reach)
        after = moved > _EPSILON * slope
        assert point.attacked_after.value == _share(after)


def test_walks_that_cannot_be_are_told(linear):
    with pytest.raises(InputError, match="Did you mean 'true'"):
        _walked(linear, "tru")
    with pytest.raises(InputError, match="points must be"):
        trajectories.evaluate_trajectory(
            linear[0], [linear[1]], attacks.bind("fgsm", epsilon=0.1), points=(), step_size=0.1
        )


def test_networks_of_other_pixels_are_not_broken_by_each_other():
    draw = np.random.default_rng(1)
    batch = _batch(draw.uniform(size=(30, 2, 2, 1)), draw.integers(2, size=30))

    def reads(place):
        def network(images):
            value = tf.reshape(images, (-1, 4))[:, place, None] - 0.5
            return tf.concat([-value, value], 1)

        return network

    networks = {"CL": reads(0), "ACL": reads(1)}
    attack = attacks.bind("fgsm", epsilon=0.2)
    found = transfer.evaluate_transfer(networks, [batch], attack)
    for made_on in networks:
        for on, network in networks.items():
            values = found[made_on, on]
            clean = evaluation.evaluate_accuracy(network, [batch])
            if made_on != on:
                assert values.robust_accuracy == clean
                assert values.robust_accuracy_strict == clean
            else:
                white = evaluation.evaluate_attack(network, [batch], attack)
                assert values[:2] == white[1:3]
                assert values.robust_accuracy.value < clean.value
            assert values.broken_by_transfer_alone.value == 0


def test_what_a_transfer_alone_breaks_is_counted():
    batch = _batch(np.full((10, 2, 2, 1), 0.5), np.ones(10))

    def open_network(images):
        value = tf.reduce_sum(images, [1, 2, 3])[:, None] - 1.9
        return tf.concat([-value, value], 1)

    def masked(images):
        return tf.stop_gradient(open_network(images)) + 0.0 * open_network(images)

    found = transfer.evaluate_transfer(
        {"CL": open_network, "ACL": masked}, [batch], attacks.bind("fgsm", epsilon=0.1)
    )
    assert found["ACL", "ACL"].robust_accuracy.value == 100
    assert found["CL", "ACL"].robust_accuracy.value == 0
    assert found["CL", "ACL"].broken_by_transfer_alone.value == 100
