"""FMN: closed forms of linear models in four norms, projections, invariances."""

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import fmn
from qup.core.errors import InputError
from tests.attacks import closest_searches as searches

every_norm = pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])


@every_norm
@pytest.mark.parametrize("bounds", [(0.0, 1.0), None])
def test_finds_the_distance_of_a_linear_model(norm, bounds):
    # In L0 one element of four to six is too many for one image.
    limit = {"linf": 1.01, "l2": 1.01, "l1": 1.01, "l0": 1.06}[norm]
    assert searches.measure_excess("fmn", norm, bounds).mean() <= limit


def test_black_images_keep_the_whole_radius():
    # Half of the gradient points out of the box.
    slopes = np.where(np.arange(40) % 2, 1.0, -1.0).astype(np.float32)

    def logits_fn(images):
        rise = tf.linalg.matvec(images, slopes)
        return tf.stack([1.9 - rise, rise], -1)

    images = np.zeros((2, 40), np.float32)
    for norm, exact in (("l2", 0.95 / 20**0.5), ("l1", 0.95), ("linf", 0.0475), ("l0", 1)):
        result = attacks.run("fmn", logits_fn, images, [0, 0], norm=norm, num_steps=100)
        assert result.success.all()
        np.testing.assert_allclose(result.distances[norm], exact, rtol=0.02)


def test_selects_the_largest_elements():
    values = np.float32([[3, 4, 0, 1], [1, 2, 3, 4], [1, 2, 3, 4], [5, 0, 0, 0], [2, 3, 3, 3]])
    is_selected = fmn.select_largest(values.reshape(5, 2, 2), np.int32([2, 1, 0, 9, 2])).numpy()
    expected = [[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]]
    assert is_selected.reshape(5, 4).tolist() == np.array(expected, bool).tolist()


@pytest.mark.parametrize(
    "norm,expected", [("linf", 0.9), ("l2", (0.81 + 0.25) ** 0.5), ("l1", 1.4), ("l0", 2)]
)
def test_the_farthest_corner_of_the_box(norm, expected):
    distance = fmn.compute_largest_distance(np.float32([[0.1, 0.5]]), norm, (0.0, 1.0))
    np.testing.assert_allclose(distance, [expected], rtol=1e-6)


@every_norm
def test_rows_are_independent(norm):
    searches.check_rows_are_independent("fmn", norm)


@every_norm
def test_stays_in_the_box_and_scales_with_it(norm):
    searches.check_box("fmn", norm)


@every_norm
def test_reaches_targets(norm):
    searches.check_targets("fmn", norm)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"norm": "l3"}, "norm"),
        ({"step_size": 0}, "step_size"),
        ({"gamma": 2}, "gamma"),
        ({"loss": "hinge"}, "loss"),
        ({"num_steps": 1.5}, "num_steps"),
    ],
)
def test_bad_options_are_told_in_words(options, message):
    with pytest.raises(InputError, match=message):
        attacks.build_method("fmn", **options)
