"""Fourier heat maps: the basis, the counts, and the figure."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import datasets
from qup.core import errors, measurements
from qup.core.measurements import ModelInfo
from qup.datasets import examples as example_files
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples, Model, ModelEvaluation
from qup.reproduction.components.frequency import FourierSensitivity
from qup.reproduction.report.figures import frequency, style
from qup.robustness import fourier, spectrum


@pytest.mark.parametrize("shape", [(8, 8), (7, 6)])
def test_basis_vectors_are_real_of_norm_one_and_orthogonal(shape):
    places = fourier.list_half_frequencies(shape)
    vectors = np.stack([fourier.compute_basis_vector(shape, *place) for place in places])
    flat = vectors.reshape(len(places), -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(len(places)), atol=1e-5)
    powers = spectrum.compute_power(vectors)
    middle = np.array(shape) // 2
    for power, place in zip(powers, places, strict=True):
        assert power[tuple(middle + place)] >= 0.5 - 1e-5
        opposite = (-place + middle) % shape
        own = {tuple(middle + place), tuple(opposite)}
        assert sum(power[at] for at in own) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("shape", [(8, 8), (7, 6), (5, 5)])
def test_one_of_every_two_opposite_frequencies_is_taken(shape):
    places = fourier.list_half_frequencies(shape)
    seen = np.zeros(shape, int)
    for place in places:
        both = {tuple((s * place) % shape) for s in (1, -1)}
        for at in both:
            seen[at] += 1
    assert (seen == 1).all()
    assert len(fourier.list_half_frequencies(shape, reach=1)) == 5


def _one_frequency(row, column, limit=1.0, shape=(8, 8)):
    """Class 1 where the image's cosine of one frequency exceeds a limit."""
    wave = tf.constant(fourier.compute_basis_vector(shape, row, column))

    def classifier(images):
        part = tf.reduce_sum(images[..., 0] * wave, (1, 2))
        return tf.stack([0 * part, tf.abs(part) - limit], 1)

    return classifier


def _batches(count=10, size=4):
    images = np.zeros((count, 8, 8, 1), np.float32)
    padding = -count % size
    for start in range(0, count + padding, size):
        ids = np.minimum(np.arange(start, start + size), count - 1)
        yield {
            "image": tf.constant(images[ids]),
            "label": tf.zeros(size, tf.int32),
            "weight": tf.constant(np.arange(start, start + size) < count, tf.float32),
            "id": tf.constant(ids),
        }


def test_errors_are_at_the_relevant_frequency():
    result = fourier.compute_sensitivity(_one_frequency(2, -1), _batches(), norm=1.5, bounds=None)
    expected = np.zeros((8, 8))
    expected[4 + 2, 4 - 1] = expected[4 - 2, 4 + 1] = 100.0
    np.testing.assert_array_equal(result.error, expected)
    assert result.clean == 0 and result.per_image.shape == (10, 34)
    small = fourier.compute_sensitivity(_one_frequency(2, -1), _batches(), norm=0.9, bounds=None)
    assert small.error.max() == 0


def test_frequencies_above_the_reach_are_nan():
    result = fourier.compute_sensitivity(_one_frequency(2, -1), _batches(), norm=1.5, reach=2)
    assert np.isnan(result.error).sum() == 64 - 25


def test_signs_do_not_depend_on_batches():
    def classifier(images):
        part = tf.reduce_sum(images[..., 0] * tf.range(8.0), (1, 2))
        return tf.stack([0 * part, part], 1)

    result = [
        fourier.compute_sensitivity(
            classifier, _batches(size=size), norm=1.0, bounds=None, seed=3
        ).per_image
        for size in (5, 4)
    ]
    np.testing.assert_array_equal(*result)
    assert 0 < result[0].mean() < 1


@pytest.mark.parametrize("options", [{"norm": 0.0}, {"norm": 1.0, "reach": -1}])
def test_numbers_out_of_range_are_reported(options):
    with pytest.raises(errors.InputError, match="must be a finite number"):
        fourier.compute_sensitivity(_one_frequency(1, 1), _batches(), **options)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Returns (rows, arrays) of a network that sums up what it sees."""
    tmp_path = tmp_path_factory.mktemp("sensitivity")

    def made(kind, name):
        (tmp_path / name).mkdir()
        return kind(uri=str(tmp_path / name))

    examples, model = made(Examples, "examples"), made(Model, "model")
    example_files.write(datasets.load("synthetic"), examples.path)
    image = keras.Input((8, 8, 1))
    logits = keras.layers.Dense(4, kernel_initializer=keras.initializers.RandomNormal(seed=0))(
        keras.layers.Flatten()(image)
    )
    subject = ModelInfo("synthetic", "linear", "CL", 2, 0)
    artifacts.save_unexported_classifier(keras.Model(image, logits), subject, model)
    evaluation = made(ModelEvaluation, "evaluation")
    FourierSensitivity.fn(
        examples, model, evaluation, norm=2.0, reach=3, num_images=20, batch_size=16
    )
    rows = measurements.read_rows(evaluation.path / "measurements.csv")
    return rows, style.decode_metadata(dict(np.load(evaluation.path / "sensitivity.npz")))


def test_rows_are_the_means_of_the_map(measured):
    rows, arrays = measured
    values = {row.parameters["band"]: row.value for row in rows}
    assert set(values) == {"clean", "low", "high"}
    assert {row.n for row in rows} == {20}
    assert {row.artifact for row in rows} == {"sensitivity.npz"}
    assert values["clean"] == float(arrays["clean"])
    # Zero frequency counts once, every other one of the low twice.
    low = arrays["error"][3:6, 3:6]
    mean = (low.sum() + low[1, 1]) / 10
    assert values["low"] == pytest.approx(mean)


def test_heat_maps_are_drawn_and_of_one_norm(measured):
    _, arrays = measured
    figure = frequency.plot_heat_maps({"first": arrays, "second": arrays})
    panel = figure.axes[0]
    assert "first [" in panel.get_title()
    assert panel.images[0].get_array().mask.sum() == 64 - 49
    other = {**arrays, "metadata": {**arrays["metadata"], "parameters": {"norm": 1}}}
    with pytest.raises(errors.InputError, match="one norm"):
        frequency.plot_heat_maps({"first": arrays, "second": other})
