"""Masking: ordinary classifiers pass, hidden gradients are flagged."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks, datasets
from qup.attacks import losses
from qup.core import gradients
from qup.core.errors import InputError
from qup.robustness import masking
from qup.robustness.masking import comparisons
from qup.robustness.masking import planted as masking_planted

_COUNT, _EPSILON = 60, 0.1
# Settings under which the checks take seconds; none is needed.
_QUICK = {
    "black_box": {"num_queries": 150},
    "landscape": {"num_images": 16, "num_points": 11},
    "planted": {"num_images": 20, "num_inner": 24, "num_random": 10},
    "step_curve": {"steps": (1, 10, 40)},
}
layers = keras.layers


def _batch(data, split, size):
    batch = next(iter(data.evaluation_batches(split, size)))
    return batch["image"].numpy(), batch["label"].numpy()


@pytest.fixture(scope="module")
def data():
    return datasets.load("digits")


@pytest.fixture(scope="module")
def examples(data):
    return _batch(data, "test", _COUNT)


@pytest.fixture(scope="module")
def healthy(data):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 5, strides=2, activation="relu"),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10),
        ]
    )
    model.compile(
        keras.optimizers.Adam(5e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    images, labels = _batch(data, "train", 1437)
    model.fit(images, labels, batch_size=128, epochs=8, verbose=0)
    return model


@pytest.fixture(scope="module")
def scaled(healthy):
    """Its cross-entropy underflows in float32."""
    return lambda images: 1e4 * healthy(images)


@pytest.fixture(scope="module")
def rounded(healthy):
    """It has no gradient."""
    return lambda images: healthy(tf.round(images * 6) / 6)


@pytest.fixture(scope="module")
def shattered(healthy):
    """Its gradient is that of a fast ripple, whose values hardly count."""
    return lambda images: healthy(images + 0.02 * tf.sin(300 * images))


@pytest.fixture(scope="module")
def noisy(healthy):
    """It answers at random."""
    return lambda images: healthy(images + 0.1 * tf.random.normal(tf.shape(images)))


def _checked(name, classifier, examples, **options):
    settings = {"epsilon": _EPSILON, **_QUICK.get(name, {}), **options}
    return masking.get(name)(classifier, *examples, **settings)


def _status(name, classifier, examples, **options):
    return _checked(name, classifier, examples, **options).status


@pytest.fixture(scope="module")
def actual(healthy, examples):
    reported = []
    findings = masking.diagnose(
        healthy, *examples, epsilon=_EPSILON, options=_QUICK, on_progress=reported.append
    )
    assert reported == findings
    return {finding.name: finding for finding in findings}


class TestHealthy:
    def test_passes_everything_that_was_checked(self, actual):
        not_passed = {n for n, f in actual.items() if f.status != masking.PASSED}
        assert not_passed == {"transfer"}, [actual[name] for name in not_passed]
        assert actual["transfer"].status == masking.NOT_CHECKED
        assert tuple(actual) == masking.names()

    def test_step_curve_is_that_of_the_attack(self, actual, healthy, examples):
        result = attacks.run(
            "pgd",
            healthy,
            *examples,
            epsilon=_EPSILON,
            num_steps=40,
            step_size=2.5 * _EPSILON / 40,
            random_start=True,
            keep="first_adversarial",
            batch_size=_COUNT,
        )
        incorrect = np.argmax(healthy(examples[0]), -1) != examples[1]
        robust = 100 * np.mean(~result.success & ~incorrect)
        numbers = actual["step_curve"].values
        assert numbers["robust_accuracy_40"] == pytest.approx(robust)
        assert 5 < robust < 90
        np.testing.assert_array_equal(actual["step_curve"].arrays["steps"], (1, 10, 40))

    def test_epsilon_curve_starts_clean_and_ends_in_the_box(self, actual, healthy, examples):
        arrays = actual["epsilon_curve"].arrays
        right = np.argmax(healthy(examples[0]), -1) == examples[1]
        assert arrays["robust_accuracy"][0] == pytest.approx(100 * right.mean())
        assert arrays["robust_accuracy"][-1] == 0
        np.testing.assert_allclose(arrays["epsilon"], (0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0))
        chance = actual["epsilon_curve"].values["chance_epsilon"]
        first = np.argmax(arrays["robust_accuracy"] <= 10)
        assert chance == arrays["epsilon"][first]

    def test_landscape_has_the_image_in_the_middle(self, actual, healthy, examples):
        surface = actual["landscape"].arrays["loss"]
        logits = healthy(examples[0][:1])
        clean = losses.log_odds(logits, tf.constant(examples[1][:1]))
        assert surface.shape == (11, 11)
        assert surface[5, 5] == pytest.approx(float(clean[0]), abs=1e-4)
        # Up the gradient the loss is higher, down it lower.
        assert surface[0, 5] < surface[5, 5] < surface[10, 5]

    def test_noise_is_weaker_than_the_attack(self, actual):
        numbers = actual["noise"].values
        assert (
            numbers["robust_accuracy_attack"] + 20
            < numbers["robust_accuracy_worst_draw"]
            <= numbers["robust_accuracy_noise"]
        )

    def test_more_steps_that_still_help_are_flagged(self, data, healthy):
        finding = _checked(
            "step_curve", healthy, _batch(data, "test", 200), steps=(1, 40), batch_size=_COUNT
        )
        assert finding.status == masking.FLAGGED
        assert "still falls" in finding.message


class TestUnderflow:
    def test_gradients_of_cross_entropy_alone_are_zero(self, scaled, examples):
        finding = _checked("zero_gradients", scaled, examples)
        assert finding.status == masking.FLAGGED
        assert finding.values["zero_images_cross_entropy"] > 80
        assert finding.values["zero_images_log_odds"] == 0
        assert finding.values["zero_images_margin"] == 0

    def test_other_losses_are_stronger(self, scaled, examples):
        finding = _checked("loss_dependence", scaled, examples, num_steps=10)
        assert finding.status == masking.FLAGGED
        gain = (
            finding.values["robust_accuracy_cross_entropy"]
            - finding.values["robust_accuracy_log_odds"]
        )
        assert gain > 20

    def test_a_black_box_is_stronger(self, scaled, examples):
        finding = _checked("black_box", scaled, examples)
        assert finding.status == masking.FLAGGED
        assert finding.values["only_black_box"] >= 2
        options = {
            "loss": "margin",
            "num_steps": 10,
            "random_start": True,
            "step_size": 0.025,
            "keep": "first_adversarial",
        }
        assert (
            _status("black_box", scaled, examples, attack="pgd", attack_options=options)
            == masking.PASSED
        )

    def test_transfer_is_stronger(self, scaled, healthy, examples):
        status = _status("transfer", scaled, examples, source=healthy)
        assert status == masking.FLAGGED
        assert _status("transfer", healthy, examples, source=healthy) == masking.PASSED

    def test_the_attack_is_no_better_than_noise(self, scaled, examples):
        assert _status("noise", scaled, examples) == masking.FLAGGED


class TestNoGradient:
    def test_the_message_says_so(self, rounded, examples):
        finding = _checked("zero_gradients", rounded, examples)
        assert finding.status == masking.FLAGGED
        assert finding.values["zero_images_margin"] == 100
        assert "no gradient" in finding.message
        finding = _checked("landscape", rounded, examples)
        assert finding.status == masking.FLAGGED
        assert finding.values["flat"] == 100

    def test_the_epsilon_curve_levels_off(self, rounded, examples):
        finding = _checked("epsilon_curve", rounded, examples, epsilons=(0.1, 1.0))
        assert finding.status == masking.FLAGGED
        assert finding.values["robust_accuracy_last"] > 50
        # Without a box nothing says that it must reach zero.
        assert (
            _status("epsilon_curve", rounded, examples, epsilons=(0.1, 1.0), bounds=None)
            == masking.PASSED
        )

    def test_a_gradient_that_is_not_finite(self, healthy, examples):
        def infinite(images):
            nothing = tf.sqrt(0.0 * images[:, :1, 0, 0])
            return healthy(images) + nothing * tf.one_hot(0, 10)

        finding = _checked("zero_gradients", infinite, examples)
        assert finding.status == masking.FLAGGED
        assert finding.values["not_finite"] == 100


class TestRandom:
    def test_outputs_differ(self, noisy, examples):
        finding = _checked("randomised", noisy, examples)
        assert finding.status == masking.FLAGGED
        assert finding.values["largest_difference"] > 0.01

    def test_python_randomness_is_detected(self, healthy, examples):
        source = np.random.default_rng(0)
        shaken = lambda images: healthy(images + 0.1 * source.random())  # noqa: E731
        assert _status("randomised", shaken, examples) == masking.FLAGGED

    def test_more_steps_are_weaker(self, noisy, examples):
        finding = _checked("step_curve", noisy, examples, steps=(1, 100))
        assert finding.status == masking.FLAGGED
        assert "rises with the steps" in finding.message


def test_a_shattered_gradient_is_rough(shattered, examples):
    assert _status("zero_gradients", shattered, examples) == masking.PASSED
    finding = _checked("landscape", shattered, examples)
    assert finding.status == masking.FLAGGED
    assert finding.values["roughness"] > 40


class TestPlanted:
    def test_a_hidden_gradient_misses_what_is_planted(self, shattered, examples):
        finding = _checked("planted", shattered, examples)
        assert finding.status == masking.FLAGGED
        assert finding.values["attack_success"] < 30

    def test_a_linear_classifier_hides_nothing(self, examples):
        linear = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)])
        finding = _checked("planted", linear, examples)
        assert finding.status == masking.PASSED
        assert finding.values["attack_success"] == 100
        assert finding.values["random_success"] < 20

    def test_a_weak_attack_fails_where_a_sound_one_passes(self, actual, healthy, examples):
        assert actual["planted"].values["planted"] == 20
        finding = _checked(
            "planted",
            healthy,
            examples,
            attack="pgd",
            attack_options={"num_steps": 2, "step_size": 0.005, "random_start": False},
        )
        assert finding.status == masking.FLAGGED

    def test_underflow_is_carried_over(self, scaled, examples):
        assert _status("planted", scaled, examples) == masking.FLAGGED

    def test_too_few_points_are_undecided(self, healthy, examples):
        # No two images are farther apart than 1.
        finding = _checked("planted", healthy, examples, epsilon=0.6)
        assert finding.status == masking.NOT_CHECKED
        assert finding.values["planted"] == 1

    @pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.1), ("l2", 1.0)])
    def test_the_points_are_adversarial(self, healthy, examples, norm, epsilon):
        images, labels = (column[:12] for column in examples)
        case = masking.DiagnosisCase.create(healthy, images, labels, epsilon=epsilon, norm=norm)
        planted = masking_planted.PlantedExamples.plant(case, num_inner=24)
        assert planted.is_separated.all()
        order = {"linf": np.inf, "l2": 2}[norm]
        distance = (planted.points - images).reshape(12, -1)
        distance = np.linalg.norm(distance, order, axis=1)
        assert (distance <= epsilon * (1 + 1e-5)).all()
        assert planted.points.min() >= 0 and planted.points.max() <= 1
        group = masking_planted.Readouts.from_case(case)
        group.assign(images, planted.weights, planted.offsets)
        # In any order and number: the nearest image's readout answers.
        rows = np.array([7, 3, 3, 11, 0])
        clean = group.logits(tf.constant(images[rows])).numpy()
        perturbed = group.logits(tf.constant(planted.points[rows])).numpy()
        assert (clean.argmax(-1) == 0).all()
        assert (perturbed.argmax(-1) == 1).all()
        logits = healthy(images).numpy()
        gaps = np.abs(losses.margin(logits, tf.constant(labels)))
        np.testing.assert_allclose(clean[:, 0] - clean[:, 1], gaps[rows], rtol=1e-3)

    def test_balls_that_touch_are_not_used_together(self):
        images = np.array([[0.0, 0], [0.1, 0.1], [0.5, 0], [1, 1]], np.float32)
        chosen = masking_planted.select_separated(images, 0.2, "linf", 9)
        np.testing.assert_array_equal(chosen, (0, 2, 3))
        assert len(masking_planted.select_separated(images, 0.2, "linf", 2)) == 2

    def test_features_are_what_the_last_dense_layer_receives(self, healthy, scaled, examples):
        images = tf.constant(examples[0][:3])
        case = masking.DiagnosisCase.create(healthy, *examples, epsilon=0.1)
        own = masking_planted.build_feature_fn(case)(images)
        kernel, bias = healthy.layers[-1].get_weights()
        np.testing.assert_allclose(own @ kernel + bias, healthy(images), atol=1e-4)
        case = masking.DiagnosisCase.create(scaled, *examples, epsilon=0.1)
        np.testing.assert_allclose(masking_planted.build_feature_fn(case)(images), scaled(images))


class TestAutoAttackChecks:
    def test_one_flag_is_enough(self):
        images = np.linspace(0, 1, 24, dtype=np.float32).reshape(6, 2, 2, 1)
        finding, *_ = masking.diagnose(
            _pixel,
            images,
            _sides(images),
            epsilon=0.1,
            checks=["autoattack_checks"],
            options={"black_box": {"num_queries": 7}},
        )
        assert finding.status == masking.FLAGGED
        assert finding.values["few_classes"] == 1
        assert finding.values["randomised"] == 0
        assert finding.message == "Flagged: few_classes."

    def test_probabilities(self, healthy, examples):
        soft = lambda images: tf.nn.softmax(healthy(images))  # noqa: E731
        finding = _checked("probabilities", soft, examples)
        assert finding.status == masking.FLAGGED
        assert finding.values["probabilities"] == 1

    def test_few_classes_and_flat_images(self):
        images = np.random.default_rng(0).random((12, 9)).astype(np.float32)
        weights = tf.random.stateless_normal((9, 4), (1, 2))

        def four(images):
            return images @ weights

        def three(images):
            return four(images)[:, :3]

        labels = np.argmax(three(images), -1)
        finding = _checked("few_classes", three, (images, labels))
        assert finding.status == masking.FLAGGED
        assert finding.values["classes"] == 3
        # Square cannot be run on these: that never looks like a pass.
        labels = np.argmax(four(images), -1)
        finding = _checked("autoattack_checks", four, (images, labels))
        assert finding.status == masking.NOT_CHECKED
        assert np.isnan(finding.values["black_box"])
        assert finding.values["few_classes"] == 0
        assert "Not checked: black_box" in finding.message

    def test_two_classes_have_no_dlr(self):
        images = np.linspace(0, 1, 24, dtype=np.float32).reshape(6, 2, 2, 1)
        finding = _checked("loss_dependence", _pixel, (images, _sides(images)))
        assert "robust_accuracy_margin" in finding.values
        assert "robust_accuracy_dlr" not in finding.values

    def test_a_gradient_inside_is_seen(self, healthy, examples):
        def purified(images):
            _, slope = gradients.compute_input_gradient(
                lambda x: tf.reduce_logsumexp(healthy(x), -1), images
            )
            return healthy(images - 0.01 * tf.sign(slope))

        for classifier in (purified, tf.function(purified)):
            status = _status("inner_optimisation", classifier, examples)
            assert status == masking.FLAGGED

    def test_loops_and_python_are_undecided(self, healthy, examples):
        def looped(images):
            return healthy(
                tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, 0.9 * x), [0, images])[1]
            )

        def opaque(images):
            copy = tf.numpy_function(np.copy, [images], tf.float32)
            return healthy(tf.ensure_shape(copy, images.shape))

        for classifier, key in ((looped, "loops"), (opaque, "opaque_operations")):
            finding = _checked("inner_optimisation", classifier, examples)
            assert finding.status == masking.NOT_CHECKED
            assert finding.values[key] == 1

    def test_a_transposed_convolution_is_no_gradient(self, examples):
        model = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2DTranspose(2, 3, activation="relu"),
                layers.BatchNormalization(),
                layers.GlobalAveragePooling2D(),
                layers.Dense(10),
            ]
        )
        inside = tf.function(lambda images: model(images))
        for classifier in (model, inside):
            assert _status("inner_optimisation", classifier, examples) == masking.PASSED


def _pixel(images):
    """Class 1 where the first pixel is above a half."""
    height = tf.reshape(images, (tf.shape(images)[0], -1))[:, 0]
    return tf.stack([0.5 - height, height - 0.5], -1)


def _sides(images):
    return (images.reshape(len(images), -1)[:, 0] > 0.5).astype(np.int32)


def test_a_small_advantage_over_noise_is_undecided():
    images = np.zeros((200, 2, 2, 1), np.float32)
    images[:, 0, 0, 0] = np.linspace(0.251, 0.749, 200)
    finding = _checked("noise", _pixel, (images, _sides(images)))
    # The attack breaks 0.4 < x < 0.6, noise nearly as much.
    lead = finding.values["robust_accuracy_worst_draw"] - finding.values["robust_accuracy_attack"]
    assert 1 < lead < 20
    assert finding.values["robust_accuracy_attack"] == pytest.approx(60)
    assert finding.status == masking.NOT_CHECKED


def test_a_curve_that_rises_is_flagged():
    images = np.zeros((50, 2, 2, 1), np.float32)
    images[:, 0, 0, 0] = np.linspace(0.01, 0.99, 50)

    def timid(logits_fn, images, labels, *, epsilon):
        sign = tf.where(labels == 1, -1.0, 1.0)[:, None, None, None]
        return tf.clip_by_value(images + min(epsilon, 1 - epsilon) * sign, 0, 1)

    finding = _checked(
        "epsilon_curve", _pixel, (images, _sides(images)), attack=timid, epsilons=(0.1, 0.5, 0.9)
    )
    assert finding.status == masking.FLAGGED
    assert finding.values["largest_rise"] == pytest.approx(80)


class TestComparison:
    def test_counts(self):
        first = np.array([1, 1, 0, 0, 0], bool)
        second = np.array([1, 0, 1, 1, 0], bool)
        compared = comparisons.PairedComparison.from_success(first, second)
        assert compared == (1, 2, 5)
        assert compared.accuracy_drop == pytest.approx(20)

    @pytest.mark.parametrize(
        ("counts", "clear"),
        [
            # 9 > 2 sqrt(9), and 0.9 points are not more than one.
            ((0, 9, 1000), False),
            ((0, 11, 1000), True),
            # 4 = 2 sqrt(4).
            ((0, 4, 100), False),
            ((0, 5, 100), True),
            ((30, 41, 100), False),
            ((5, 0, 100), False),
        ],
    )
    def test_clear_is_beyond_chance_and_points(self, counts, clear):
        assert comparisons.PairedComparison(*counts).is_second_stronger(1.0) == clear

    @pytest.mark.parametrize(
        ("counts", "missed"),
        [((0, 1, 100), False), ((50, 2, 100), True), ((0, 2, 1000), False), ((0, 3, 1000), True)],
    )
    def test_missed_is_over_two_tenths_of_a_point(self, counts, missed):
        assert comparisons.PairedComparison(*counts).first_misses_images == missed


@pytest.mark.parametrize(("norm", "order"), [("linf", np.inf), ("l2", 2), ("l1", 1)])
def test_points_are_in_and_on_the_ball(norm, order):
    images = np.full((6, 4, 4, 1), 0.5, np.float32)
    case = masking.DiagnosisCase.create(_pixel, images, np.zeros(6, int), epsilon=0.3, norm=norm)

    def distance(perturbed):
        return np.linalg.norm((perturbed - images).reshape(6, -1), order, axis=1)

    np.testing.assert_allclose(distance(comparisons.sample_on_surface(case, 3)), 0.3, rtol=1e-5)
    inside = comparisons.sample_in_ball(case, 3)
    assert (distance(inside) < 0.3).all() and (distance(inside) > 0).all()
    np.testing.assert_array_equal(inside, comparisons.sample_in_ball(case, 3))
    assert (inside != comparisons.sample_in_ball(case, 4)).any()
    assert (distance(comparisons.sample_in_ball(case, 3, radius=0.01)) <= 0.01).all()


class TestDiagnose:
    def test_says_why_something_was_not_checked(self, healthy, examples):
        findings = masking.diagnose(healthy, *examples, epsilon=1.0, norm="l1", checks=["transfer"])
        actual = {finding.name: finding for finding in findings}
        assert {f.status for f in findings} == {masking.NOT_CHECKED}
        assert "source" in actual["transfer"].message
        assert "Not requested" in actual["noise"].message
        assert all(finding.n == _COUNT for finding in findings)

    def test_attacks_once_for_several_checks(self, monkeypatch):
        images = np.linspace(0, 1, 24, dtype=np.float32).reshape(6, 2, 2, 1)
        ran = []
        run = attacks.run

        def counted(attack, *arguments, **options):
            ran.append(attack)
            return run(attack, *arguments, **options)

        monkeypatch.setattr(attacks, "run", counted)
        masking.diagnose(
            _pixel,
            images,
            _sides(images),
            epsilon=0.1,
            checks=["autoattack_checks", "black_box", "noise"],
            options={"black_box": {"num_queries": 7}},
        )
        assert sorted(ran) == ["pgd", "square"]

    def test_makes_a_check_once(self):
        images = np.full((2, 2, 2, 1), 0.5, np.float32)
        case = masking.DiagnosisCase.create(_pixel, images, np.array([0, 1]), epsilon=0.1)
        first = masking.run_check(case, "few_classes")
        assert masking.run_check(case, "few_classes") is first

    def test_keeps_no_classifier_alive(self):
        images = np.linspace(0, 1, 48, dtype=np.float32).reshape(12, 2, 2, 1)
        classifier = lambda images: _pixel(images)  # noqa: E731
        masking.diagnose(
            classifier,
            images,
            _sides(images),
            epsilon=0.01,
            checks=["inner_optimisation", "planted", "zero_gradients"],
            options={"planted": {"num_inner": 4, "num_random": 1}},
        )
        gone = weakref.ref(classifier)
        del classifier
        gc.collect()
        assert gone() is None

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"epsilon": 0.0}, "epsilon"),
            ({"checks": ["nois"]}, "Did you mean 'noise'"),
            ({"options": {"noise": {"draws": 3}}}, "num_draws"),
            ({"options": {"nois": {}}}, "Did you mean 'noise'"),
            ({"epsilons": (1, 2)}, "epsilon"),
            ({"norm": "l3"}, "norm"),
            ({"attack_options": {"num_steps": 3}}, "attack=..."),
        ],
    )
    def test_refuses(self, settings, words):
        images = np.full((2, 2, 2, 1), 0.5, np.float32)
        settings = {"epsilon": 0.1, "checks": ["few_classes"]} | settings
        with pytest.raises(InputError, match=words):
            masking.diagnose(_pixel, images, np.array([0, 1]), **settings)

    def test_refuses_images(self):
        images = np.full((2, 2, 2, 1), 0.5, np.float32)
        with pytest.raises(InputError, match="2 classes"):
            masking.diagnose(_pixel, images, np.array([0, 2]), epsilon=0.1)
        with pytest.raises(InputError, match="at least one image"):
            masking.diagnose(_pixel, images[:0], np.zeros(0, int), epsilon=0.1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("step_curve", {"steps": (4, 4)}),
        ("epsilon_curve", {"epsilons": (0.0, 0.1)}),
        ("landscape", {"image": 2}),
        ("landscape", {"num_points": 2}),
        ("randomised", {"num_passes": 1}),
        ("noise", {"num_draws": 0}),
        ("planted", {"num_inner": 0}),
        ("black_box", {"queries": 3}),
    ],
)
def test_checks_refuse_options(name, options):
    images = np.full((2, 2, 2, 1), 0.5, np.float32)
    with pytest.raises(InputError, match=next(iter(options))):
        masking.get(name)(_pixel, images, np.array([0, 1]), epsilon=0.1, **options)
