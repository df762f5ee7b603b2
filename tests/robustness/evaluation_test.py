"""TA and RA: counting, padding, errors."""

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks, datasets
from qup.core import measurements
from qup.core.errors import InputError
from qup.pipelines import paper
from qup.robustness import evaluation


def _batches():
    images = tf.constant([[0.0], [1.0], [1.0], [1.0]])
    return [
        {
            "image": images,
            "label": tf.constant([0, 1, 0, 0]),
            "weight": tf.constant([1.0, 1.0, 1.0, 0.0]),
            "id": tf.range(4, dtype=tf.int64),
        }
    ]


def _threshold(images):
    return tf.concat([0.5 - images, images - 0.5], -1)


def test_counts_misclassified_images_as_errors_and_skips_padding():
    def flip(logits_fn, images, labels, *, ids):
        return 1.0 - images

    result = evaluation.evaluate_attack(_threshold, _batches(), flip)
    assert result.test_accuracy.n == 3
    assert result.test_accuracy.value == pytest.approx(200 / 3)
    # The wrong image turns right: the paper's RA counts it, strict does not.
    assert result.robust_accuracy.value == pytest.approx(100 / 3)
    assert result.robust_accuracy_strict.value == 0
    assert evaluation.evaluate_accuracy(_threshold, _batches()) == result.test_accuracy


def test_a_bound_attack_that_oversteps_counts_as_no_attack():
    def flip(logits_fn, images, labels, *, ids):
        return 1.0 - images

    flip.method_name, flip.options = "cleverhans_pgd", {"epsilon": 0.3}
    result = evaluation.evaluate_attack(_threshold, _batches(), flip)
    assert result.robust_accuracy == result.test_accuracy
    assert {"outside_ball", "nothing_broken"} <= {flag.name for flag in result.flags}
    flip.options = {"epsilon": 1.0}
    assert evaluation.evaluate_attack(_threshold, _batches(), flip).robust_accuracy.value < 50


@pytest.mark.parametrize("name,has_stages", [("autoattack", True), ("minimum_norm", False)])
def test_only_attacks_with_a_budget_have_accuracies_after_stages(name, has_stages):
    weights = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)

    def logits_fn(images):
        return images @ weights

    images = np.random.default_rng(1).random((12, 6)).astype(np.float32)
    labels = (images @ weights).argmax(1)
    budget = {"epsilon": 0.05} if has_stages else {"norm": "l1"}
    if has_stages:
        budget["version"] = "rand"
    result = attacks.run(name, logits_fn, images, labels, **budget)
    info = measurements.ModelInfo("toy", "linear", "CL", 0, 0)
    rows = evaluation.build_attack_rows(info, result, {"name": name, "epsilon": None, **budget})
    assert any(row.measure == "robust_accuracy_after" for row in rows) == has_stages


def test_binomial_error():
    accuracy = measurements.compute_accuracy(25, 100)
    assert accuracy == (25.0, pytest.approx(100 * np.sqrt(0.1875 / 100)), 100)


@pytest.mark.parametrize("batch_size", [7, 20, 64])
def test_does_not_depend_on_the_batch_size(batch_size):
    data = datasets.load("synthetic", test_size=40)
    shape = data.info.image_shape
    weights = tf.random.stateless_normal((int(np.prod(shape)), 4), (1, 1))
    linear = lambda x: tf.reshape(x, (tf.shape(x)[0], -1)) @ weights  # noqa: E731
    attack = attacks.bind("pgd", epsilon=0.02, random_start=True)
    results = [
        evaluation.evaluate_attack(linear, data.evaluation_batches("test", size), attack)
        for size in (40, batch_size)
    ]
    assert results[0] == results[1]


def _row(**changes):
    row = {
        "dataset": "mnist",
        "model": "convnet",
        "classifier": "CL",
        "attack": "pgd",
        "epsilon": 0.1,
        "measure": "robust_accuracy",
        "value": 41.44,
        "stderr": None,
        "n": 10,
        "epochs": 1,
        "seed": 0,
        "parameters": {"num_steps": 4, "pixel_clip": True, "a": None},
    }
    return measurements.Row(**(row | changes))


def test_rows_survive_the_file(tmp_path):
    rows = [_row(), _row(attack="", epsilon=None, stderr=1 / 3)]
    measurements.write_rows(tmp_path / "m.csv", rows)
    assert measurements.read_rows(tmp_path / "m.csv") == rows
    text = (tmp_path / "m.csv").read_text()
    assert text.startswith(
        "dataset,model,classifier,attack,epsilon,measure,value,stderr,n,"
        "epochs,seed,artifact,parameters\n"
    )
    assert '""num_steps"":4,""pixel_clip"":true' in text


def test_equal_keys_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="same key"):
        measurements.write_rows(tmp_path / "m.csv", [_row(), _row(value=1.0)])
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="header"):
        measurements.read_rows(tmp_path / "x.csv")


def test_paper_values():
    assert paper.find_published_accuracy("mnist", "convnet", "ACL", 1) == (99.04, 89.53)
    assert paper.find_published_accuracy("cifar10", "googlenet", "CL", 50) == (86.61, 0.08)
    assert paper.find_published_accuracy("digits", "convnet", "CL", 1) is None
