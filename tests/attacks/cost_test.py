"""Estimates of time, against a clock that counts classified images instead of seconds."""

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import cost, engine, work
from qup.core import errors

_WEIGHTS = np.random.default_rng(0).normal(size=(36, 5)).astype(np.float32)


class CountingClassifier:
    """A linear classifier; as a clock it returns how many images it has classified."""

    def __init__(self):
        self.count = 0

    def _add(self, rows):
        self.count += int(rows)
        return np.int64(0)

    def __call__(self, images):
        counted = tf.numpy_function(self._add, [tf.shape(images)[0]], tf.int64)
        with tf.control_dependencies([counted]):
            images = tf.identity(images)
        return tf.reshape(images, (-1, 36)) @ _WEIGHTS

    def clock(self) -> float:
        return float(self.count)


def _load_images(count):
    images = np.random.default_rng(1).uniform(size=(count, 6, 6, 1)).astype(np.float32)
    labels = (images.reshape(count, 36) @ _WEIGHTS).argmax(-1)
    labels[::10] = (labels[::10] + 1) % 5  # A tenth is misclassified.
    return images, labels


@pytest.mark.parametrize(
    ("attack", "options"),
    [
        ("pgd", {"epsilon": 0.02}),
        ("apgd_ce", {"epsilon": 0.02, "num_steps": 50}),
        ("deepfool", {}),
        *(
            pytest.param(name, options, marks=pytest.mark.slow)
            for name, options in (
                ("pgd", {"epsilon": 0.03, "keep": "first_adversarial", "num_steps": 100}),
                ("pgd", {"epsilons": [0.01, 0.02, 0.04], "keep": "first_adversarial"}),
                ("apgd_t", {"epsilon": 0.02, "num_steps": 40, "num_targets": 4}),
                ("square", {"epsilon": 0.03, "num_queries": 300}),
                ("fab_t", {"epsilons": [0.01, 0.02], "norm": "l2", "num_targets": 4}),
                ("carlini_wagner", {"num_steps": 30, "search_steps": 4}),
                ("apgd_ce", {"epsilon": 0.02, "num_steps": 30, "targets": "all"}),
                ("autoattack", {"epsilon": 0.01}),
            )
        ),
    ],
)
def test_an_estimate_is_near_the_work_that_is_done(attack, options):
    images, labels = _load_images(300)
    probed, attacked = CountingClassifier(), CountingClassifier()
    estimate = cost.estimate_cost(
        attack,
        probed,
        images,
        labels,
        batch_size=32,
        limit_seconds=20_000.0,
        clock=probed.clock,
        **options,
    )
    attacks.run(attack, attacked, images, labels, batch_size=32, logs_flags=False, **options)
    assert estimate.seconds / attacked.count < 1.5
    assert attacked.count / estimate.seconds < 1.5
    assert estimate.low < estimate.seconds < estimate.high
    assert probed.count < max(0.5 * attacked.count, 10_000)


@pytest.mark.slow
def test_a_sample_stands_for_more_images():
    images, labels = _load_images(300)
    classifier = CountingClassifier()
    options = {"epsilon": 0.02, "batch_size": 32, "clock": classifier.clock}
    small = cost.estimate_cost("pgd", classifier, images, labels, **options)
    large = cost.estimate_cost("pgd", classifier, images, labels, num_images=3000, **options)
    assert 8 < large.seconds / small.seconds < 12
    assert large.disk_bytes == pytest.approx(10 * small.disk_bytes)
    assert small.disk_bytes > 300 * 36 * 4
    assert large.memory_bytes > small.memory_bytes > 100e6


def test_a_function_is_timed_on_one_batch():
    def darken(logits_fn, images, labels, *, epsilon):
        logits_fn(images)
        return images - epsilon

    images, labels = _load_images(300)
    probed, attacked = CountingClassifier(), CountingClassifier()
    estimate = cost.estimate_cost(
        darken, probed, images, labels, epsilon=0.1, batch_size=32, clock=probed.clock, bounds=None
    )
    attacks.run(
        darken, attacked, images, labels, epsilon=0.1, batch_size=32, bounds=None, logs_flags=False
    )
    assert estimate.seconds == pytest.approx(attacked.count, rel=0.2)


def test_no_images_cost_nothing():
    estimate = cost.estimate_cost("pgd", CountingClassifier(), *_load_images(0), epsilon=0.1)
    assert estimate.seconds == estimate.high == 0


def test_options_are_checked_as_those_of_the_attack():
    with pytest.raises(errors.InputError, match="num_step"):
        cost.estimate_cost("pgd", CountingClassifier(), *_load_images(4), epsilon=0.1, num_step=3)


@pytest.mark.slow
def test_the_limit_bounds_the_pilot():
    images, labels = _load_images(300)
    counts = []
    for limit in (2_000.0, 40_000.0):
        classifier = CountingClassifier()
        cost.estimate_cost(
            "square",
            classifier,
            images,
            labels,
            epsilon=0.002,
            num_queries=5000,
            batch_size=32,
            limit_seconds=limit,
            clock=classifier.clock,
        )
        counts.append(classifier.count)
    assert counts[0] < 5_000 < counts[1] < 60_000


def test_unfinished_rows_take_the_steps_that_their_share_says():
    steps, done = np.array([10.0, 10.0]), np.array([False, False])
    result = cost.extrapolate_steps(steps, done, np.array([0.1, 0.5]), 100)
    assert result == pytest.approx([100, 20])


def test_some_unfinished_rows_succeed_later_if_some_did_before():
    steps = np.array([*[60.0] * 10, *[100.0] * 10])
    done = np.arange(20) < 10
    result = cost.extrapolate_steps(steps, done, np.full(20, 0.1), 1000)
    assert (result[:10] == 60).all()
    # Half of the rows finished when the time doubled, so half of the rest do in the next doubling.
    assert ((result[10:] > 100) & (result[10:] < 200)).sum() == 5
    assert result.max() <= 1000


def test_without_a_largest_number_of_steps_the_rest_is_a_guess():
    result = cost.extrapolate_steps(np.array([50.0]), np.array([False]), np.array([0.0]), None)
    assert result == pytest.approx([100])


def test_calls_are_counted_as_the_engine_makes_them(monkeypatch):
    images, labels = _load_images(100)
    classifier = CountingClassifier()
    row_steps = {"apgd_ce": 0}

    class SpyProgram(engine.Program):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            run_steps = self.masked_steps

            def count(examples, *rest):
                outputs = run_steps(examples, *rest)
                row_steps["apgd_ce"] += examples.images.shape[0] * int(outputs[-1])
                return outputs

            self.masked_steps = count

    monkeypatch.setattr(engine, "Program", SpyProgram)
    options = {"epsilon": 0.02, "num_steps": 30, "batch_size": 16}
    result = attacks.run("apgd_ce", classifier, images, labels, logs_flags=False, **options)
    attacked = result.correct
    method = attacks.build_method("apgd_ce", epsilon=0.02, num_steps=30)
    steps = result.gradient_calls[attacked]
    calls = work.count_calls(method, steps, count=int(attacked.sum()), batch_size=16)
    counted = sum(n * rows for (kind, rows, _), n in calls.items() if kind == "masked_step")
    assert counted == pytest.approx(row_steps["apgd_ce"], rel=0.15)
