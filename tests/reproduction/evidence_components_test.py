"""Gradient steps and predictors: closed forms, and the rows of components."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks, datasets
from qup.core import measurements
from qup.core.errors import InputError
from qup.core.measurements import ModelInfo
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples, Model, ModelEvaluation
from qup.pipelines.components.examples import ExampleGen
from qup.reproduction.components.analysis import PredictorAnalyzer, StepAnalyzer
from qup.reproduction.measures import gradient_steps
from qup.robustness import compute_clever, margins

_SHAPE = (3, 3, 1)


def _linear(scale=1.0):
    weights = scale * np.random.default_rng(0).normal(size=(9, 4))
    matrix = tf.constant(weights, tf.float32)
    return lambda images: tf.reshape(images, (-1, 9)) @ matrix, weights


def _images(count=6):
    random = np.random.default_rng(1)
    images = random.uniform(0.4, 0.6, (count, *_SHAPE)).astype(np.float32)
    return tf.constant(images), tf.constant(random.integers(0, 4, count), "int32")


def _norms(delta):
    flat = np.reshape(delta, (len(delta), -1))
    return np.abs(flat).max(1), np.linalg.norm(flat, axis=1)


def _moves(direction, loss="cross_entropy", **options):
    network, _ = _linear()
    images, labels = _images()
    moved = gradient_steps.gradient_ascent(
        network, images, labels, epsilon=0.05, direction=direction, loss=loss, **options
    )
    return np.array(moved - images)


@pytest.mark.parametrize("loss", gradient_steps.LOSSES)
def test_single_steps_have_the_sign_steps_size(loss):
    sign, same_l2, same_linf = (_moves(direction, loss) for direction in gradient_steps.DIRECTIONS)
    np.testing.assert_allclose(_norms(sign)[0], 0.05, rtol=1e-4)
    np.testing.assert_allclose(_norms(same_linf)[0], 0.05, rtol=1e-4)
    np.testing.assert_allclose(_norms(same_l2)[1], _norms(sign)[1], rtol=1e-4)
    # The raw ones are one direction; the longer leaves the L-inf ball.
    cosine = np.sum(same_l2 * same_linf, (1, 2, 3)) / (_norms(same_l2)[1] * _norms(same_linf)[1])
    np.testing.assert_allclose(cosine, 1, atol=1e-4)
    assert (_norms(same_l2)[0] > 0.06).all()


def test_the_margins_gradient_is_a_difference_of_weights():
    network, weights = _linear()
    images, labels = _images()
    logits, labels = network(images).numpy(), labels.numpy()
    rows = np.arange(len(labels))
    logits[rows, labels] = -np.inf
    slope = (weights[:, logits.argmax(1)] - weights[:, labels]).T
    raw = _moves("raw_linf", "margin").reshape(-1, 9)
    largest = np.abs(slope).max(1, keepdims=True)
    np.testing.assert_allclose(raw, 0.05 * slope / largest, atol=1e-5)
    sign = _moves("sign", "margin", num_steps=4).reshape(-1, 9)
    np.testing.assert_allclose(sign, 0.05 * np.sign(slope), atol=1e-5)


def test_the_squared_loss_is_briers():
    logits = tf.constant([[2.0, -1.0, 0.5]])
    shares = np.exp(logits[0]) / np.exp(logits[0]).sum()
    expected = ((shares - np.array([0, 1, 0])) ** 2).sum()
    found = gradient_steps.squared_error(logits, tf.constant([1]))
    assert float(found[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("direction", gradient_steps.DIRECTIONS)
def test_several_steps_stay_within_the_size_of_one(direction):
    one = _moves(direction, num_steps=1)
    four = _moves(direction, num_steps=4)
    which = 1 if direction == "raw_l2" else 0
    assert (_norms(four)[which] <= _norms(one)[which] * (1 + 1e-4)).all()
    assert (np.abs(four - one) > 1e-4).any() == (direction != "sign")


def test_sign_steps_are_the_paper_s_pgd():
    network, _ = _linear()
    images, labels = _images()
    expected = attacks.get("pgd4")(network, images, labels, epsilon=0.05)
    moves = _moves("sign", num_steps=4)
    np.testing.assert_allclose(moves, expected - images, atol=1e-6)


def test_pixels_are_clipped_where_asked():
    network, _ = _linear()
    images, labels = tf.zeros((2, *_SHAPE)), tf.constant([0, 1])
    options = {"epsilon": 0.1, "direction": "sign", "loss": "margin"}
    moved = gradient_steps.gradient_ascent(network, images, labels, **options)
    assert float(tf.reduce_min(moved)) == 0
    moved = gradient_steps.gradient_ascent(network, images, labels, bounds=None, **options)
    assert float(tf.reduce_min(moved)) == pytest.approx(-0.1)


def test_the_cosine_with_the_sign():
    # Gaussian weights: sqrt(2/pi); equal ones: 1; none: no direction.
    random = np.random.default_rng(0).normal(size=(40_000, 1))
    for weights, expected, atol in (
        (random, np.sqrt(2 / np.pi), 0.01),
        (np.full((50, 1), 0.3), 1, 1e-5),
        (np.array([[3.0], [0], [4]]), 7 / (5 * np.sqrt(2)), 1e-5),
        (np.zeros((50, 1)), np.nan, 0),
    ):
        matrix = tf.constant(np.hstack([weights, -weights]), tf.float32)
        found = gradient_steps.compute_sign_cosine(
            network := (lambda images, m=matrix: images @ m),
            tf.zeros((2, len(weights))),
            tf.constant([0, 1]),
            loss="margin",
        )
        del network
        np.testing.assert_allclose(found, expected, atol=atol)


def test_a_sure_network_has_a_gradient_of_its_margin_alone():
    network, _ = _linear(scale=1e6)
    images, _ = _images()
    labels = tf.argmax(network(images), -1, tf.int32)
    zero = {
        loss: np.isnan(gradient_steps.compute_sign_cosine(network, images, labels, loss=loss)).all()
        for loss in gradient_steps.LOSSES
    }
    assert zero == {"cross_entropy": True, "squared": True, "margin": False}


def test_one_program_serves_every_epsilon_and_direction():
    calls = []
    network, _ = _linear()

    def counted(images):
        calls.append(images.shape)
        return network(images)

    images, labels = _images()
    for epsilon in (0.01, 0.02, 0.05):
        for direction in gradient_steps.DIRECTIONS:
            for num_steps in (1, 4):
                gradient_steps.gradient_ascent(
                    counted,
                    images,
                    labels,
                    epsilon=epsilon,
                    loss="squared",
                    direction=direction,
                    num_steps=num_steps,
                )
    assert len(calls) == 1


@pytest.mark.parametrize(
    "options,words",
    [
        ({"direction": "raw"}, "Unknown direction 'raw'"),
        ({"loss": "brier"}, "Unknown loss 'brier'"),
        ({"num_steps": 0}, "num_steps must be"),
        ({"epsilon": -1}, "epsilon must be"),
    ],
)
def test_steps_that_cannot_be_are_told(options, words):
    network, _ = _linear()
    given = {"epsilon": 0.1, "direction": "sign", "loss": "margin", **options}
    with pytest.raises(InputError, match=words):
        gradient_steps.gradient_ascent(network, *_images(), **given)


def _batches(images, labels, padding=1):
    rows = [*range(len(labels)), *[len(labels) - 1] * padding]
    return [
        {
            "image": tf.gather(images, rows),
            "label": tf.gather(labels, rows),
            "id": tf.constant(rows, tf.int64),
            "weight": tf.constant([1.0] * len(labels) + [0.0] * padding),
        }
    ]


def test_predictors_of_a_linear_network_are_exact():
    network, weights = _linear()
    images, labels = _images()
    found = margins.compute_predictors(network, _batches(images, labels))
    logits, labels = network(images).numpy().astype(float), labels.numpy()
    rows = np.arange(len(labels))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted = np.eye(4)[labels]
    np.testing.assert_allclose(found["loss"], -np.log(shares[rows, labels]), rtol=1e-4)
    slope = (shares - wanted) @ weights.T
    np.testing.assert_allclose(found["gradient_l1"], np.abs(slope).sum(1), rtol=1e-4)
    best = np.where(wanted > 0, -np.inf, logits)
    margin = logits[rows, labels] - best.max(1)
    rise = np.abs(weights[:, labels] - weights[:, best.argmax(1)]).sum(0)
    np.testing.assert_allclose(found["margin"], margin, rtol=1e-4)
    np.testing.assert_allclose(found["margin_gradient_l1"], rise, rtol=1e-4)
    np.testing.assert_allclose(found["margin_ratio"], np.maximum(margin, 0) / rise, rtol=1e-4)
    assert (margin > 0).any() and (margin < 0).any()
    np.testing.assert_array_equal(found["id"], rows)


def test_a_network_that_does_not_look_is_infinitely_far():
    bias = tf.constant([[1.0, 0.0]])

    def blind(images):
        return bias + 0.0 * tf.reduce_sum(images, (1, 2, 3))[:, None]

    images, _ = _images(2)
    found = margins.compute_predictors(blind, _batches(images, tf.constant([0, 1]), padding=0))
    np.testing.assert_array_equal(found["margin_ratio"], [np.inf, 0])


def _nearest_mean(data):
    """A linear classifier: x . mean_c - |mean_c|^2 / 2."""
    images, labels, _ = data.get_arrays("train")
    flat = images.reshape(len(images), -1) / 255
    classes = range(data.info.num_classes)
    means = np.stack([flat[labels == c].mean(0) for c in classes], 1)
    image = keras.Input(data.info.image_shape, name="image")
    dense = keras.layers.Dense(len(classes))
    network = keras.Model(image, dense(keras.layers.Flatten()(image)))
    dense.set_weights([means, -0.5 * (means**2).sum(0)])
    return network


@pytest.fixture
def held(tmp_path):
    """Returns synthetic examples and a network, and an empty evaluation."""

    def made(kind):
        (tmp_path / kind.__name__).mkdir()
        return kind(uri=str(tmp_path / kind.__name__))

    examples, model = made(Examples), made(Model)
    data = datasets.load("synthetic")
    ExampleGen.fn(examples, dataset="synthetic", source=data.compute_source_digest())
    network = _nearest_mean(data)
    subject = ModelInfo("synthetic", "linear", "CL", 0, 1, {"train_size": 256})
    artifacts.save_unexported_classifier(network, subject, model)
    return examples, model, made(ModelEvaluation)


def test_rows_of_steps(held):
    evaluation = held[-1]
    StepAnalyzer.fn(*held, epsilons=[0.0, 0.1], num_steps=[1, 4], num_images=20, batch_size=16)
    rows = measurements.read_rows(evaluation.path / "measurements.csv")
    robust = [row for row in rows if row.measure == "robust_accuracy"]
    assert len(robust) == 2 * 2 * 3 * 3
    assert {row.attack for row in robust} == {"gradient_steps"}
    assert {tuple(sorted(row.parameters)) for row in robust} == {
        (
            "direction",
            "evaluation",
            "loss",
            "num_steps",
            "pixel_clip",
            "size",
            "split",
            "train_size",
        )
    }
    assert {row.n for row in rows} == {20}
    clean = {row.value for row in robust if row.epsilon == 0}
    assert len(clean) == 1
    assert min(row.value for row in robust) < min(clean)
    with np.load(evaluation.path / "steps.npz") as arrays:
        assert set(arrays) == set(gradient_steps.LOSSES)
        for row in rows:
            if row.measure == "gradient_sign_cosine":
                cosines = arrays[row.parameters["loss"]]
                assert row.value == pytest.approx(cosines.mean())
                assert row.stderr == pytest.approx(cosines.std(ddof=1) / np.sqrt(20), rel=1e-4)
                assert row.artifact == "steps.npz"


def test_rows_of_predictors(held):
    evaluation = held[-1]
    sampling = {"num_batches": 4, "num_samples": 2, "radius": 0.2}
    PredictorAnalyzer.fn(
        *held, num_images=20, clever={"num_images": 2, **sampling}, batch_size=16, seed=5
    )
    rows = measurements.read_rows(evaluation.path / "measurements.csv")
    by_measure = {row.measure: row for row in rows}
    assert set(by_measure) == {*margins.PREDICTORS, "clever_linf"}
    with np.load(evaluation.path / "predictors.npz") as arrays:
        for name, row in by_measure.items():
            assert row.value == pytest.approx(arrays[name].mean(), rel=1e-5)
            assert row.n == (2 if name == "clever_linf" else 20)
        scores = arrays["clever_linf"]
    told = by_measure["clever_linf"].parameters
    assert told["clever_num_samples"] == 2 and told["clever_seed"] == 5
    data = datasets.load("synthetic")
    images, labels, ids = (part[:2] for part in data.get_arrays("test"))
    expected = compute_clever(
        artifacts.load_network(held[1].path),
        images / np.float32(255),
        labels,
        norm="linf",
        ids=ids,
        seed=5,
        batch_size=16,
        **sampling,
    )
    np.testing.assert_allclose(scores, expected.untargeted, rtol=1e-4)


def test_clever_is_left_out_where_no_image_is_asked(held):
    PredictorAnalyzer.fn(*held, num_images=4, clever={"num_images": 0})
    rows = measurements.read_rows(held[-1].path / "measurements.csv")
    assert {row.measure for row in rows} == set(margins.PREDICTORS)
