"""RobustAccuracy in model.fit: the logs, stopping, the best weights, precisions, compilation."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks, training
from qup.core.errors import InputError


@pytest.fixture(scope="module")
def arrays():
    """Images, float32 in [0, 1], and labels of two classes that a dense layer separates."""
    random = np.random.default_rng(0)
    labels = np.arange(96) % 2
    images = random.uniform(0, 0.5, (96, 4, 4, 1)) + 0.5 * labels[:, None, None, None]
    return np.round(255 * images).astype("float32") / 255, labels


def _build(front=(), head=True, dtype=None):
    layers = [keras.Input((4, 4, 1)), *front, keras.layers.Flatten()]
    initializer = keras.initializers.GlorotUniform(seed=1)
    layers.append(keras.layers.Dense(2, kernel_initializer=initializer, dtype=dtype))
    if head:
        layers.append(keras.layers.Softmax(dtype=dtype))
    return keras.Sequential(layers)


def _fit(model, arrays, callbacks, epochs=3, images=None, **options):
    # Of the order of the images.
    keras.utils.set_random_seed(0)
    model.compile(
        keras.optimizers.SGD(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=False),
        metrics=["accuracy"],
        **options,
    )
    images = arrays[0] if images is None else images
    return model.fit(
        images, arrays[1], batch_size=32, epochs=epochs, verbose=0, callbacks=callbacks
    )


def test_the_logs_have_the_accuracy_of_the_attack(arrays, tmp_path):
    model, path = _build(), tmp_path / "log.csv"
    robust = training.RobustAccuracy(*arrays, epsilon=0.2, num_images=40, seed=2, num_steps=5)
    history = _fit(model, arrays, [robust, keras.callbacks.CSVLogger(path)]).history
    values = history["val_robust_accuracy"]
    assert len(values) == 3 and len({*values}) > 1
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_robust_accuracy"]) for row in rows] == pytest.approx(values)
    result = attacks.run(
        "pgd", model, arrays[0][:40], arrays[1][:40], epsilon=0.2, num_steps=5, seed=2
    )
    assert values[-1] == pytest.approx(result.robust_accuracy / 100)
    assert robust.best == max(values) and robust.best_epoch == int(np.argmax(values))


def test_epochs_in_between_have_no_value(arrays):
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append("val_robust_accuracy" in logs)
    )
    robust = training.RobustAccuracy(*arrays, epsilon=0.1, every=3, num_images=16)
    _fit(_build(), arrays, [robust, record], epochs=8)
    assert seen == [True, False, True, False, False, True, False, True]


class _Script(training.RobustAccuracy):
    """Accuracies that are known."""

    def __init__(self, arrays, values, **options):
        super().__init__(*arrays, epsilon=0.1, num_images=8, **options)
        self._values = iter(values)

    def _measure(self):
        return next(self._values)


@pytest.mark.parametrize("restore", [True, False])
def test_it_stops_and_restores_the_best_weights(arrays, restore):
    model, weights = _build(), []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: weights.append(model.get_weights())
    )
    script = _Script(arrays, [0.1, 0.4, 0.3, 0.4], patience=2, restore_best_weights=restore)
    _fit(model, arrays, [script, keep], epochs=9)
    assert (script.best, script.best_epoch, script.stopped_epoch) == (0.4, 1, 3)
    for one, other in zip(model.get_weights(), weights[1 if restore else 3], strict=True):
        np.testing.assert_array_equal(one, other)


def test_early_stopping_of_keras_sees_it(arrays):
    script = _Script(arrays, [0.5, 0.4, 0.3, 0.2])
    stopping = keras.callbacks.EarlyStopping("val_robust_accuracy", mode="max", patience=1)
    history = _fit(_build(), arrays, [script, stopping], epochs=9).history
    assert history["val_robust_accuracy"] == [0.5, 0.4]


@pytest.mark.parametrize(
    "options", [{"run_eagerly": True}, {"jit_compile": True}, {"jit_compile": False}]
)
def test_every_way_to_compile_gives_the_same(arrays, options):
    robust = training.RobustAccuracy(*arrays, epsilon=0.2, num_images=40)
    values = _fit(_build(), arrays, [robust], **options).history["val_robust_accuracy"]
    reference = training.RobustAccuracy(*arrays, epsilon=0.2, num_images=40)
    expected = _fit(_build(), arrays, [reference]).history["val_robust_accuracy"]
    np.testing.assert_allclose(values, expected, atol=0.03)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_attacked(arrays, dtype):
    robust = training.RobustAccuracy(*arrays, epsilon=0.2, num_images=40)
    values = _fit(_build(dtype=dtype), arrays, [robust]).history["val_robust_accuracy"]
    assert np.isfinite(values).all() and 0 <= min(values) <= max(values) <= 1


@pytest.mark.parametrize(
    ("scale", "pixel_range", "kind"),
    [(1 / 255, (0, 255), "uint8"), (1 / 255, (0, 255), "float32"), (0.5, (-1, 1), "float32")],
)
def test_other_pixels_are_those_of_the_model(arrays, scale, pixel_range, kind):
    low, high = pixel_range
    images = low + (high - low) * arrays[0]
    images = (np.rint(images) if high == 255 else images).astype(kind)
    offset = 0.5 if low < 0 else 0.0
    model = _build((keras.layers.Rescaling(scale, offset),))
    robust = training.RobustAccuracy(
        images, arrays[1], epsilon=0.2, num_images=40, pixel_range=pixel_range
    )
    values = _fit(model, arrays, [robust], images=images).history["val_robust_accuracy"]
    reference = training.RobustAccuracy(*arrays, epsilon=0.2, num_images=40)
    expected = _fit(_build(), arrays, [reference]).history["val_robust_accuracy"]
    np.testing.assert_allclose(values, expected, atol=0.03)


def test_a_dataset_holds_its_labels(arrays):
    images = tf.data.Dataset.from_tensor_slices(arrays).batch(10)
    robust = training.RobustAccuracy(images, epsilon=0.2, num_images=40)
    values = _fit(_build(), arrays, [robust]).history["val_robust_accuracy"]
    reference = training.RobustAccuracy(*arrays, epsilon=0.2, num_images=40)
    assert values == _fit(_build(), arrays, [reference]).history["val_robust_accuracy"]


def test_the_attack_is_compiled_once_and_training_is_unchanged(arrays):
    model = _build((keras.layers.Dropout(0.2, seed=1),))
    traced, call = [], model.call

    def record(inputs, training=None, mask=None):
        traced.append(training)
        return call(inputs, training=training, mask=mask)

    model.call = record
    counts = []
    count = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: counts.append(len(traced))
    )
    robust = training.RobustAccuracy(*arrays, epsilon=0.2, num_images=40)
    _fit(model, arrays, [robust, count], epochs=4)
    assert counts[1] == counts[2] == counts[3]
    alone = _build((keras.layers.Dropout(0.2, seed=1),))
    _fit(alone, arrays, [], epochs=4)
    for one, other in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_masked_gradient_is_said_once(arrays, caplog):
    # The gradient exists, and is zero.
    model = _build([keras.layers.Lambda(lambda x: keras.ops.round(x) + 0.0 * x)])
    _fit(model, arrays, [training.RobustAccuracy(*arrays, epsilon=0.1, num_images=40)])
    messages = [record.getMessage() for record in caplog.records]
    assert sum("gradient is exactly zero" in message for message in messages) == 1
    # What the documentation states is not repeated.
    assert not any("gradient steps" in message for message in messages)


def test_a_model_that_is_lost_has_no_robust_accuracy(arrays, caplog):
    model = _build()
    spoil = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: (
            model.set_weights([w * np.nan for w in model.get_weights()]) if epoch == 1 else None
        )
    )
    robust = training.RobustAccuracy(*arrays, epsilon=0.1, num_images=16)
    values = _fit(model, arrays, [spoil, robust]).history["val_robust_accuracy"]
    assert values[0] > 0 and values[1:] == [0, 0] and "NaN or infinite" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": "pdg"}, "Did you mean 'pgd'"),
        ({"num_step": 3}, "Did you mean 'num_steps'"),
        ({"epsilon": -1}, "epsilon must be"),
        ({"every": 0}, "every must be"),
        ({"patience": 0}, "patience must be"),
        ({"num_images": 0}, "num_images must be"),
        ({"norm": "l3"}, "Known: l1, l2, linf"),
        ({"value_range": (1, 0)}, "value_range must be"),
    ],
)
def test_mistakes_are_found_before_the_training(arrays, options, message):
    with pytest.raises(InputError, match=message):
        training.RobustAccuracy(*arrays, **{"epsilon": 0.1, **options})


def test_images_without_labels_are_refused(arrays):
    with pytest.raises(InputError, match="images must be"):
        training.RobustAccuracy(arrays[0], epsilon=0.1)
    with pytest.raises(InputError, match="96 images and 95 labels"):
        training.RobustAccuracy(arrays[0], arrays[1][1:], epsilon=0.1, num_images=96)
