"""training.fit: any Keras model, any form of data; resuming, precision, monitoring, refusals."""

import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import datasets, models, training
from qup.core import errors
from qup.core.types import Recipe
from qup.training import fitting
from qup.training.classifier import FlipAndCrop
from qup.training.monitoring import TrainingTracker
from qup.training.precision import needs_loss_scaling

_ROOT = pathlib.Path(__file__).parents[2]
_OPTIONS = {"epsilon": 0.1, "epochs": 1, "batch_size": 16, "num_robust_images": 16}


class _KilledError(Exception):
    """Stands for a kill at the end of an epoch, before it is committed."""


@pytest.fixture(scope="module")
def data():
    return datasets.load("synthetic", train_size=96, test_size=32, validation_size=16)


@pytest.fixture(scope="module")
def arrays(data):
    """Training images, uint8, and labels; then validation images and labels."""
    return (*data.get_arrays("train")[:2], *data.get_arrays("validation")[:2])


def _build(data, head=None, front=(), width=8):
    """A small network of equal weights at every call; its last layer has ten outputs."""
    initializers = iter(keras.initializers.GlorotUniform(seed=seed) for seed in (3, 4))
    image = keras.Input(data.info.image_shape)
    tensor = image
    for layer in front:
        tensor = layer(tensor)
    tensor = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(tensor))
    tensor = keras.layers.Dense(width, "relu", kernel_initializer=next(initializers))(tensor)
    tensor = keras.layers.Dense(10, kernel_initializer=next(initializers))(tensor)
    return keras.Model(image, tensor if head is None else head(tensor))


def _fit(model, images, method="pgd_at", **options):
    return training.fit(model, images, method, **{**_OPTIONS, **options})


def _assert_equal_weights(one, other, **tolerance):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **({"rtol": 0, "atol": 0} | tolerance))


def test_standard_training_is_that_of_fit_classifier(data):
    one, other = _build(data), _build(data)
    _fit(one, data, "standard", epochs=2, learning_rate=2e-3, seed=5)
    recipe = Recipe(learning_rate=2e-3, batch_size=16)
    training.fit_classifier(other, data, epochs=2, recipe=recipe, seed=5)
    _assert_equal_weights(one, other)


_FORMS = {
    "floats": lambda x, y: (x.astype("float32") / 255, y),
    "columns": lambda x, y: (x, y[:, None].astype("int64")),
    "one-hot rows": lambda x, y: [x, np.eye(10)[y]],
    "lists of tensors": lambda x, y: (tf.constant(x), tf.constant(y)),
    "elements": lambda x, y: tf.data.Dataset.from_tensor_slices((x, y)),
    "batches": lambda x, y: tf.data.Dataset.from_tensor_slices((x, y[:, None])).batch(7),
    "bytes as floats": lambda x, y: (x.astype("float64"), y),
}


@pytest.mark.parametrize("name", _FORMS)
def test_every_form_of_data_gives_the_same_weights(name, data, arrays):
    whole, model = _build(data), _build(data)
    options = {"method": "standard", "epsilon": None}
    _fit(whole, arrays[:2], validation_data=arrays[2:], **options)
    ranges = {"value_range": (0, 255)} if name == "bytes as floats" else {}
    images = _FORMS[name](*arrays[:2])
    validation_data = _FORMS[name](*arrays[2:])
    _fit(model, images, validation_data=validation_data, **options, **ranges)
    _assert_equal_weights(model, whole)


@pytest.mark.parametrize(
    ("front", "pixel_range"),
    [
        ((keras.layers.Rescaling(1 / 255),), (0, 255)),
        ((keras.layers.Rescaling(0.5, 0.5),), (-1, 1)),
    ],
)
def test_a_softmax_of_other_pixels_is_trained_as_its_logits(front, pixel_range, data, arrays):
    plain = _build(data)
    expected = _fit(plain, arrays[:2], "trades", num_steps=2, validation_size=10).history
    model = _build(data, keras.layers.Softmax(), front)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    low, high = pixel_range
    images = (low + (high - low) * (arrays[0] / np.float32(255))).astype("float32")
    history = _fit(
        model,
        (images, arrays[1]),
        "trades",
        num_steps=2,
        validation_size=10,
        pixel_range=pixel_range,
    ).history
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-4)
    _assert_equal_weights(model, plain, rtol=2e-3, atol=1e-4)
    # The model is as its owner built it.
    probabilities = model.predict(images[:4], verbose=0)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert model.optimizer.iterations == 0 and model.evaluate(images, arrays[1], verbose=0)


def test_an_unbuilt_model_is_built(arrays):
    model = keras.Sequential(
        [keras.layers.Flatten(), keras.layers.Dense(10), keras.layers.Softmax()]
    )
    history = _fit(model, arrays[:2], "mart", num_steps=1)
    assert model.built and np.isfinite(history.history["loss"]).all()


def test_the_history_names_every_metric(data, tmp_path):
    seen = []
    history = _fit(
        _build(data),
        data,
        "free",
        num_replays=2,
        epochs=3,
        hook=lambda epoch, metrics: seen.append((epoch, metrics)),
        log_dir=tmp_path,
    )
    assert list(history.history) == [
        *("loss", "batch_accuracy", "accuracy", "robust_accuracy"),
        *("val_accuracy", "val_robust_accuracy", "learning_rate"),
    ]
    assert [epoch for epoch, _ in seen] == [1, 2, 3] and seen[2][1] == history.epochs[3]
    assert all(len(values) == 3 for values in history.history.values())
    scores = history.history["val_robust_accuracy"]
    assert history.best_epoch == 1 + int(np.argmax(scores)) and history.collapsed_epoch is None
    points = _read_points(tmp_path)
    assert points["train", "loss"] == pytest.approx(history.history["loss"], rel=1e-5)
    assert points["validation", "robust_accuracy"] == pytest.approx(scores, rel=1e-5)


def _read_points(folder):
    points = {}
    for path in sorted(folder.rglob("*tfevents*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                key = (path.parent.name, value.tag)
                points.setdefault(key, []).append(float(tf.make_ndarray(value.tensor)))
    return points


def test_without_validation_images_some_are_held_out(data, arrays, caplog):
    caplog.set_level(logging.INFO, "qup")
    images = np.concatenate([arrays[0], arrays[0]])
    labels = np.concatenate([arrays[1], arrays[1]])
    assert "val_accuracy" in _fit(_build(data), (images, labels), "standard").history
    assert "8 of 160 training images are held out" in caplog.text
    history = _fit(_build(data), (images, labels), "standard", validation_size=0, epsilon=None)
    assert list(history.history) == ["loss", "batch_accuracy", "learning_rate"]


def _build_with_state(data, seed):
    """A network with dropout and batch normalisation, whose state must resume too."""
    keras.utils.set_random_seed(seed)
    image = keras.Input(data.info.image_shape)
    tensor = keras.layers.BatchNormalization()(keras.layers.AveragePooling2D(4)(image))
    tensor = keras.layers.Dropout(0.3, seed=1)(keras.layers.Flatten()(tensor))
    return keras.Model(image, keras.layers.Dense(10)(tensor))


@pytest.mark.parametrize("method", ["free", "pgd_at"])
def test_a_killed_training_ends_as_an_uninterrupted_one(method, data, tmp_path):
    options = {"schedule": "cosine", "augment": True, "restore_best": True, "epochs": 4}
    options |= {"num_replays": 2} if method == "free" else {"num_steps": 2}
    options |= {"warmup_epochs": 2.0, "learning_rate": 0.05, "epsilon": 0.02}
    complete = _build_with_state(data, seed=0)
    expected = _fit(complete, data, method, **options)

    def kill(epoch, metrics):
        if epoch == 3:
            raise _KilledError

    with pytest.raises(_KilledError):
        _fit(
            _build_with_state(data, seed=0),
            data,
            method,
            checkpoint_dir=tmp_path,
            hook=kill,
            **options,
        )
    resumed, epochs = _build_with_state(data, seed=9), []
    history = _fit(
        resumed,
        data,
        method,
        checkpoint_dir=tmp_path,
        hook=lambda epoch, _: epochs.append(epoch),
        **options,
    )
    assert epochs == [3, 4]
    assert history.epochs == expected.epochs and history.best_epoch == expected.best_epoch
    _assert_equal_weights(resumed, complete)


def test_checkpoints_of_other_settings_are_refused(data, arrays, tmp_path):
    _fit(_build(data), data, checkpoint_dir=tmp_path, num_steps=1)
    for change, word in (
        ({"batch_size": 8}, r"batch_size \(16 then, 8 now\)"),
        ({"epsilon": 0.2}, "adversary"),
        ({"seed": 1}, "seed"),
        ({"optimizer": "sgd"}, "optimizer"),
    ):
        with pytest.raises(errors.InputError, match=f"holds a training with other .*{word}"):
            _fit(_build(data), data, checkpoint_dir=tmp_path, **{"num_steps": 1, **change})
    with pytest.raises(errors.InputError, match="other settings: architecture"):
        _fit(_build(data, width=9), data, checkpoint_dir=tmp_path, num_steps=1)
    with pytest.raises(errors.InputError, match="other settings: data"):
        other = (arrays[0][::-1], arrays[1])
        _fit(_build(data), other, checkpoint_dir=tmp_path, num_steps=1, validation_data=arrays[2:])
    # More epochs continue it, unless a schedule depends on their number.
    history = _fit(_build(data), data, checkpoint_dir=tmp_path, num_steps=1, epochs=2)
    assert list(history.epochs) == [1, 2]
    (tmp_path / "settings.json").write_text("[")
    with pytest.raises(errors.InputError, match="is damaged"):
        _fit(_build(data), data, checkpoint_dir=tmp_path, num_steps=1)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_for_the_training_alone(policy, data):
    expected = _fit(_build(data), data, num_steps=2).history["loss"]
    model = _build(data, keras.layers.Softmax())
    history = _fit(model, data, num_steps=2, mixed_precision=policy)
    np.testing.assert_allclose(history.history["loss"], expected, rtol=3e-2)
    assert history.history["loss"] != expected
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert all(weight.dtype == "float32" for weight in model.weights)
    images = data.get_arrays("test")[0].astype("float32") / 255
    outputs = model(images)
    assert outputs.dtype == tf.float32
    # Its logits have more digits than half precision.
    assert np.any(tf.cast(tf.cast(outputs, policy.removeprefix("mixed_")), tf.float32) != outputs)


def test_float16_scales_the_loss(data, monkeypatch):
    scaled = []
    original = keras.optimizers.LossScaleOptimizer.scale_loss
    monkeypatch.setattr(
        keras.optimizers.LossScaleOptimizer,
        "scale_loss",
        lambda self, loss: scaled.append(loss) or original(self, loss),
    )
    _fit(_build(data), data, "fast", mixed_precision="mixed_float16")
    assert scaled
    del scaled[:]
    _fit(_build(data), data, "fast", mixed_precision="mixed_bfloat16")
    assert not scaled


def test_a_model_of_float16_scales_the_loss_too(data):
    half = keras.layers.Dense(4, dtype="mixed_float16")
    assert needs_loss_scaling(_build(data, front=(half,)), None)
    assert not needs_loss_scaling(_build(data), None)
    assert not needs_loss_scaling(_build(data), "mixed_bfloat16")


def test_a_model_that_cannot_compute_in_half_precision_says_so(data):
    constant = tf.ones((1, 16))
    layer = keras.layers.Lambda(lambda x: tf.add(x, constant))
    image = keras.Input(data.info.image_shape)
    tensor = keras.layers.Dense(16)(keras.layers.Flatten()(image))
    model = keras.Model(image, keras.layers.Dense(10)(layer(tensor)))
    with pytest.raises(errors.InputError, match="Use mixed_precision=False") as caught:
        _fit(model, data, mixed_precision="mixed_bfloat16")
    assert "\n" not in str(caught.value)


def _record(tracker, accuracies):
    for epoch, (attacked, clean, robust) in enumerate(accuracies, 1):
        tracker._model.set_weights([np.full_like(w, epoch) for w in tracker._model.get_weights()])
        metrics = {"loss": 1.0, "accuracy": attacked}
        tracker.record(
            epoch, {**metrics, "val_clean_accuracy": clean, "val_robust_accuracy": robust}
        )


def test_catastrophic_overfitting_ends_the_training(data, caplog):
    tracker = TrainingTracker(_build(data), "fast", 10, None, True)
    # A gap of overfitting is none, nor is a network that does not work in inference mode.
    _record(tracker, [(30, 35, 28), (60, 10, 5), (70, 75, 40)])
    assert not tracker.is_stopped and "CATASTROPHIC" not in caplog.text
    _record(tracker, [(30, 35, 28), (60, 65, 50), (85, 80, 2)])
    assert tracker.is_stopped
    assert "CATASTROPHIC OVERFITTING in epoch 3" in caplog.text
    assert "ends with the weights of epoch 2" in caplog.text
    history = tracker.finish(restore_best=False)
    assert (history.best_epoch, history.collapsed_epoch) == (2, 3)
    assert all((weight == 2).all() for weight in tracker._model.get_weights())


def test_a_warning_need_not_end_the_training(data, caplog):
    tracker = TrainingTracker(_build(data), "free", 10, None, False)
    _record(tracker, [(60, 65, 50), (85, 80, 2)])
    assert not tracker.is_stopped and "The training continues" in caplog.text
    tracker.finish(restore_best=False)
    assert all((weight == 2).all() for weight in tracker._model.get_weights())
    tracker = TrainingTracker(_build(data), "pgd_at", 10, None, True)
    _record(tracker, [(85, 80, 2)])
    assert not tracker.is_stopped


def test_the_attack_of_a_warmup_is_weaker_than_pgd(data):
    tracker = TrainingTracker(_build(data), "fast", 10, None, True, warmup_epochs=1.5)
    _record(tracker, [(90, 90, 2), (90, 90, 2)])
    assert int(tracker._collapsed_epoch) == 2


def test_two_classes_can_collapse_too(data):
    tracker = TrainingTracker(_build(data), "fast", 2, None, True)
    _record(tracker, [(58, 60, 5), (90, 95, 1)])
    assert int(tracker._collapsed_epoch) == 2


def test_a_training_that_learns_nothing_is_reported(data, caplog):
    tracker = TrainingTracker(_build(data), "mart", 10, None, True)
    _record(tracker, [(10, 11, 9)] * 3)
    assert "accuracy is that of chance" in caplog.text and "warmup_epochs=3" in caplog.text


def test_a_loss_that_is_not_a_number_is_one_line(data):
    with pytest.raises(errors.InputError, match=r"diverged in epoch 1.*Lower the learning rate"):
        _fit(_build(data), data, "fast", optimizer="sgd", learning_rate=1e30)


_REFUSED = {
    "a function": (lambda d: lambda x: x, {}, "the weights of a Keras model"),
    "two classes": (
        lambda d: keras.Sequential(
            [keras.Input(d.info.image_shape), keras.layers.Flatten(), keras.layers.Dense(2)]
        ),
        {},
        "has 2 classes",
    ),
    "another shape": (
        lambda d: keras.Sequential(
            [keras.Input((9, 9, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
        ),
        {},
        r"takes images \(9, 9, 1\)",
    ),
    "bytes": (
        lambda d: _build(d, front=(keras.layers.Rescaling(1 / 255),)),
        {},
        r"pixel_range=\(0, 255\)",
    ),
    "grey levels": (_build, {"epsilon": 8}, "Divide by 255"),
    "no epsilon": (_build, {"epsilon": None}, "pgd_at needs epsilon"),
    "a method": (_build, {"method": "pgd"}, "Did you mean 'pgd_at'"),
    "an optimizer's rate": (
        _build,
        {"optimizer": keras.optimizers.SGD(0.1), "learning_rate": 0.1},
        "Set them in it",
    ),
    "an optimizer": (_build, {"optimizer": "adan"}, "Did you mean 'adam'"),
    "a rate": (_build, {"learning_rate": 0.0}, "learning_rate must be"),
    "a schedule": (_build, {"schedule": "cosin"}, "Did you mean 'cosine'"),
    "a precision": (_build, {"mixed_precision": "float16"}, "Known: mixed_bfloat16"),
    "no epochs": (_build, {"epochs": 0}, "epochs must be"),
    "nothing held out": (
        _build,
        {"validation_size": 0, "method": "fast"},
        "fast needs validation images",
    ),
    "few batches": (
        _build,
        {"method": "free", "batch_size": 64},
        "repeats each batch 8 times and needs as many batches",
    ),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_cannot_be_trained_is_one_line(name, data, arrays):
    build, options, message = _REFUSED[name]
    with pytest.raises(errors.InputError, match=message) as caught:
        _fit(build(data), arrays[:2], **{"method": "pgd_at", **options})
    assert len(str(caught.value)) <= 600 and "\n" not in str(caught.value)


_BAD_DATA = {
    "images alone": (lambda x, y: x, "received ndarray"),
    "three parts": (lambda x, y: (x, y, y), "received tuple of 3"),
    "sample weights": (
        lambda x, y: tf.data.Dataset.from_tensor_slices((x, y, y)),
        "received tuple of 3 parts",
    ),
    "a negative label": (lambda x, y: (x, np.where(y == 3, -1, y)), "received -1"),
    "a label too high": (lambda x, y: (x, y + 9), "has 10 classes"),
    "other counts": (lambda x, y: (x, y[:-1]), "images and"),
    "flat images": (lambda x, y: (x.reshape(len(x), -1), y), "must have the shape"),
    "standardised images": (lambda x, y: (x / 127.5 - 1, y), r"value_range=\(-1, 1\)"),
}


@pytest.mark.parametrize("name", _BAD_DATA)
def test_data_that_cannot_be_used_is_one_line(name, data, arrays):
    convert, message = _BAD_DATA[name]
    with pytest.raises(errors.InputError, match=message) as caught:
        _fit(_build(data), convert(*arrays[:2]))
    assert "\n" not in str(caught.value)


def test_an_optimizer_is_copied(data):
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    one, other = _build(data), _build(data)
    _fit(one, data, num_steps=1, optimizer=optimizer)
    assert optimizer.iterations == 0 and not optimizer.built
    _fit(other, data, num_steps=1, optimizer=optimizer)
    _assert_equal_weights(one, other)


def test_schedules_end_where_they_should():
    rates = {}
    for name in fitting.SCHEDULES:
        rate = fitting._choose_optimizer("sgd", 1.0, name, 100)._learning_rate
        steps = (0, 40, 60, 80, 100)
        rates[name] = [float(rate if name == "constant" else rate(step)) for step in steps]
    np.testing.assert_allclose(rates["constant"], 1)
    np.testing.assert_allclose(rates["cyclic"], [0, 1, 2 / 3, 1 / 3, 0], atol=1e-6)
    np.testing.assert_allclose(rates["step"], [1, 1, 0.1, 0.01, 0.01], rtol=1e-5)
    assert rates["cosine"][0] == 1 and rates["cosine"][-1] == pytest.approx(0, abs=1e-6)


def test_flips_and_crops_belong_to_the_image_and_the_step():
    images = tf.random.stateless_uniform((64, 16, 16, 3), (1, 2), 0.5, 1.0)
    ids = tf.range(64, dtype=tf.int64)
    augment = FlipAndCrop(seed=3)
    result = augment(images, ids, tf.constant(5)).numpy()
    np.testing.assert_array_equal(augment(images[9:], ids[9:], tf.constant(5)), result[9:])
    assert (augment(images, ids, tf.constant(6)).numpy() != result).any()
    found = []
    for image, changed in zip(images.numpy(), result, strict=True):
        padded = np.pad(image, [(2, 2), (2, 2), (0, 0)])
        found += [
            (dy, dx, flip)
            for dy in range(5)
            for dx in range(5)
            for flip in (1, -1)
            if (padded[dy : dy + 16, dx : dx + 16][:, ::flip] == changed).all()
        ]
    assert len(found) == 64
    assert {dy for dy, _, _ in found} == {dx for _, dx, _ in found} == set(range(5))
    assert 15 < sum(flip == 1 for _, _, flip in found) < 49


def test_free_sees_every_image_in_as_many_epochs_as_replays(data):
    batches = fitting.TrainingBatches(data, 16, seed=0)
    ids = [batch["id"].numpy() for epoch in range(3) for batch in batches.get_epoch(epoch, 3)]
    assert len(ids) == 3 * batches.count == 15
    assert all((ids[i] == ids[i - i % 3]).all() for i in range(15))
    assert len({*np.concatenate(ids)}) == 80


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pgd_at", "trades", "mart", "free", "fast"])
def test_every_method_raises_the_robust_accuracy(method):
    data = datasets.load("digits", validation_size=200)
    plain = models.build("convnet", data.info, seed=1)
    options = {"epsilon": 0.1, "batch_size": 64, "num_robust_images": 200, "learning_rate": 3e-3}
    reference = training.fit(plain, data, "standard", epochs=6, **options)
    model = models.build("convnet", data.info, seed=1)
    history = training.fit(model, data, method, epochs=12, warmup_epochs=6, **options)
    assert history.epochs[12]["val_accuracy"] > 80
    robust = [h.history["val_robust_accuracy"][-1] for h in (reference, history)]
    assert robust[1] > robust[0] + 20, robust


_PROGRAM = """
import sys
from qup import datasets, models, training
data = datasets.load("digits", validation_size=100)
model = models.build("convnet", data.info, seed=0)
training.loop._CHECKPOINT_SECONDS = 0.3
training.fit(model, data, "free", epsilon=0.1, epochs=4, batch_size=16, num_robust_images=32,
             augment=True, checkpoint_dir=sys.argv[1])
model.save_weights(sys.argv[2])
"""


@pytest.mark.slow
def test_a_process_killed_at_any_moment_resumes_bit_for_bit(tmp_path):
    def start(name):
        arguments = [str(tmp_path / name), str(tmp_path / f"{name}.weights.h5")]
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *arguments], env=environment, stderr=subprocess.DEVNULL
        )

    assert start("whole").wait(timeout=600) == 0
    for _ in range(3):
        process = start("killed")
        deadline = time.monotonic() + 300
        index = tmp_path / "killed" / "checkpoint"
        before = index.stat().st_mtime_ns if index.exists() else None
        # Until it has written a further checkpoint.
        while time.monotonic() < deadline and process.poll() is None:
            if index.exists() and index.stat().st_mtime_ns != before:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start("killed").wait(timeout=600) == 0
    model = models.build("convnet", datasets.load("digits").info)
    weights = []
    for name in ("whole", "killed"):
        model.load_weights(tmp_path / f"{name}.weights.h5")
        weights.append(model.get_weights())
        assert len(json.loads((tmp_path / name / "history.json").read_text())) == 4
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
