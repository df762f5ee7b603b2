"""The contract of a classifier: kinds of outputs, ranges of pixels, and what is refused."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup.core import classifier
from qup.core.classifier import inspect_classifier, predict_logits, wrap_classifier
from qup.core.errors import InputError

_SHAPE = (8, 8, 1)
_IMAGES = np.random.default_rng(0).random((8, *_SHAPE)).astype(np.float32)


def _build_layers(num_classes=10, activation=None, scale=3.0) -> list[keras.Layer]:
    keras.utils.set_random_seed(1)
    weights = keras.initializers.RandomNormal(stddev=scale)
    return [
        keras.layers.Flatten(),
        keras.layers.Dense(16, "relu"),
        keras.layers.Dense(num_classes, activation, kernel_initializer=weights),
    ]


def _build_model(*more_layers, dtype="float32", **options) -> keras.Model:
    return keras.Sequential(
        [keras.Input(_SHAPE, dtype=dtype), *_build_layers(**options), *more_layers]
    )


def _build_nested_model() -> keras.Model:
    images = keras.Input(_SHAPE)
    return keras.Model(images, _build_model(activation="softmax")(images))


def _build_operation_model() -> keras.Model:
    images = keras.Input(_SHAPE)
    return keras.Model(images, keras.ops.softmax(_build_model()(images)))


_EXACT = {
    "logits": (lambda: _build_model(), "logits"),
    "activation of a layer": (lambda: _build_model(activation="softmax"), "softmax"),
    "sigmoid": (lambda: _build_model(activation="sigmoid"), "sigmoid"),
    "Activation": (lambda: _build_model(keras.layers.Activation("softmax")), "softmax"),
    "Softmax": (lambda: _build_model(keras.layers.Softmax()), "softmax"),
    "behind a pass-through layer": (
        lambda: _build_model(keras.layers.Activation("sigmoid"), keras.layers.Dropout(0.5)),
        "sigmoid",
    ),
    "nested": (_build_nested_model, "softmax"),
    "operation": (_build_operation_model, "softmax"),
}


@pytest.mark.parametrize("name", _EXACT)
def test_the_last_activation_of_a_keras_model_is_left_out(name):
    build, kind = _EXACT[name]
    model, expected = build(), _build_model()(_IMAGES).numpy()
    info = inspect_classifier(model, _IMAGES)
    assert info == (10, kind, True)
    np.testing.assert_array_equal(predict_logits(model, _IMAGES), expected)
    # The model itself is as it was.
    outputs = model(_IMAGES).numpy()
    assert kind == "logits" or outputs.max() <= 1


def test_log_probabilities_are_logits():
    model = _build_model(activation="log_softmax")
    assert inspect_classifier(model, _IMAGES) == (10, "log_probabilities", True)
    np.testing.assert_array_equal(predict_logits(model, _IMAGES), _build_model()(_IMAGES))

    def logits_fn(images):
        return model(images)

    assert inspect_classifier(logits_fn, _IMAGES) == (10, "log_probabilities", True)
    logits = predict_logits(logits_fn, _IMAGES).numpy()
    np.testing.assert_allclose(np.exp(logits).sum(1), 1, rtol=1e-4)


@pytest.mark.parametrize(
    "activation,kind",
    [(tf.nn.softmax, "softmax"), (tf.sigmoid, "sigmoid"), (tf.nn.log_softmax, "log_probabilities")],
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_probabilities_of_functions_are_inverted(activation, kind, dtype):
    model = _build_model(scale=0.3)
    expected = model(_IMAGES).numpy()

    def logits_fn(images):
        return tf.cast(activation(model(images)), dtype)

    info = inspect_classifier(logits_fn, _IMAGES)
    assert info.num_classes == 10
    if dtype == "float16" and kind == "log_probabilities":
        return  # Their sums are not one in half precision; as logits they are right anyway.
    assert info.output_kind == kind
    logits = predict_logits(logits_fn, _IMAGES).numpy()
    difference = logits - expected
    if kind != "sigmoid":  # Equal up to a constant of each image.
        difference -= difference.mean(1, keepdims=True)
    np.testing.assert_allclose(difference, 0, atol=0.03 if dtype == "float16" else 1e-4)


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_one_output_means_two_classes(activation):
    model = _build_model(num_classes=1, activation=activation)
    logits = predict_logits(model, _IMAGES).numpy()
    expected = _build_model(num_classes=1)(_IMAGES).numpy()
    np.testing.assert_array_equal(logits, np.concatenate([0 * expected, expected], 1))
    probability = _build_model(num_classes=1, activation="sigmoid")(_IMAGES).numpy()[:, 0]
    np.testing.assert_array_equal(logits.argmax(1) == 1, probability > 0.5)


def test_logits_that_lie_in_the_unit_interval_by_chance_are_logits():
    def logits_fn(images):
        squares = tf.reduce_sum(tf.square(images), (1, 2, 3)) / 64
        return tf.stack([1 - squares, tf.zeros_like(squares)], -1)

    assert inspect_classifier(logits_fn, _IMAGES).output_kind == "logits"


def test_a_dictionary_with_logits_and_a_list_of_one_are_taken():
    model = _build_model()
    for logits_fn in (lambda x: {"logits": model(x), "other": x}, lambda x: [model(x)]):
        np.testing.assert_allclose(
            predict_logits(logits_fn, _IMAGES), model(_IMAGES), rtol=1e-5, atol=1e-5
        )


class TestPixelRange:
    @pytest.mark.parametrize(
        "first_layer",
        [
            keras.layers.Rescaling(1 / 255),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Normalization(mean=120.0, variance=60.0**2),
        ],
        ids=["rescaling", "to -1, 1", "normalization"],
    )
    def test_a_model_of_bytes_is_refused_until_the_range_is_stated(self, first_layer):
        model = keras.Sequential([keras.Input(_SHAPE), first_layer, *_build_layers()])
        with pytest.raises(InputError, match=r"pixel_range=\(0, 255\)"):
            predict_logits(model, _IMAGES)
        stated = wrap_classifier(model, pixel_range=(0, 255))
        np.testing.assert_allclose(
            predict_logits(stated, _IMAGES), model(255 * _IMAGES), rtol=1e-4, atol=1e-4
        )
        # Images of bytes need no word.
        bytes_model = keras.models.clone_model(model)
        assert inspect_classifier(bytes_model, 255 * _IMAGES).num_classes == 10
        # Whoever states [0, 1] gets it.
        assert wrap_classifier(bytes_model, pixel_range=(0, 1)).inspect(_IMAGES).num_classes == 10

    def test_a_division_by_255_is_found(self):
        images = keras.Input(_SHAPE)
        model = keras.Model(images, _build_model()(images / 255.0))
        with pytest.raises(InputError, match="'true_divide"):
            predict_logits(model, _IMAGES)

    def test_a_model_that_scales_to_bytes_and_back_takes_the_unit_range(self):
        images = keras.Input(_SHAPE)
        model = keras.Model(images, _build_model()((images * 255.0) / 127.5 - 1.0))
        assert inspect_classifier(model, _IMAGES).num_classes == 10
        layers = [keras.layers.Rescaling(255.0), keras.layers.Normalization(mean=120, variance=9)]
        model = keras.Sequential([keras.Input(_SHAPE), *layers, *_build_layers()])
        assert inspect_classifier(model, _IMAGES).num_classes == 10

    def test_scales_between_other_layers_are_left_alone(self):
        model = keras.Sequential(
            [
                keras.Input(_SHAPE),
                keras.layers.Conv2D(2, 3),
                keras.layers.Rescaling(1 / 255),
                *_build_layers(),
            ]
        )
        assert inspect_classifier(model, _IMAGES).num_classes == 10

    def test_integers_are_rounded_and_have_a_gradient(self):
        layers = _build_layers(scale=0.3)
        model = keras.Sequential(
            [keras.Input(_SHAPE, dtype="uint8"), keras.layers.Rescaling(1 / 255), *layers]
        )
        with pytest.raises(InputError, match="uint8 images"):
            predict_logits(model, _IMAGES)
        stated = wrap_classifier(model, pixel_range=(0, 255))
        as_bytes = np.round(255 * _IMAGES).astype(np.uint8)
        np.testing.assert_allclose(
            predict_logits(stated, _IMAGES), model(as_bytes), rtol=1e-4, atol=1e-4
        )
        info = stated.probe(_IMAGES)
        assert info.has_gradient and info.zero == 0

    def test_the_gradient_passes_through_the_range(self):
        plain = _build_model(scale=0.3)
        model = keras.Sequential([keras.Input(_SHAPE), keras.layers.Rescaling(0.5, 0.5), plain])
        stated = wrap_classifier(model, pixel_range=(-1, 1))
        images = tf.constant(_IMAGES)
        gradients = []
        for logits_fn in (plain, stated):
            with tf.GradientTape() as tape:
                tape.watch(images)
                loss = tf.reduce_sum(logits_fn(images)[:, 0])
            gradients.append(tape.gradient(loss, images).numpy())
        np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("value", [3, "ab", (1, 0), (0, np.nan), (0, 1, 2)])
    def test_a_wrong_range_is_refused(self, value):
        with pytest.raises(InputError, match="pixel_range must be"):
            wrap_classifier(_build_model(), pixel_range=value)

    def test_two_ranges_are_refused(self):
        stated = wrap_classifier(_build_model(), pixel_range=(-1, 1))
        with pytest.raises(InputError, match="State the range once"):
            wrap_classifier(stated, pixel_range=(0, 255))


def test_a_network_with_global_pooling_takes_the_size_that_it_declares():
    layers = [keras.layers.Conv2D(3, 3), keras.layers.GlobalAveragePooling2D()]
    declared = keras.Sequential([keras.Input((16, 16, 1)), *layers, keras.layers.Dense(4)])
    with pytest.raises(InputError, match="takes images 16 x 16 x 1; received images 8 x 8 x 1"):
        predict_logits(declared, _IMAGES)
    free = keras.Sequential([keras.Input((None, None, 1)), *layers, keras.layers.Dense(4)])
    assert inspect_classifier(free, _IMAGES).num_classes == 4


_MODEL = _build_model()


def _raise(images):
    raise RuntimeError("out of order")


def _build_two_input_model() -> keras.Model:
    inputs = [keras.Input(_SHAPE), keras.Input(_SHAPE)]
    return keras.Model(inputs, _MODEL(inputs[0] + inputs[1]))


@pytest.mark.parametrize(
    "logits_fn,message",
    [
        (3, "callable on a batch"),
        (_MODEL.predict, "Pass the model itself"),
        (_build_two_input_model(), "takes 2 inputs"),
        (lambda x: [_MODEL(x), _MODEL(x)], "2 outputs"),
        (lambda x: {"a": _MODEL(x), "b": x}, r"dictionary of \['a', 'b'\]"),
        (lambda x: None, "received NoneType"),
        (lambda x: "label", "received string"),
        (lambda x: tf.argmax(_MODEL(x), -1), "not the predicted classes"),
        (lambda x: _MODEL(x)[:, 0], r"must have the shape \[batch, 1\]"),
        (lambda x: _MODEL(x)[:1], "must map images"),
        (lambda x: _MODEL(x).numpy(), "tf.numpy_function"),
        (lambda x: np.asarray(x), "tf.numpy_function"),
        (lambda x: _MODEL(x) / 0.0 * 0.0, "NaN or infinite logits"),
        (_raise, "out of order"),
    ],
)
def test_what_is_no_classifier_is_refused_in_one_line(logits_fn, message):
    with pytest.raises(InputError, match=message) as error:
        predict_logits(logits_fn, _IMAGES)
    assert len(str(error.value)) < 600 and "\n" not in str(error.value)


class TestGradient:
    def test_nan_is_found_and_counts_as_zero(self, caplog):
        def logits_fn(images):
            return _MODEL(tf.sqrt(tf.square(images)))

        images = _IMAGES.copy()
        images[:4, 0] = 0
        info = wrap_classifier(logits_fn).probe(images)
        assert info.has_gradient and info.non_finite == 0.5
        assert "The gradient of the classifier" in caplog.text

    def test_absence_zeros_and_chance_are_found(self):
        def rounded(images):
            return _MODEL(tf.round(4 * images) / 4)

        def encoded(images):
            pixels = tf.cast(255 * images, tf.uint8)
            decoded = tf.map_fn(
                lambda x: tf.cast(tf.io.decode_png(tf.io.encode_png(x), 1), tf.float32),
                pixels,
                fn_output_signature=tf.float32,
            )
            return _MODEL(tf.reshape(decoded, (-1, *_SHAPE)) / 255)

        def constant(images):
            return _MODEL(0 * images)

        def noisy(images):
            return _MODEL(images + tf.random.normal(tf.shape(images)))

        assert not wrap_classifier(rounded).probe(_IMAGES).has_gradient
        assert not wrap_classifier(encoded).probe(_IMAGES).has_gradient
        assert wrap_classifier(constant).probe(_IMAGES).zero == 1
        assert wrap_classifier(noisy).probe(_IMAGES).is_random
        assert not wrap_classifier(_MODEL).probe(_IMAGES).is_random

    def test_a_model_that_is_trained_further_is_probed_again(self):
        model = _build_model(scale=0.3)
        wrapped = wrap_classifier(model)
        assert wrapped.probe(_IMAGES).zero == 0
        for layer in model.layers[1:]:
            layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
        assert wrapped.probe(_IMAGES).zero == 1
        model.layers[-1].set_weights([np.full_like(w, np.nan) for w in layer.get_weights()])
        with pytest.raises(InputError, match="NaN or infinite logits"):
            wrapped.probe(_IMAGES)


def test_a_wrapped_model_is_freed():
    model = _build_model(activation="softmax")
    predict_logits(model, _IMAGES)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_one_object_has_one_wrapper():
    model = _build_model()
    wrapped = wrap_classifier(model)
    assert wrap_classifier(model) is wrapped and wrap_classifier(wrapped) is wrapped
    assert wrap_classifier(model, pixel_range=(-1, 1)) is not wrapped


@pytest.mark.slow
def test_kinds_of_outputs_over_many_models():
    # The class that NumPy finds from the outputs themselves is that of the logits.
    rng = np.random.default_rng(7)
    for number in range(200):
        kind = classifier.OUTPUT_KINDS[number % len(classifier.OUTPUT_KINDS)]
        num_classes = 1 if kind.startswith("binary") else int(rng.integers(2, 12))
        weights = rng.normal(size=(6, num_classes), scale=rng.choice([0.1, 1, 5])).astype("f")
        bias = rng.normal(size=num_classes).astype("f")
        activation = {
            "log_probabilities": tf.nn.log_softmax,
            "softmax": tf.nn.softmax,
            "sigmoid": tf.sigmoid,
            "binary_probability": tf.sigmoid,
        }.get(kind, tf.identity)
        dtype = rng.choice(["float16", "float32", "float64"])

        def logits_fn(x, weights=weights, bias=bias, activation=activation, dtype=dtype):
            return tf.cast(activation(x @ weights + bias), dtype)

        images = rng.random((int(rng.integers(1, 9)), 6)).astype(np.float32)
        outputs = activation(images @ weights + bias).numpy().astype(dtype).astype("f")
        logits = predict_logits(logits_fn, images).numpy()
        assert logits.shape == (len(images), max(num_classes, 2)) and np.isfinite(logits).all()
        if num_classes == 1:
            threshold = 0.5 if kind == "binary_probability" else 0.0
            expected = (outputs[:, 0] > threshold).astype(int)
            decided = outputs[:, 0] != threshold
        else:
            expected = outputs.argmax(1)
            top = np.sort(outputs, 1)
            decided = top[:, -1] > top[:, -2]
        np.testing.assert_array_equal(logits.argmax(1)[decided], expected[decided], (number, kind))
