"""Response frequency: filters and lines with known results."""

import keras
import numpy as np
import pytest

from qup import datasets
from qup.core import errors, measurements
from qup.core.measurements import ModelInfo
from qup.datasets import examples as example_files
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples, Model, ModelEvaluation
from qup.reproduction.components.response import ResponseAnalyzer
from qup.reproduction.report.figures import frequency as figures_frequency
from qup.reproduction.report.figures import style
from qup.robustness import response


def _grid(count=400):
    """Returns points of one dimension, evenly spaced."""
    return (np.arange(count) + 0.5)[:, None] / count


def test_a_filter_damps_a_wave_as_a_gaussian_does():
    points, width = _grid(), 0.02
    inside = slice(100, 300)
    for frequency in (2, 8, 20):
        wave = np.cos(2 * np.pi * frequency * points)
        low = response.smooth_values(points, wave, width)
        damped = np.exp(-0.5 * (2 * np.pi * frequency * width) ** 2)
        np.testing.assert_allclose(low[inside], damped * wave[inside], atol=1e-3)


def test_smoothing_keeps_constants_and_goes_by_blocks():
    points = np.random.default_rng(0).normal(size=(1203, 3))
    values = np.random.default_rng(1).normal(size=(1203, 2))
    values[:, 1] = 7.0
    low = response.smooth_values(points, values, 0.5)
    np.testing.assert_allclose(low[:, 1], 7.0)
    own = np.exp(-0.5 * ((points - points[700]) ** 2).sum(1) / 0.25)
    assert low[700, 0] == pytest.approx(own @ values[:, 0] / own.sum())


def test_outputs_without_high_frequencies_have_errors_there():
    points = _grid()
    slow, fast = (np.cos(2 * np.pi * k * points) for k in (1, 40))
    low, high = response.compute_filtered_errors(points, slow + fast, slow, 0.03)
    assert low.value < 0.02 and high.value > 0.9
    low, high = response.compute_filtered_errors(points, slow + fast, fast, 0.03)
    assert low.value > 0.9 and high.value < 0.3
    low, high = response.compute_filtered_errors(points, slow + fast, slow + fast, 0.03)
    assert low.value == high.value == 0
    low, high = response.compute_filtered_errors(points, slow + fast, 0 * slow, 0.03)
    assert low.value == pytest.approx(1) and high.value == pytest.approx(1)


def test_a_line_separates_frequencies():
    places = _grid(1000)[:, 0]
    targets, answers = (
        np.stack([np.cos(2 * np.pi * 3 * places), size * np.cos(2 * np.pi * 11 * places)], 1)
        for size in (1.0, 0.25)
    )
    result = response.compute_line_response(places, targets, answers, np.array([3, 11]))
    np.testing.assert_allclose(result.error, [0.0, 0.75], atol=1e-9)
    np.testing.assert_allclose(result.target, 0.5, atol=1e-9)


def test_the_jackknife_gives_the_error_that_repeats_show():
    generator = np.random.default_rng(0)
    result = []
    for _ in range(200):
        places = generator.uniform(size=500)
        targets = np.cos(2 * np.pi * places)[:, None]
        answers = targets + generator.normal(0, 0.3, (500, 1)) + 0.4 * targets
        result.append(response.compute_line_response(places, targets, answers, np.array([1])))
    spread = np.std([each.error[0] for each in result])
    stderr = np.mean([each.stderr[0] for each in result])
    assert stderr == pytest.approx(spread, rel=0.2)


def test_shuffled_labels_are_noise():
    generator = np.random.default_rng(0)
    labels = np.eye(4)[generator.integers(0, 4, 1000)]
    places = generator.beta(2.0, 3.0, size=1000)
    result = []
    for _ in range(200):
        labels = generator.permutation(labels)
        result.append(response.compute_line_response(places, labels, labels, np.arange(1, 12)))
    squares = np.mean([each.target**2 for each in result], 0)
    np.testing.assert_allclose(squares, result[0].noise ** 2, rtol=0.15)


def test_positions_are_on_the_longest_axis():
    generator = np.random.default_rng(0)
    points = generator.normal(size=(300, 6)) * [1, 1, 5, 1, 1, 1]
    places = response.project_to_axis(points)
    assert (places.min(), places.max()) == (0, 1)
    assert abs(np.corrcoef(places, points[:, 2])[0, 1]) > 0.99
    # More dimensions than points.
    wide = generator.normal(size=(5, 40))
    assert response.project_to_axis(wide).shape == (5,)


def test_distances_and_widths_out_of_range_are_reported():
    square = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert response.compute_typical_distance(square) == 5.0
    with pytest.raises(errors.InputError, match="at least 2"):
        response.compute_typical_distance(square[:1])
    with pytest.raises(errors.InputError, match="width"):
        response.smooth_values(square, square, 0.0)


@pytest.fixture
def make(tmp_path):
    def made(kind, name):
        (tmp_path / name).mkdir()
        return kind(uri=str(tmp_path / name))

    return made


@pytest.fixture
def snapshots(make):
    """Returns examples, and a linear network of ever larger weights."""
    examples = make(Examples, "examples")
    example_files.write(datasets.load("synthetic"), examples.path)
    result = []
    for epochs in (4, 1):
        image = keras.Input((8, 8, 1))
        logits = keras.layers.Dense(
            4, kernel_initializer=keras.initializers.RandomNormal(stddev=0.1 * epochs, seed=0)
        )(keras.layers.Flatten()(image))
        model = make(Model, f"model-{epochs}")
        subject = ModelInfo("synthetic", "linear", "CL", epochs, 0)
        artifacts.save_unexported_classifier(keras.Model(image, logits), subject, model)
        result.append(model)
    return examples, result


def test_snapshots_are_followed_in_the_order_of_their_epochs(make, snapshots):
    examples, models = snapshots
    evaluation = make(ModelEvaluation, "evaluation")
    ResponseAnalyzer.fn(
        examples, models, evaluation, widths=[0.3], frequencies=5, num_images=100, batch_size=64
    )
    rows = measurements.read_rows(evaluation.path / "measurements.csv")
    assert {row.measure for row in rows} == {"response_error"}
    assert len(rows) == 2 * (2 + 5)
    assert {row.n for row in rows} == {100}
    arrays = style.decode_metadata(dict(np.load(evaluation.path / "response.npz")))
    assert arrays["epochs"].tolist() == [1, 4]
    low = [row.value for row in rows if row.parameters.get("band") == "low"]
    np.testing.assert_allclose(arrays["low"][:, 0], low)
    assert (arrays["low_stderr"] > 0).all()
    figure = figures_frequency.plot_convergence(arrays)
    words = " ".join(text.get_text() for text in figure.texts)
    assert "RESPONSE frequency" in words
    assert "not the image frequency" in words.replace("\n", " ")
    left, right = figure.axes
    assert np.allclose(left.containers[0].lines[0].get_ydata(), low)
    assert "principal axis" in right.get_xlabel()


def test_shares_alone_are_worth_nothing_once_they_are_taken_out(make, snapshots):
    """An untrained network answers alike everywhere."""
    examples, _ = snapshots
    image = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(image)
    network = keras.Model(image, keras.layers.Dense(4, kernel_initializer="zeros")(flat))
    model = make(Model, "constant")
    subject = ModelInfo("synthetic", "constant", "CL", 0, 0)
    artifacts.save_unexported_classifier(network, subject, model)
    result = {}
    for centred in (True, False):
        evaluation = make(ModelEvaluation, f"centred-{centred}")
        ResponseAnalyzer.fn(
            examples,
            [model],
            evaluation,
            widths=[0.5],
            frequencies=3,
            num_images=256,
            centred=centred,
        )
        arrays = style.decode_metadata(dict(np.load(evaluation.path / "response.npz")))
        result[centred] = float(arrays["low"][0, 0])
    assert result[True] == pytest.approx(1.0)
    assert result[False] < 0.9


def test_snapshots_of_one_epoch_are_refused(make, snapshots):
    examples, models = snapshots
    evaluation = make(ModelEvaluation, "evaluation")
    with pytest.raises(errors.InputError, match="at different epochs"):
        ResponseAnalyzer.fn(examples, [models[0], models[0]], evaluation)
