"""Image frequency: closed forms of transforms, windows and ratios."""

import numpy as np
import pytest

from qup.core import errors
from qup.robustness import spectrum


def _noise(*shape):
    return np.random.default_rng(0).normal(size=shape)


def _wave(size, row, column):
    y, x = np.mgrid[:size, :size]
    return np.cos(2 * np.pi * (row * y + column * x) / size)


@pytest.mark.parametrize("shape", [(28, 28), (32, 32), (7, 10)])
def test_power_adds_up_to_the_squares_of_the_pixels(shape):
    fields = _noise(5, *shape)
    powers = spectrum.compute_power(fields)
    squares = (fields**2).sum((1, 2))
    np.testing.assert_allclose(powers.sum((1, 2)), squares, rtol=1e-12)
    counts = np.bincount(spectrum.compute_radial_bins(shape).ravel())
    rings = spectrum.compute_radial_mean(powers) @ counts
    np.testing.assert_allclose(rings, squares, rtol=1e-12)


def test_zero_frequency_is_in_the_middle():
    for size, middle in ((32, 16), (28, 14), (7, 3)):
        powers = spectrum.compute_power(np.ones((1, size, size)))[0]
        assert np.unravel_index(powers.argmax(), powers.shape) == (middle, middle)
        assert powers.max() == pytest.approx(size**2)


def test_a_wave_has_its_frequency_and_no_other():
    powers = spectrum.compute_power(_wave(28, 3, -5)[None])
    rows, columns = spectrum.compute_frequencies((28, 28))
    result = np.argwhere(powers[0] > 1e-9)
    where = {(int(rows[i, 0]), int(columns[0, j])) for i, j in result}
    assert where == {(3, -5), (-3, 5)}
    assert spectrum.compute_radial_mean(powers)[0].argmax() == round(np.hypot(3, 5))


def test_windows_are_the_papers():
    assert spectrum.format_window(spectrum.compute_window((32, 32))) == "15:19,15:19"
    assert spectrum.format_window(spectrum.compute_window((28, 28))) == "12:18,12:18"
    wide = spectrum.compute_window((28, 28), "symmetric")
    assert spectrum.format_window(wide) == "11:18,11:18"
    white = spectrum.compute_white_share((28, 28), spectrum.compute_window((28, 28)))
    assert white == pytest.approx(1 - 36 / 784)
    white = spectrum.compute_white_share((32, 32), spectrum.compute_window((32, 32)))
    assert white == pytest.approx(1 - 16 / 1024)


@pytest.mark.parametrize("size", [28, 32])
def test_literal_windows_are_asymmetric_and_symmetric_ones_are_not(size):
    reach = {28: 3, 32: 2}[size]
    for kind, lowest in (("literal", 1 - reach), ("symmetric", -reach)):
        rows, columns = spectrum.compute_window((size, size), kind)
        assert rows == columns
        inside = np.arange(size)[rows] - size // 2
        assert (inside[0], inside[-1]) == (lowest, reach)


def test_the_ratio_of_waves_is_known():
    window = spectrum.compute_window((28, 28), "symmetric")
    low, high = _wave(28, 1, 2), _wave(28, 0, 9)
    fields = np.stack([low, high, low + 3 * high, 0 * low])
    sizes = np.sqrt(spectrum.compute_power(fields))
    result = spectrum.compute_high_share(sizes, window)
    np.testing.assert_allclose(result[:3], [0, 1, 3 / 4], atol=1e-9)
    assert np.isnan(result[3])
    # Of powers it is another number.
    powers = spectrum.compute_power(fields[2:3])
    assert spectrum.compute_high_share(powers, window)[0] == pytest.approx(9 / 10)


def test_the_ratio_of_noise_is_that_of_white_noise():
    window = spectrum.compute_window((28, 28))
    sizes = np.sqrt(spectrum.compute_power(_noise(400, 28, 28)))
    result = spectrum.compute_high_share(sizes, window)
    white = spectrum.compute_white_share((28, 28), window)
    error = result.std() / np.sqrt(400)
    # Of four real frequencies one is low: their mean is sqrt(2 / pi).
    real = np.sqrt(2 / np.pi) / (np.sqrt(np.pi) / 2) - 1
    exact = 1 - (36 + real) / (784 + 4 * real)
    assert abs(result.mean() - exact) < 4 * error
    assert exact == pytest.approx(white, abs=2e-4)


def test_every_cutoff_agrees_with_its_window():
    sizes = np.sqrt(spectrum.compute_power(_noise(3, 28, 28)))
    result = spectrum.compute_cutoff_shares(sizes)
    assert result.shape == (3, 14)
    window = spectrum.compute_window((28, 28), "symmetric")
    own = spectrum.compute_high_share(sizes, window)
    np.testing.assert_allclose(result[:, 3], own, rtol=1e-12)
    assert (np.diff(result) < 0).all()
    np.testing.assert_allclose(
        spectrum.compute_cutoff_shares(np.ones((1, 28, 28)))[0, [0, 3]], [1 - 1 / 784, 1 - 49 / 784]
    )


def test_grey_is_luma_or_mean():
    fields = np.zeros((1, 4, 4, 3))
    fields[..., 1] = 1.0
    assert spectrum.convert_to_grey(fields)[0, 0, 0] == pytest.approx(0.587)
    assert spectrum.convert_to_grey(fields, "mean")[0, 0, 0] == pytest.approx(1 / 3)
    one = _noise(2, 4, 4, 1)
    np.testing.assert_array_equal(spectrum.convert_to_grey(one), one[..., 0])


@pytest.mark.parametrize(
    "call,told",
    [
        (lambda: spectrum.convert_to_grey(np.zeros((1, 4, 4, 1)), "red"), "way to grey"),
        (lambda: spectrum.convert_to_grey(np.zeros((1, 4, 4, 2))), "1 or 3 channels"),
        (lambda: spectrum.convert_to_grey(np.full((1, 4, 4, 1), np.nan)), "finite"),
        (lambda: spectrum.compute_window((28, 28), "round"), "Unknown window"),
        (lambda: spectrum.compute_window((2, 2)), "3 x 3"),
    ],
)
def test_bad_fields_are_reported(call, told):
    with pytest.raises(errors.InputError, match=told):
        call()


def test_averages_do_not_depend_on_batches_and_count_what_is_zero():
    fields = _noise(12, 8, 8, 3)
    fields[4] = 0.0
    windows = {"literal": spectrum.compute_window((8, 8))}
    complete, parts = (spectrum.SpectrumAccumulator(windows) for _ in range(2))
    powers = complete.add(fields)
    for part in np.split(fields, 4):
        parts.add(part)
    for name, value in complete.to_arrays().items():
        np.testing.assert_allclose(parts.to_arrays()[name], value, rtol=1e-9)
    assert complete.num_zero_fields == parts.num_zero_fields == 1
    own = spectrum.compute_high_share(np.sqrt(powers), windows["literal"])
    own = np.delete(own, 4)
    result = complete.get_high_frequency_ratio("literal")
    assert result.n == 11
    assert result.mean == pytest.approx(own.mean())
    assert result.stderr == pytest.approx(own.std(ddof=1) / np.sqrt(11))
    # An image's own mean power is 1 over all frequencies.
    counts = np.bincount(spectrum.compute_radial_bins((8, 8)).ravel())
    assert complete.to_arrays()["relative"] @ counts == pytest.approx(64)


def test_fields_that_are_all_zero_have_no_ratio():
    averages = spectrum.SpectrumAccumulator({"literal": spectrum.compute_window((8, 8))})
    averages.add(np.zeros((3, 8, 8, 1)))
    result = averages.get_high_frequency_ratio("literal")
    assert result.n == 0 and np.isnan(result.mean)
    assert np.isnan(averages.to_arrays()["relative"]).all()
    assert (averages.to_arrays()["power"] == 0).all()


def test_a_ratio_of_sums_has_the_error_that_repeats_show():
    generator = np.random.default_rng(0)
    sides = generator.gamma(2.0, 1.0, (2, 2000, 50))
    result = [spectrum.compute_ratio(*pair) for pair in sides.transpose(1, 0, 2)]
    values = np.array([each.value for each in result])
    stderr = np.array([each.stderr for each in result])
    assert stderr.mean() == pytest.approx(values.std(), rel=0.1)
    assert spectrum.compute_ratio([4.0, 4.0], [1.0, 1.0]).value == 2.0
    assert spectrum.compute_ratio([1.0], [4.0]) == (0.5, None, 1)
    assert np.isnan(spectrum.compute_ratio([0.0], [0.0]).value)
