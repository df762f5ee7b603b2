"""attacks.run: shards, budgets, targets, precision, invalid input."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks, datasets, models
from qup.attacks import engine, precision
from qup.core.errors import InputError

_SHAPE = (8, 8, 1)
_PGD = {"epsilon": 0.03, "num_steps": 12, "keep": "first_adversarial", "batch_size": 16}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(2)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(_SHAPE),
            layers.Conv2D(6, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )
    rng = np.random.default_rng(0)
    norm = model.layers[1]
    norm.set_weights([0.5 + rng.random(w.shape) for w in norm.weights])
    # So that every class is predicted for some image.
    logits = model(rng.random((200, *_SHAPE), np.float32))
    model.layers[-1].bias.assign(-np.mean(logits, 0))
    return model


@pytest.fixture(scope="module")
def examples(model):
    images = np.random.default_rng(1).random((70, *_SHAPE), np.float32)
    return images, np.argmax(model(images), -1)


@pytest.fixture(scope="module")
def plain(model, examples):
    return attacks.run("pgd", model, *examples, **_PGD)


def _assert_same(one, other):
    assert (np.asarray(one.images) == np.asarray(other.images)).all()
    for name, column in one.columns().items():
        np.testing.assert_array_equal(column, other.columns()[name], name)


def test_bytes_are_the_images_that_they_stand_for(model, examples, tmp_path):
    pixels = np.round(255 * examples[0]).astype(np.uint8)
    floats, labels = pixels / np.float32(255), examples[1]
    expected = attacks.run("pgd", model, floats, labels, **_PGD)
    _assert_same(attacks.run("pgd", model, pixels, labels, **_PGD), expected)
    # In shards, as a stream, and by the function of the attack alone.
    stream = (pixels[start : start + 30] for start in range(0, 70, 30))
    for given, options in ((pixels, {"output": tmp_path}), (stream, {})):
        _assert_same(attacks.run("pgd", model, given, labels, **_PGD, **options), expected)
    function = attacks.get("pgd")
    for_function = {"epsilon": 0.03, "num_steps": 3}
    np.testing.assert_array_equal(
        function(model, pixels, labels, **for_function),
        function(model, floats, labels, **for_function),
    )


def test_bytes_of_an_unclear_range_are_refused(model, examples):
    pixels = np.round(255 * examples[0]).astype(np.uint8)
    for bounds in ((0, 255), None):
        with pytest.raises(InputError, match=r"images\.astype\('float32'\) for pixels as they are"):
            attacks.run("pgd", model, pixels, examples[1], bounds=bounds, epsilon=8)
    with pytest.raises(InputError, match="1 can be white, or nearly black"):
        attacks.run("pgd", model, pixels // 128, examples[1], epsilon=0.1)
    # Black is black in any range.
    black = attacks.run("pgd", model, 0 * pixels, examples[1], epsilon=0.1)
    assert len(black) == len(pixels)


def test_several_steps_per_call_equal_single_steps(model, examples, monkeypatch):
    for more in ({}, {"num_steps": 7, "random_start": True, "restarts": 2}):
        options = _PGD | more
        several = attacks.run("pgd", model, *examples, **options)
        assert len(set(several.gradient_calls)) > 3
        with monkeypatch.context() as patch:
            patch.setattr(engine, "_MAX_STEPS_PER_CALL", 1)
            one = attacks.run("pgd", model, *examples, **options)
        _assert_same(one, several)


def test_streams_are_the_same_as_arrays(model, examples, plain):
    images, labels = examples
    stream = (images[start : start + 9] for start in range(0, 70, 9))
    _assert_same(attacks.run("pgd", model, stream, labels, **_PGD), plain)


def test_few_images_use_a_small_batch(model, examples):
    images, labels = (column[:3] for column in examples)
    seen = []

    def logits_fn(batch):
        seen.append(batch.shape[0])
        return model(batch)

    large, small = (
        attacks.run("pgd", logits_fn, images, labels, **_PGD | {"batch_size": size})
        for size in (500, 4)
    )
    assert max(seen) <= 4
    _assert_same(large, small)


def test_rows_leave_when_done(plain):
    # One gradient shows that an image is misclassified; robust images take all steps.
    assert (plain.gradient_calls[~plain.success] == 12).all()
    assert plain.gradient_calls[plain.success].min() < 12


def test_stopping_early_is_never_weaker(model, examples):
    images, labels = examples
    first = attacks.run("pgd", model, images, labels, **_PGD)
    last = attacks.run("pgd", model, images, labels, **_PGD | {"keep": "last"})
    # If the last point is adversarial, the attack has met an adversarial point.
    assert first.success[last.success].all()
    assert (last.gradient_calls == 12).all()


class TestShards:
    def test_resume_after_the_last_complete_one(self, model, examples, plain, tmp_path):
        images, labels = examples
        out = tmp_path / "out"
        first = attacks.run("pgd", model, images, labels, output=out, **_PGD)
        assert isinstance(first.images[0], np.ndarray)
        _assert_same(first, plain)
        modified = (out / "shard-00000.npz").stat().st_mtime_ns
        again = attacks.run("pgd", model, images, labels, output=out, **_PGD)
        _assert_same(again, plain)
        assert (out / "shard-00000.npz").stat().st_mtime_ns == modified

    def test_recompute_a_damaged_shard(self, model, examples, plain, tmp_path):
        out = tmp_path / "out"
        attacks.run("pgd", model, *examples, output=out, **_PGD)
        shard = out / "shard-00000.npz"
        shard.write_bytes(shard.read_bytes()[:100])
        _assert_same(attacks.run("pgd", model, *examples, output=out, **_PGD), plain)

    @pytest.mark.parametrize("change", ["model", "options", "images"])
    def test_refuse_another(self, change, model, examples, tmp_path):
        images, labels = examples
        out = tmp_path / "out"
        attacks.run("pgd", model, images, labels, output=out, **_PGD)
        options = dict(_PGD)
        if change == "model":
            model = keras.models.clone_model(model)
        elif change == "options":
            options["num_steps"] = 13
        else:
            images = images[::-1].copy()
            labels = np.argmax(model(images), -1)
        with pytest.raises(InputError, match=r"[Nn]ame another output"):
            attacks.run("pgd", model, images, labels, output=out, **options)

    def test_refuse_a_folder_with_other_files(self, model, examples, tmp_path):
        (tmp_path / "thesis.txt").write_text("mine")
        with pytest.raises(InputError, match="not results"):
            attacks.run("pgd", model, *examples, output=tmp_path, **_PGD)

    def test_support_indices_masks_and_slices(self, model, examples, plain, tmp_path):
        result = attacks.run("pgd", model, *examples, output=tmp_path / "out", **_PGD)
        whole = np.asarray(plain.images)
        for index in (3, -1, slice(2, 60, 7), [5, 1], plain.success):
            np.testing.assert_array_equal(result.images[index], whole[index])
        with pytest.raises(IndexError):
            result.images[70]


def test_several_epsilons_equal_single_ones(model, examples):
    options = {k: v for k, v in _PGD.items() if k != "epsilon"}
    budgets = [0.06, 0.01, 0.03]
    many = attacks.run("pgd", model, *examples, epsilons=budgets, **options)
    robust_accuracies = [result.robust_accuracy for result in many]
    assert robust_accuracies[1] > robust_accuracies[2] > robust_accuracies[0]
    smallest = attacks.run("pgd", model, *examples, epsilon=0.01, **options)
    _assert_same(many[1], smallest)
    for budget, result in zip(budgets, many, strict=True):
        assert result.distances["linf"].max() <= budget * (1 + 1e-5)
        assert (result.epsilon == np.float32(budget)).all()


def test_one_search_serves_all_epsilons(model, examples):
    budgets = [0.1, 0.3]
    small, large = attacks.run("deepfool", model, *examples, epsilons=budgets, batch_size=16)
    unlimited = attacks.run("deepfool", model, *examples, batch_size=16)
    for budget, result in zip(budgets, (small, large), strict=True):
        inside = unlimited.success & (unlimited.distances["l2"] <= budget)
        assert (result.success == inside).all()
    assert 0 < small.success.sum() < large.success.sum()


def test_budgets_per_image(model, examples):
    images, labels = examples
    budgets = np.where(np.arange(70) % 2, 0.2, 0.0).astype(np.float32)
    result = attacks.run("pgd", model, images, labels, **_PGD | {"epsilon": budgets})
    assert not result.success[::2].any() and result.success[1::2].any()
    assert (result.epsilon == budgets).all()


def test_minimal_epsilon_of_a_linear_model():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(64, 2)).astype(np.float32)

    def logits_fn(images):
        return tf.reshape(images, (-1, 64)) @ weights

    images = rng.random((20, *_SHAPE), np.float32)
    logits = logits_fn(images).numpy()
    gradient_norm = np.abs(weights[:, 1] - weights[:, 0]).sum()
    exact = np.abs(logits[:, 1] - logits[:, 0]) / gradient_norm
    result = attacks.minimal_epsilon(
        "fgsm",
        logits_fn,
        images,
        logits.argmax(1),
        high=1.0,
        halvings=14,
        bounds=None,
        batch_size=8,
    )
    assert result.success.all()
    np.testing.assert_allclose(result.epsilon, exact, atol=2e-4)
    result = attacks.minimal_epsilon(
        "fgsm", logits_fn, images, logits.argmax(1), high=1e-4, bounds=None, batch_size=8
    )
    assert np.isnan(result.epsilon[exact > 1e-4]).all()


class TestTargets:
    def test_need_a_targeted_form(self, model, examples):
        with pytest.raises(InputError, match="no targeted form"):
            attacks.run(
                "one_step_target_class", model, *examples, epsilon=0.1, targets="all", batch_size=16
            )

    def test_all_succeeds_if_any_target_does(self, model, examples):
        images, labels = examples
        all_targets = attacks.run("pgd", model, images, labels, targets="all", **_PGD)
        success = np.zeros(len(labels), bool)
        for shift in range(1, 5):
            one = attacks.run("pgd", model, images, labels, targets=(labels + shift) % 5, **_PGD)
            success |= one.success
        assert (all_targets.success == success).all() and success.any()

    def test_random_targets_depend_only_on_ids(self, model, examples):
        images, labels = examples
        options = _PGD | {"targets": "random", "epsilon": 0.06}
        result = attacks.run("pgd", model, images, labels, **options)
        part = attacks.run(
            "pgd", model, images[40:56], labels[40:56], ids=np.arange(40, 56), **options
        )
        assert (part.success == result.success[40:56]).all()

    @pytest.mark.parametrize("targets", ["likeliest", [1, 2], 3.5])
    def test_refuse_invalid_targets(self, targets, model, examples):
        with pytest.raises(InputError, match="targets"):
            attacks.run("pgd", model, *examples, targets=targets, **_PGD)


class TestPrecision:
    def test_bfloat16_has_nearly_the_same_success(self, model, examples, plain):
        fast = attacks.run("pgd", model, *examples, precision="bfloat16", **_PGD)
        assert abs(fast.success.mean() - plain.success.mean()) < 0.1
        # The model in float32 decides about success.
        predicted = np.argmax(model(np.asarray(fast.images)), -1)
        assert ((predicted != examples[1]) == fast.success).all()

    def test_the_copy_follows_the_weights(self, examples):
        model = keras.Sequential(
            [keras.Input(_SHAPE), keras.layers.Flatten(), keras.layers.Dense(5)]
        )
        images = examples[0]
        for _ in range(2):
            labels = np.argmax(model(images), -1)
            result = attacks.run(
                "pgd", model, images, labels, precision="bfloat16", **_PGD | {"epsilon": 0.3}
            )
            assert result.success.mean() > 0.8
            model.set_weights([-2 * w for w in model.get_weights()])

    @pytest.mark.parametrize("name", ["resnet", "ygcnn"])
    def test_copies_the_benchmarked_networks(self, name):
        info = datasets.load("synthetic", train_size=8, test_size=8).info
        depth = {"depth": 20} if name == "resnet" else {}
        network = models.build(name, info, width=0.25, **depth)
        images = np.random.default_rng(0).random((8, *info.image_shape), np.float32)
        copy = precision.get_precision_copy(network, "bfloat16")
        logits = copy(images)
        assert logits.dtype == tf.float32
        expected = network(images, training=False)
        error = np.abs(logits - expected).max()
        assert 0 < error < 0.03 * np.abs(expected).max()

    def test_needs_a_keras_model(self, examples):
        with pytest.raises(InputError, match="Keras model"):
            attacks.run(
                "pgd",
                lambda x: tf.reshape(x, (-1, 64))[:, :5],
                *examples,
                precision="bfloat16",
                **_PGD,
            )


def test_a_function_is_an_attack(model, examples):
    def brighten(logits_fn, images, labels, *, epsilon, bounds):
        return tf.clip_by_value(images + epsilon, *bounds)

    result = attacks.run(brighten, model, *examples, epsilon=0.2, batch_size=16)
    assert result.stages == ("brighten",)
    assert np.isnan(result.gradient_calls).all()
    assert result.distances["linf"].max() <= 0.2 * (1 + 1e-5)


def test_attacks_probabilities_with_one_warning(model, examples, caplog):
    def softmax(images):
        return tf.nn.softmax(model(images))

    for _ in range(2):
        result = attacks.run("pgd", softmax, *examples, **_PGD)
    assert result.success.any()
    warnings = [r for r in caplog.records if "returns probabilities. " in r.getMessage()]
    warnings = [r for r in warnings if r.getMessage().startswith("The classifier")]
    assert len(warnings) == 1


def test_error_without_gradient_names_black_box_attacks(examples):
    def rounded(images):
        return tf.round(tf.reshape(images, (-1, 64)))[:, :5]

    with pytest.raises(InputError, match="square"):
        attacks.run("pgd", lambda x: tf.stop_gradient(rounded(x)), *examples, **_PGD)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"images": np.full((70, *_SHAPE), np.nan, np.float32)}, "NaN"),
        ({"images": np.full((70, *_SHAPE), 2.0, np.float32)}, "outside"),
        ({"images": np.zeros((69, *_SHAPE), np.float32)}, "as many images"),
        ({"labels": np.zeros(70, np.float32)}, "must be integers"),
        ({"labels": np.full(70, 5)}, "5 classes"),
        ({"labels": np.full(70, -1)}, "negative"),
        ({"ids": np.arange(3)}, "ids must be 70 integers"),
        ({"bounds": (1, 0)}, "bounds must be"),
        ({"batch_size": 0}, "batch_size"),
        ({"epsilons": [0.1]}, "not both"),
        ({"num_step": 3}, "Did you mean 'num_steps'"),
        ({"precision": "float16"}, "Unknown precision"),
    ],
)
def test_refuses_invalid_input(change, message, model, examples):
    arguments = {"images": examples[0], "labels": examples[1], **_PGD} | change
    with pytest.raises(InputError, match=message):
        attacks.run("pgd", model, **arguments)


def test_refuses_a_classifier_of_nan(examples):
    def return_nan(images):
        return tf.reshape(images, (-1, 64))[:, :5] * float("nan")

    with pytest.raises(InputError, match="NaN"):
        attacks.run("pgd", return_nan, *examples, **_PGD)


def test_conjugate_of_pgd_is_its_step(model, examples):
    images, labels = (column[:16] for column in examples)
    field = attacks.conjugate("pgd4", model, images, labels, epsilon=0.1, num_steps=3)
    before = attacks.get("pgd4")(
        model, images, labels, epsilon=0.1, num_steps=2, step_size=0.1 / 3, bounds=None
    )
    after = attacks.get("pgd4")(model, images, labels, epsilon=0.1, num_steps=3, bounds=None)
    np.testing.assert_allclose(
        attacks.conjugate("pgd4", model, images, labels, epsilon=0.1, num_steps=3, bounds=None),
        after - before,
        atol=1e-6,
    )
    assert field.shape == images.shape
