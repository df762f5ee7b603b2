"""Spectra of a classifier's fields, as a component and as pictures."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import datasets
from qup.augmentation import generation
from qup.core import errors, measurements
from qup.core.measurements import Measurement, ModelInfo
from qup.datasets import examples as example_files
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Deltas, Examples, Model, ModelEvaluation
from qup.reproduction.components.frequency import SpectrumAnalyzer
from qup.reproduction.measures import spectral_fields
from qup.reproduction.report.figures import frequency, style
from qup.robustness import spectrum

_WALK = {"num_steps": 3, "step_size": 0.1}


def _linear(classes=4, shape=(8, 8, 1), seed=0):
    image = keras.Input(shape)
    logits = keras.layers.Dense(
        classes, kernel_initializer=keras.initializers.RandomNormal(seed=seed)
    )(keras.layers.Flatten()(image))
    return keras.Model(image, logits)


def _answers(value, shape=(8, 8, 1)):
    """Returns a translator that answers `value` everywhere."""
    image = keras.Input(shape)
    return keras.Model(image, 0.0 * image + value)


@pytest.fixture(scope="module")
def data():
    return datasets.load("synthetic")


@pytest.fixture(scope="module")
def classifier():
    return _linear()


@pytest.fixture(scope="module")
def batch(data):
    # 64 images in batches of 48: the second is padded.
    return list(data.evaluation_batches("test", 48))[1]


def test_fields_are_those_of_the_paper(classifier, batch):
    plan = spectral_fields.SpectralFieldSpec(
        iterate_options={**_WALK, "bounds": None, "loss": "log_odds"},
        steps=[1, 2],
        translator=_answers(0.25),
    )
    found = spectral_fields.compute_fields(classifier, batch, plan)
    assert set(found) == set(plan.describe_fields())
    assert {len(field) for field in found.values()} == {16}
    np.testing.assert_array_equal(found["data"], batch["image"][:16])
    np.testing.assert_array_equal(found["delta_1"], -np.sign(found["gradient"]))
    np.testing.assert_allclose(found["walk_1"], 0.1 * found["delta_1"], atol=1e-6)
    np.testing.assert_allclose(found["error"], found["translated"] - found["walk_3"], atol=1e-6)
    np.testing.assert_allclose(found["translated"], 0.25, atol=1e-6)
    assert set(np.unique(found["random_signs"])) == {-1.0, 1.0}


def test_a_walk_in_the_box_stays_there(classifier, batch):
    plan = spectral_fields.SpectralFieldSpec(
        iterate_options={**_WALK, "bounds": (0.0, 1.0), "loss": "log_odds"}, steps=[3]
    )
    found = spectral_fields.compute_fields(classifier, batch, plan)
    moved = found["data"] + found["walk_3"]
    assert moved.min() >= -1e-6 and moved.max() <= 1 + 1e-6
    assert plan.describe_fields()["walk_3"]["pixel_clip"]


def test_steps_that_no_walk_has_are_told():
    with pytest.raises(errors.InputError, match="from 1 to 0"):
        spectral_fields.SpectralFieldSpec(steps=[1])
    with pytest.raises(errors.InputError, match="got n = 4"):
        spectral_fields.SpectralFieldSpec(iterate_options=_WALK, steps=[4])
    with pytest.raises(errors.InputError, match="Pass deltas"):
        spectral_fields.SpectralFieldSpec(translator=_answers(0.0))


@pytest.fixture(scope="module")
def analysed(tmp_path_factory, data, classifier):
    """Returns (rows, arrays) of a linear network and a lazy translator."""
    root = tmp_path_factory.mktemp("spectrum")

    def made(kind, name):
        (root / name).mkdir()
        return kind(uri=str(root / name))

    examples, model = made(Examples, "examples"), made(Model, "model")
    example_files.write(data, examples.path)
    subject = ModelInfo("synthetic", "linear", "CL", 2, 0)
    artifacts.save_unexported_classifier(classifier, subject, model)
    deltas, translator = made(Deltas, "deltas"), made(Model, "translator")
    walked = generation.compute_deltas(classifier, data, root / "shards", num_images=8, **_WALK)
    walked.link(deltas.path)
    artifacts.save_network(_answers(0.0), translator)
    evaluation = made(ModelEvaluation, "evaluation")
    SpectrumAnalyzer.fn(
        examples,
        model,
        evaluation,
        deltas,
        translator,
        steps=[1],
        num_images=40,
        batch_size=16,
        row_parameters={"width": 8},
    )
    rows = measurements.read_rows(evaluation.path / "measurements.csv")
    return rows, style.decode_metadata(dict(np.load(evaluation.path / "spectrum.npz"))), subject


def _row(rows, measure, **told):
    (found,) = (
        row
        for row in rows
        if row.measure == measure and told.items() <= dict(row.parameters).items()
    )
    return found


def test_rows_tell_every_field_and_window(analysed, data, classifier):
    rows, _, _ = analysed
    assert {row.artifact for row in rows} == {"spectrum.npz"}
    assert {row.parameters["width"] for row in rows} == {8}
    found = _row(rows, "high_frequency_ratio", field="delta", window="literal")
    images, labels, _ = data.get_arrays("test")
    with tf.GradientTape() as tape:
        x = tf.constant(images[:40] / 255.0, tf.float32)
        tape.watch(x)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels[:40], classifier(x))
    signs = -np.sign(tape.gradient(loss, x).numpy())
    sizes = np.abs(np.fft.fftshift(np.fft.fft2(signs[..., 0]), axes=(1, 2)))
    low = sizes[:, 4:6, 4:6].sum((1, 2))
    assert found.parameters["slice"] == "4:6,4:6"
    assert found.value == pytest.approx((1 - low / sizes.sum((1, 2))).mean())
    assert found.n == 40 and found.stderr > 0
    white = _row(rows, "high_frequency_ratio", field="white_noise", window="literal")
    assert white.value == 1 - 4 / 64 and white.stderr is None
    fields = {row.parameters["field"] for row in rows}
    assert fields == {
        "data",
        "random_signs",
        "gradient",
        "delta",
        "walk",
        "translated",
        "error",
        "white_noise",
    }
    zeros = _row(rows, "zero_field_percent", field="translated")
    assert (zeros.value, zeros.n) == (100.0, 40)


def test_a_translator_that_answers_zero_misses_everything(analysed):
    rows, arrays, _ = analysed
    for band in ("low", "high"):
        for window in ("literal", "symmetric"):
            found = _row(rows, "relative_spectral_error", band=band, window=window)
            assert found.value == pytest.approx(1.0)
    np.testing.assert_allclose(arrays["error_power"], arrays["walk_3_power"])


def _accuracy(subject, value, stderr):
    found = Measurement(value, stderr, 64)
    return subject.with_parameters(split="test").build_row("test_accuracy", found)


def _words(figure):
    texts = [t.get_text() for t in figure.texts]
    for axis in figure.axes:
        texts += [axis.get_title(), axis.get_xlabel(), axis.get_ylabel()]
        if axis.get_legend():
            texts += [t.get_text() for t in axis.get_legend().get_texts()]
    return " ".join(texts).replace("\n", " ")


def test_spectra_are_drawn_with_their_subject(analysed):
    _, arrays, _ = analysed
    drawn = [
        frequency.plot_radial_spectra(arrays, ["data", "gradient"]),
        frequency.plot_spectrum_planes(arrays, ["data", "delta_1", "walk_3"]),
        frequency.plot_translation_error(arrays),
        frequency.plot_cutoffs({"early": arrays, "late": arrays}),
    ]
    for figure in drawn:
        assert "linear on synthetic" in _words(figure)
        assert "cycles per image" in _words(figure)
    with pytest.raises(errors.InputError, match="Known fields: data"):
        frequency.plot_radial_spectra(arrays, ["nothing"])
    bare = {k: v for k, v in arrays.items() if not k.startswith("error")}
    with pytest.raises(errors.InputError, match="no error of a translator"):
        frequency.plot_translation_error(bare)
    with pytest.raises(errors.InputError, match="received 0"):
        frequency.plot_cutoffs({})


def test_the_ratio_stands_against_accuracy_with_its_errors(analysed):
    rows, _, subject = analysed
    accuracy = _accuracy(subject, 90.0, 1.5)
    figure = frequency.plot_ratios([*rows, accuracy])
    axis = figure.axes[0]
    own = _row(rows, "high_frequency_ratio", field="delta", window="literal")
    line = axis.containers[0].lines[0]
    assert np.allclose(line.get_xydata(), [[90.0, own.value]])
    assert "white noise, 0.9375" in _words(figure)
    assert "standard error over images" in _words(figure)
    with pytest.raises(errors.InputError, match="has a test accuracy"):
        frequency.plot_ratios(rows)


def test_seeds_become_a_mean_and_its_error():
    rows = []
    for seed, (accuracy, share) in enumerate([(90.0, 0.9), (94.0, 0.94)]):
        subject = ModelInfo("mnist", "convnet", "CL", 1, seed)
        rows.append(_accuracy(subject, accuracy, 0.3))
        told = subject.with_parameters(field="delta", window="literal")
        rows.append(told.build_row("high_frequency_ratio", Measurement(share, 0.001, 64)))
    figure = frequency.plot_ratios(rows, {"mnist": "MNIST", "convnet": "ConvNet"})
    assert figure.axes[0].get_title() == "MNIST"
    held = figure.axes[0].containers[0]
    assert held.get_label() == "ConvNet"
    assert np.allclose(held.lines[0].get_xydata(), [[92.0, 0.92]])
    across, along = (bars.get_segments()[0] for bars in held.lines[2])
    assert np.ptp(across[:, 0]) == pytest.approx(2 * 2.0)
    assert np.ptp(along[:, 1]) == pytest.approx(2 * 0.02)


def test_arrays_that_are_none_are_told(tmp_path):
    with pytest.raises(errors.InputError, match="cannot be drawn"):
        style.decode_metadata({})


def test_white_noise_is_flat_in_what_is_drawn():
    signs = np.sign(np.random.default_rng(0).normal(size=(500, 28, 28, 1)))
    averages = spectrum.SpectrumAccumulator({})
    averages.add(signs)
    found = averages.to_arrays()
    away = (found["relative"] - 1) / found["relative_stderr"]
    assert np.abs(away).max() < 4.5
    assert found["log"].mean() == pytest.approx(-np.euler_gamma / np.log(10), abs=0.01)
