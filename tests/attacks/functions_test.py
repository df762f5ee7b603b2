"""Plain functions as attacks: what they receive, and checks of what they return."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.core import identity
from qup.core.errors import InputError

_WEIGHTS = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
_BOX = {"bounds": (0.0, 1.0)}


def _logits(images):
    return tf.reshape(images, (-1, 64)) @ _WEIGHTS


def _softmax(images):
    return tf.nn.softmax(_logits(images))


def _rounded(images):
    return _logits(tf.round(images))


@pytest.fixture(scope="module")
def examples():
    images = np.random.default_rng(1).random((20, 8, 8, 1), np.float32)
    return images, np.argmax(_logits(images), -1)


def _return_clean(logits_fn, images, labels):
    return images


class TestBudgets:
    def test_reach_a_function_per_image(self, examples):
        budgets = np.linspace(0.01, 0.3, 20)
        seen = []

        def brighten(logits_fn, images, labels, *, epsilon, bounds, ids):
            seen.extend((int(i), epsilon) for i in set(ids.numpy()))
            return tf.clip_by_value(images + epsilon, *bounds)

        result = attacks.run(brighten, _logits, *examples, epsilon=budgets, batch_size=4)
        expected = dict(enumerate(np.float32(budgets).tolist()))
        assert dict(seen) == expected and len(seen) == 20
        assert (result.distances["linf"] <= budgets * (1 + 1e-5)).all()

    def test_bisect_equally_for_cleverhans_and_ours(self, examples):
        options = {"high": 0.3, "halvings": 4, "batch_size": 8}
        theirs, ours = (
            attacks.minimal_epsilon(name, _logits, *examples, num_steps=4, **options).epsilon
            for name in ("cleverhans_pgd", "pgd4")
        )
        np.testing.assert_array_equal(theirs, ours)
        assert len(np.unique(ours)) > 3

    def test_are_not_rounded_if_all_are_equal(self, examples):
        def return_clean(logits_fn, images, labels, *, epsilon):
            assert epsilon == 0.1
            return images

        attacks.run(return_clean, _logits, *examples, epsilon=0.1, batch_size=8)


def test_ids_reach_functions_and_bound_attacks(examples):
    seen = []

    def return_clean(logits_fn, images, labels, *, ids):
        seen.extend(ids.numpy()[:8])
        return images

    ids = np.arange(100, 120)
    attacks.run(return_clean, _logits, *examples, ids=ids, batch_size=8)
    assert set(seen) == set(ids)
    bound = attacks.bind("fgsm", epsilon=0.2)
    result = attacks.run(bound, _logits, *examples, batch_size=8)
    plain = attacks.run("fgsm", _logits, *examples, epsilon=0.2, batch_size=8)
    assert (result.success == plain.success).all() and result.success.any()


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda images: None, "must return images of the shape"),
        (lambda images: images[1:], "must return images of the shape"),
    ],
)
def test_checks_what_a_function_returns(change, message, examples):
    def perturb(logits_fn, images, labels):
        return change(images)

    with pytest.raises(InputError, match=message):
        attacks.run(perturb, _logits, *examples, batch_size=8)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"epsilon": 0.1}, "Unknown option of _return_clean 'epsilon'"),
        ({"targets": "random"}, "no targeted form"),
        ({"labels": np.full(20, 3)}, "3 classes"),
    ],
)
def test_refuses_options_that_a_function_does_not_accept(options, message, examples):
    arguments = {"images": examples[0], "labels": examples[1]} | options
    with pytest.raises(InputError, match=message):
        attacks.run(_return_clean, _logits, **arguments, batch_size=8)


def test_refuses_a_missing_budget_and_an_unknown_norm(examples):
    with pytest.raises(InputError, match="needs epsilon"):
        attacks.run("cleverhans_pgd", _logits, *examples)
    with pytest.raises(InputError, match="Unknown norm 'lx'"):
        attacks.run("cleverhans_pgd", _logits, *examples, epsilon=0.1, norm="lx")


def test_nan_logits_count_as_failures(examples, caplog):
    def fragile(images):
        bad = tf.reduce_max(images, (1, 2, 3)) > 0.9999
        return tf.where(bad[:, None], np.nan, _logits(images))

    def whiten(logits_fn, images, labels):
        return tf.ones_like(images)

    result = attacks.run(whiten, fragile, *examples, batch_size=8)
    assert not result.success.any()
    assert {flag.name for flag in result.flags} >= {"nan_logits", "nothing_broken"}
    assert "20 of 20 attacked images have NaN logits" in caplog.text


@pytest.mark.parametrize(
    "change,flag",
    [
        (lambda images, epsilon: images + 5, "outside_box"),
        (lambda images, epsilon: images * np.nan, "not_finite"),
        (lambda images, epsilon: tf.clip_by_value(images + 1.5 * epsilon, 0, 1), "outside_ball"),
    ],
)
def test_images_that_break_the_rules_count_as_not_attacked(change, flag, examples):
    def perturb(logits_fn, images, labels, *, epsilon):
        return change(images, epsilon)

    images, labels = examples
    labels = np.where(np.arange(20) < 5, (labels + 1) % 3, labels)
    result = attacks.run(perturb, _logits, images, labels, epsilon=0.1, batch_size=8)
    # Those that are misclassified as they are count as broken.
    np.testing.assert_array_equal(result.success, ~result.correct)
    assert result.success.sum() == 5
    assert flag in {f.name for f in result.flags}
    np.testing.assert_array_equal(result.images, images)


class TestOutput:
    def test_refuses_another_function(self, examples, tmp_path):
        def attack(size):
            return lambda logits_fn, images, labels: images * size

        attacks.run(attack(0.5), _logits, *examples, output=tmp_path / "a")
        attacks.run(attack(0.5), _logits, *examples, output=tmp_path / "a")
        with pytest.raises(InputError, match="function is"):
            attacks.run(attack(0.4), _logits, *examples, output=tmp_path / "a")

    def test_digest_covers_code_closures_defaults_and_globals(self):
        def build(size, default=1, values=()):
            def attack(logits_fn, images, labels, *, step=default):
                return images * size * step * len(values)

            return attack

        def other(logits_fn, images, labels, *, step=1):
            return images / step

        digests = [
            identity.compute_function_digest(function)
            for function in (
                build(1),
                build(2),
                build(1, 2),
                build(1, 1, np.ones(3)),
                build(1, 1, np.zeros(3)),
                other,
                _softmax,
                _rounded,
                functools.partial(other, step=1),
                functools.partial(other, step=2),
                attacks.bind("fgsm"),
                attacks.bind("pgd"),
            )
        ]
        assert len(set(digests)) == len(digests)
        assert identity.compute_function_digest(build(1)) == digests[0]

    def test_refuses_values_without_a_digest(self, examples, tmp_path):
        thing = object()

        def attack(logits_fn, images, labels):
            return images if thing else labels

        with pytest.raises(InputError, match="depends on a object"):
            attacks.run(attack, _logits, *examples, output=tmp_path)


class TestCleverhans:
    names = pytest.mark.parametrize("name", ["fgsm", "pgd", "momentum"])

    @names
    def test_needs_a_gradient(self, name, examples):
        with pytest.raises(InputError, match="square"):
            attacks.run(
                f"cleverhans_{name}", lambda x: tf.stop_gradient(_logits(x)), *examples, epsilon=0.1
            )

    @names
    def test_attacks_the_logarithm_of_probabilities(self, name, examples):
        options = {"epsilon": 0.05, "batch_size": 8}
        one, other = (
            attacks.run(f"cleverhans_{name}", classifier, *examples, **options)
            for classifier in (_softmax, _logits)
        )
        assert (one.success == other.success).all() and one.success.any()

    @names
    def test_checks_its_labels_and_options(self, name, examples):
        attack = attacks.get(f"cleverhans_{name}")
        images, labels = examples
        with pytest.raises(InputError, match="3 classes"):
            attack(_logits, images, labels + 3, epsilon=0.1)
        with pytest.raises(InputError, match="True or False"):
            attack(_logits, images, labels, epsilon=0.1, targeted="abc")


def test_functions_receive_logits(examples):
    def check_logits(logits_fn, images, labels):
        assert float(tf.reduce_max(logits_fn(images))) <= 0
        return images

    attacks.run(check_logits, _softmax, *examples, batch_size=8)
