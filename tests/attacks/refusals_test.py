"""Invalid arguments of attacks, and unusual budgets."""

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.core.errors import InputError
from qup.robustness import compute_clever, masking

_WEIGHTS = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)


def _logits(images):
    return tf.reshape(images, (-1, 64)) @ _WEIGHTS


def _two_logits(images):
    return _logits(images)[:, :2]


@pytest.fixture(scope="module")
def examples():
    images = np.random.default_rng(1).random((20, 8, 8, 1), np.float32)
    return images, np.argmax(_logits(images), -1)


def _run(examples, name="pgd", **options):
    images, labels = examples
    arguments = {"images": images, "labels": labels, "batch_size": 8} | options
    return attacks.run(name, _logits, **arguments)


@pytest.mark.parametrize("value", ["false", 1, None, "maybe"])
@pytest.mark.parametrize("option", ["targeted", "random_start"])
def test_flags_are_true_or_false(option, value):
    with pytest.raises(InputError, match=f"{option} must be True or False"):
        attacks.build_method("pgd", epsilon=0.1, **{option: value})


@pytest.mark.parametrize("name", ["pgd", "cleverhans_pgd"])
def test_labels_are_never_used_as_targets(name, examples):
    with pytest.raises(InputError, match=r"targets=\.\.\."):
        _run(examples, name, epsilon=0.1, targeted=True)


class TestTargets:
    @pytest.mark.parametrize("name", ["pgd", "square", "jsma", "fgsm"])
    @pytest.mark.parametrize("target,message", [(-1, "negative"), (3, "3 classes")])
    def test_are_classes(self, name, target, message, examples):
        budget = {} if name == "jsma" else {"epsilon": 0.1}
        with pytest.raises(InputError, match=message):
            _run(examples, name, targets=np.full(20, target), **budget)

    def test_differ_from_the_labels(self, examples):
        with pytest.raises(InputError, match="must differ from the labels"):
            _run(examples, epsilon=0.1, targets=examples[1])


class TestLabels:
    def test_do_not_wrap_around(self, examples):
        labels = np.full(20, 2**32 + 1)
        with pytest.raises(InputError, match="must be classes"):
            _run(examples, epsilon=0.1, labels=labels)
        with pytest.raises(InputError, match="must be classes"):
            attacks.get("fgsm")(_logits, examples[0], labels, epsilon=0.1)

    def test_are_checked_at_epsilon_zero(self, examples):
        with pytest.raises(InputError, match="3 classes"):
            _run(examples, epsilon=0.0, labels=np.full(20, 3))


@pytest.mark.parametrize(
    "options",
    [
        {"epsilon": "0.1"},
        {"epsilon": -1},
        {"epsilon": np.linspace(-0.1, 0.1, 20)},
        {"epsilon": np.full(20, np.nan)},
        {"epsilon": np.full(30, 0.1)},
        {"epsilons": 0.1},
        {"epsilons": ["a"]},
        {"epsilons": []},
        {"epsilons": "0.1"},
        {"epsilons": [0.1, -0.1]},
    ],
)
@pytest.mark.parametrize("name", ["pgd", "deepfool"])
def test_budgets_are_numbers_from_zero(name, options, examples):
    with pytest.raises(InputError, match="epsilon"):
        _run(examples, name, **options)


def test_nearly_equal_budgets_have_different_folders(examples, tmp_path):
    budgets = [0.1, 0.1000001]
    _run(examples, epsilons=budgets, output=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "options,message",
    [
        ({"seed": None}, "seed"),
        ({"seed": "a"}, "seed"),
        ({"ids": ["a"] * 20}, "ids"),
        ({"output": 3}, "output must be a folder"),
        ({"images": "x.npy"}, "must be an array"),
        ({"loss": ["dlr"]}, "Unknown loss"),
        ({"norm": "lx"}, "Unknown norm"),
        ({"restarts": 1.5, "random_start": True}, "restarts must be an int"),
        ({"batch_size": 2.5}, "batch_size must be an integer"),
        ({"num_steps": 2.5}, "num_steps must be an integer"),
    ],
)
def test_refuses_invalid_arguments(options, message, examples):
    with pytest.raises(InputError, match=message):
        _run(examples, **{"epsilon": 0.1} | options)


@pytest.mark.parametrize(
    "name,options",
    [
        ("apgd_t", {"num_targets": 1.5}),
        ("spsa", {"num_samples": 4.0}),
        ("basic_iterative", {"num_steps": 2.5}),
        ("square", {"restarts": 1.5}),
    ],
)
def test_counts_are_integers(name, options):
    with pytest.raises(InputError, match="must be an integer"):
        attacks.build_method(name, epsilon=0.1, **options)


def test_ids_are_one_per_image(examples):
    with pytest.raises(InputError, match="ids"):
        attacks.get("pgd")(_logits, *examples, epsilon=0.1, ids=[1, 2])


@pytest.mark.parametrize("name", ["pgd", "fgsm", "square"])
def test_dlr_needs_three_classes(name, examples):
    images = examples[0]
    labels = np.argmax(_two_logits(images), -1)
    with pytest.raises(InputError, match="at least 3 classes"):
        attacks.run(name, _two_logits, images, labels, epsilon=0.1, loss="dlr")


@pytest.mark.parametrize("version", ["standard", "rand", "plus"])
def test_autoattack_of_few_classes_runs_without_the_losses_that_need_more(version):
    method = attacks.build_method("autoattack", epsilon=0.1, version=version)
    stages = {count: method.for_classes(count).stages() for count in (2, 3, 4)}
    for count, stages_of_count in stages.items():
        assert all(stage.min_classes <= count for stage in stages_of_count)
    assert len(stages[2]) < len(stages[4]) or version == "rand"
    assert method.for_classes(2).name == "autoattack_2_classes"


@pytest.mark.parametrize("name", ["basic_iterative", "iterative_least_likely_class"])
def test_steps_follow_each_budget(name, examples):
    images, labels = examples
    budgets = np.where(np.arange(20) % 2, 16 / 255, 2 / 255)
    result = _run(examples, name, epsilon=budgets)
    single_budget = _run((images[::2], labels[::2]), name, epsilon=2 / 255, ids=range(0, 20, 2))
    np.testing.assert_array_equal(result.images[::2], single_budget.images)
    np.testing.assert_array_equal(result.gradient_calls[::2], single_budget.gradient_calls)
    # ceil(min(2 + 4, 1.25 * 2)) and ceil(min(16 + 4, 1.25 * 16)).
    assert result.gradient_calls.max() - result.gradient_calls.min() == 17


class TestMinimalEpsilon:
    def test_is_zero_for_misclassified_images(self, examples):
        images, labels = examples
        labels = np.where(np.arange(20) < 3, (labels + 1) % 3, labels)
        result = attacks.minimal_epsilon("fgsm", _logits, images, labels, high=0.5, batch_size=8)
        assert (result.epsilon[:3] == 0).all()
        assert (result.epsilon[3:] > 0).all() and result.success.all()

    def test_refuses_attacks_without_a_budget(self, examples):
        with pytest.raises(InputError, match="closest adversarial image"):
            attacks.minimal_epsilon("deepfool", _logits, *examples, high=0.5)

    def test_needs_an_array(self, examples):
        images, labels = examples
        with pytest.raises(InputError, match="array"):
            attacks.minimal_epsilon("fgsm", _logits, iter([images]), labels, high=0.5)

    def test_accepts_no_images(self, examples):
        images, labels = examples
        result = attacks.minimal_epsilon("fgsm", _logits, images[:0], labels[:0], high=0.5)
        assert len(result) == 0


def test_refuses_a_list_of_single_images(examples):
    images, labels = examples
    with pytest.raises(InputError, match=r"np\.stack"):
        _run((list(images), labels), epsilon=0.1)


def test_diagnosis_refuses_a_misspelt_attack(examples):
    arguments = {"epsilon": 0.1, "checks": ["few_classes"]}
    with pytest.raises(InputError, match="Did you mean 'pgd'"):
        masking.diagnose(_logits, *examples, attack="pdg", **arguments)
    with pytest.raises(InputError, match="Did you mean 'num_steps'"):
        masking.diagnose(
            _logits, *examples, attack="pgd", attack_options={"num_step": 3}, **arguments
        )


@pytest.mark.parametrize(
    "options,message",
    [
        ({"ids": [1]}, "ids must be 20 integers"),
        ({"seed": "a"}, "seed must be a finite number"),
        ({"num_samples": 4.0}, "num_samples must be an integer"),
        ({"labels": np.full(20, 2**32 + 1)}, "must be classes"),
    ],
)
def test_clever_checks_its_arguments(options, message, examples):
    arguments = {"images": examples[0], "labels": examples[1]} | options
    with pytest.raises(InputError, match=message):
        compute_clever(_logits, **arguments)


def test_recomputes_a_shard_with_missing_rows(examples, tmp_path):
    expected = np.asarray(_run(examples, epsilon=0.1, output=tmp_path).images)
    shard = tmp_path / "shard-00000.npy"
    np.save(shard, np.load(shard)[:5])
    again = _run(examples, epsilon=0.1, output=tmp_path)
    np.testing.assert_array_equal(np.asarray(again.images), expected)
