"""The sizes of batches: which are chosen, when a smaller one pays off, and what is stored."""

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import batch_sizes, engine
from qup.attacks.batch_sizes import COMPILATION_ROWS, BatchSizes

_SHAPE, _CLASSES = (4, 4, 1), 4
_WEIGHTS = tf.constant(np.random.default_rng(0).normal(size=(16, _CLASSES)), tf.float32)
_IMAGES = np.random.default_rng(1).random((96, *_SHAPE), np.float32)


def _logits(images):
    # Products and sums of each row alone: the rounding does not depend on the size of the batch.
    return tf.reduce_sum(tf.reshape(images, (-1, 16, 1)) * _WEIGHTS[None], 1)


_LABELS = np.argmax(_logits(_IMAGES), 1)


@pytest.mark.parametrize(
    "count,expected", [(1, 2), (2, 2), (7, 7), (9, 10), (16, 16), (17, 20), (97, 100), (500, 100)]
)
def test_a_new_batch_has_room_for_all_and_few_empty_rows(count, expected):
    assert BatchSizes(100).choose("pgd", count) == expected


def test_the_largest_size_is_the_only_one_if_a_batch_is_fixed_or_compiled_by_xla():
    for sizes, xla in ((BatchSizes(64, can_shrink=False), "off"), (BatchSizes(64), "on")):
        assert sizes.choose("pgd", 3, xla=xla) == 64
        assert sizes.plan("pgd", 64, 1, xla) == (64, None)


def test_a_smaller_size_is_compiled_when_the_empty_rows_are_worth_it():
    sizes = BatchSizes(128)
    assert sizes.choose("pgd", 128) == 128
    size, num_steps = sizes.plan("pgd", 128, 5)
    assert (size, num_steps) == (128, -(-COMPILATION_ROWS // 123))
    sizes.record("pgd", 128, 5, num_steps - 1)
    assert sizes.plan("pgd", 128, 5) == (128, 1)
    sizes.record("pgd", 128, 5, 1)
    assert sizes.plan("pgd", 128, 5) == (5, None)
    # A size that is compiled already is used at once.
    assert sizes.plan("pgd", 128, 4)[0] == 5 and sizes.choose("pgd", 3) == 5
    # Another program knows nothing of it.
    assert sizes.plan("fab", 128, 4)[0] == 128


def test_the_size_stays_until_there_are_few_enough_rows():
    sizes = BatchSizes(128)
    for active in range(1, 129):
        fewer = sizes.fewer(active)
        assert fewer < active or fewer == 0
        if fewer:
            assert BatchSizes(128).choose("a", fewer) < BatchSizes(128).choose("a", active)
            assert BatchSizes(128).choose("a", fewer + 1) == BatchSizes(128).choose("a", active)


def test_stored_sizes_continue():
    sizes, other = BatchSizes(128), BatchSizes(128)
    sizes.choose("pgd", 128)
    sizes.record("pgd", 128, 5, 6)
    other.load(sizes.dump())
    for _ in range(2):
        assert sizes.plan("pgd", 128, 5) == other.plan("pgd", 128, 5)
        assert sizes.dump() == other.dump()


def _count_row_steps(monkeypatch, name, epsilon, **options):
    """Returns the result, and how many rows all steps after the last refill computed together."""
    row_steps, record = [], BatchSizes.record

    def record_steps(sizes, key, size, active, num_steps):
        row_steps.append(size * num_steps)
        record(sizes, key, size, active, num_steps)

    with monkeypatch.context() as patch:
        patch.setattr(BatchSizes, "record", record_steps)
        result = attacks.run(name, _logits, _IMAGES, _LABELS, epsilon=epsilon, **options)
    return result, sum(row_steps)


@pytest.mark.parametrize(
    "name,options",
    [
        ("pgd", {"keep": "first_adversarial", "num_steps": 200}),
        ("apgd_ce", {"num_steps": 200}),
        ("fab_t", {"num_steps": 100, "num_targets": 3}),
        ("square", {"num_queries": 1000}),
    ],
)
def test_rows_that_are_done_are_hardly_computed(name, options, monkeypatch):
    # Three images withstand, all others fall at once.
    epsilon = np.full(96, 0.6, np.float32)
    epsilon[[3, 40, 77]] = 1e-6
    monkeypatch.setattr(batch_sizes, "COMPILATION_ROWS", 64)
    result, row_steps = _count_row_steps(monkeypatch, name, epsilon, **options)
    assert result.robust_accuracy == pytest.approx(300 / 96)
    calls = result.forward_calls if name == "square" else result.gradient_calls
    assert calls[~result.success].sum() > 500 and row_steps < 1.6 * calls.sum()
    # The same choices at every call, whatever a call takes.
    monkeypatch.setattr(engine, "_MAX_STEPS_PER_CALL", 1)
    again, same_row_steps = _count_row_steps(monkeypatch, name, epsilon, **options)
    assert same_row_steps == row_steps
    np.testing.assert_array_equal(again.images, result.images)
    fixed = attacks.run(
        name, _logits, _IMAGES, _LABELS, epsilon=epsilon, fixed_batch=True, **options
    )
    np.testing.assert_array_equal(fixed.success, result.success)
    np.testing.assert_array_equal(fixed.gradient_calls, result.gradient_calls)
    np.testing.assert_allclose(fixed.images, result.images, atol=1e-6)
