"""Square Attack: its schedule, its windows and what is put in them."""

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import square
from qup.core import norms, prng
from tests.attacks import black_box


def _naive_share(p_init, it, num_queries=None):
    """Supplement A of the paper, as written there."""
    if num_queries:
        it = int(np.floor(it * 10000 / num_queries))
    if it <= 10:
        return p_init
    if it <= 50:
        return p_init / 2
    if it <= 200:
        return p_init / 4
    if it <= 500:
        return p_init / 8
    if it <= 1000:
        return p_init / 16
    if it <= 2000:
        return p_init / 32
    if it <= 4000:
        return p_init / 64
    if it <= 6000:
        return p_init / 128
    if it <= 8000:
        return p_init / 256
    return p_init / 512


@pytest.mark.parametrize("num_queries", [None, 1000, 5000])
def test_schedule_equals_the_naive_one(num_queries):
    its = np.arange(0, num_queries or 12000, 3)
    rescale = {"rescale_schedule": True, "num_queries": num_queries}
    method = attacks.build_method(
        "square", epsilon=1, p_init=0.3, **(rescale if num_queries else {})
    )
    shares = method.compute_share(tf.constant(its, tf.int32))
    naive = [_naive_share(0.3, it, num_queries) for it in its]
    np.testing.assert_allclose(shares, naive, rtol=1e-6)


@pytest.mark.parametrize(
    "norm,share,side",
    [
        ("linf", 0.8, 8),  # sqrt(.8 * 63) = 7.1, of at most 7
        ("linf", 0.4, 5),
        ("linf", 1e-4, 1),
        ("l2", 0.4, 5),
        ("l2", 0.25, 5),  # 4, made odd
        ("l2", 1e-4, 3),
        ("l1", 0.9, 7),
    ],
)
def test_sides(norm, share, side):
    sides = square.compute_window_sides(tf.constant([share]), (9, 7, 3), norm)
    assert sides.numpy() == [min(side, 7)]


def _naive_bump(side):
    """Eq. 2 summed square by square, for halves above and below."""
    whole = np.zeros((side, side))
    for start, stop, sign in ((0, side // 2, 1), (side // 2, side, -1)):
        half = np.zeros((stop - start, side))
        middle = ((stop - start) // 2, side // 2)
        for k in range(side // 2 + 1):
            for i in range(stop - start):
                for j in range(side):
                    if max(abs(i - middle[0]), abs(j - middle[1])) <= k:
                        half[i, j] += 1 / (k + 1) ** 2
        whole[start:stop] = sign * half / np.linalg.norm(half)
    return whole / np.linalg.norm(whole)


@pytest.mark.parametrize("side", [2, 3, 5, 6, 9])
def test_bump_equals_the_naive_one(side):
    place = tf.range(-2, 10)[None]
    for flip in (False, True):
        bump = square.build_bump(tf.constant([side]), place, place + 1, tf.constant([flip]))[
            0
        ].numpy()
        naive = np.zeros((12, 12))
        shown = _naive_bump(side)
        naive[2 : 2 + side, 1 : 1 + side] = shown.T if flip else shown
        np.testing.assert_allclose(bump, naive, atol=1e-6)


def _ball(norm, shape=(9, 7, 3), count=40, bounds=None, epsilon=0.5):
    images = tf.constant(black_box.build_grid_images(count, shape))
    budget = tf.fill((count, 1, 1, 1), epsilon)
    keys = prng.make_keys(3, tf.range(count))
    return square.SearchBall(images, budget, norm, bounds), keys


@pytest.mark.parametrize("shape", [(9, 7, 3), (4, 11, 1), (3, 6, 2)])
@pytest.mark.parametrize("norm", norms.NAMES)
def test_searches_on_the_sphere(norm, shape):
    ball, keys = _ball(norm, shape)
    best = square.sample_start(ball, keys)
    side = square.compute_window_sides(tf.fill((40,), 0.3), shape, norm)
    for _ in range(3):
        lengths = black_box.compute_norms(best, ball.images.numpy(), norm)
        np.testing.assert_allclose(lengths, 0.5, rtol=1e-5)
        best = square.propose_images(ball, best, side, keys)


def test_stripes_are_vertical():
    ball, keys = _ball("linf")
    delta = square.sample_start(ball, keys) - ball.images
    assert np.ptp(delta, axis=1).max() < 1e-6
    assert (np.ptp(delta, axis=2) > 0.5).all()


def test_every_row_has_its_own_window():
    ball, keys = _ball("linf", count=200)
    best = square.sample_start(ball, keys)
    side = tf.constant(np.arange(200) % 7 + 1, tf.int32)
    proposal = square.propose_images(ball, best, side, keys)
    changed = np.any(proposal != best, axis=3)
    corners = set()
    for row, s in zip(changed, side.numpy(), strict=True):
        down, across = np.nonzero(row)
        # A query is never wasted on the image that is there already.
        assert down.size and np.ptp(down) < s and np.ptp(across) < s
        corners |= {(s, down.min(), across.min())} if s == 1 else set()
    # 29 windows of one pixel, anywhere among 63 places.
    assert len(corners) > 15
    assert max(corner[1] for corner in corners) == 8


def test_signs_are_drawn_again_until_they_change_the_image():
    ball, keys = _ball("linf", (1, 1, 3), count=4000)
    best = square.sample_start(ball, keys)
    side = tf.ones(4000, tf.int32)
    # Keys other than the start's, as those of a query are.
    proposal = square.propose_images(ball, best, side, prng.make_keys(1, keys))
    turned = np.reshape(proposal != best, (4000, 3)) @ [1, 2, 4]
    ways = np.bincount(turned, minlength=8) / 4000
    # All ways to turn one, two or three of the signs are as likely.
    assert ways[0] == 0
    np.testing.assert_allclose(ways[1:], 1 / 7, atol=0.02)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_window_gains_what_the_other_loses(norm):
    ball, keys = _ball(norm, (12, 12, 2))
    best = square.sample_start(ball, keys)
    side = tf.fill((40,), 3)
    proposal = square.propose_images(ball, best, side, prng.make_keys(1, keys))
    before, after = best - ball.images, proposal - ball.images
    emptied = np.sum((np.abs(after) < 1e-7) & (np.abs(before) > 1e-4), (1, 2, 3))
    assert np.median(emptied) > 0
    if norm == "l2":
        # All but two windows of 3 x 3 are as they were.
        same = np.sum(np.any(np.abs(after - before) > 1e-5, 3), (1, 2))
        assert same.max() <= 18 and same.min() >= 9


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_bumps_scale_with_the_box(norm):
    shape = (8, 6, 1)
    ball, keys = _ball(norm, shape, bounds=(0, 1))
    wide = ball._replace(images=ball.images * 256, budget=ball.budget * 256, bounds=(0, 256))
    side = tf.fill((40,), 3)
    best = [square.sample_start(one, keys) for one in (ball, wide)]
    for _ in range(2):
        np.testing.assert_allclose(best[1] / 256, best[0], atol=1e-5)
        best = [
            square.propose_images(one, at, side, keys)
            for one, at in zip((ball, wide), best, strict=True)
        ]
