"""Many small models of every kind: each gives its own logits, or is refused in one short line."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup.core import errors
from qup.models import user_models
from qup.models.user_models import LoadOptions

_SHAPE = (4, 4, 2)
_NUM_PIXELS, _NUM_CLASSES = 32, 3
_NUM_MODELS = 210
# Logits between 0 and 1 would look like probabilities.
_BIAS = (3.0, -2.0, 0.0)
_IMAGES = np.random.default_rng(5).random((5, *_SHAPE), np.float32)

_FORMATS = (".keras", ".h5", "saved_model")
# Declared shape of one image, and whether images of the dataset fit it.
_SHAPES = {
    _SHAPE: True,
    (None, None, 2): True,
    (None, 4, 2): True,
    (_NUM_PIXELS,): True,
    (6, 6, 2): False,
    (4, 4, 1): False,
    (2, 4, 4): False,
    (33,): False,
}
_BATCH_SIZES = (None, None, 1, 2, 7)
_DTYPES = ("float32", "float32", "float64", "float16", "bfloat16", "uint8", "int32", "bool")
_RANGES = (None, None, (0.0, 255.0), (-1.0, 1.0))
# How the logits leave the model, and whether they can be taken.
_OUTPUTS = {
    "plain": True,
    "softmax": True,
    "logits": True,
    "other name": True,
    "half": True,
    "double": True,
    "two named": False,
    "two": False,
    "classes": False,
    "vector": False,
    "cube": False,
    "few": False,
    "not finite": False,
}


def _choose(seed):
    generator = np.random.default_rng(seed)

    def pick(values):
        values = list(values)
        return values[generator.integers(len(values))]

    # Usual values are frequent, so that each unusual one is often seen alone.
    kind = {
        "format": _FORMATS[seed % 3],
        "shape": pick(_SHAPES) if generator.random() < 0.6 else _SHAPE,
        "batch_size": pick(_BATCH_SIZES),
        "dtype": pick(_DTYPES) if generator.random() < 0.5 else "float32",
        "range": pick(_RANGES),
        "output": pick(_OUTPUTS) if generator.random() < 0.6 else "plain",
    }
    return kind, generator


def _compute_logits(x, weights, num_axes):
    """The model: of flat images a product, of others the product of the means of their channels."""
    x = tf.cast(x, tf.float32)
    if num_axes > 1:
        x = tf.reduce_mean(x, list(range(1, num_axes)))
    return tf.matmul(x, tf.cast(weights, tf.float32)) + _BIAS


def _convert(logits, output):
    """Returns the outputs of a model."""
    return {
        "plain": lambda: logits,
        "softmax": lambda: tf.nn.softmax(logits),
        "logits": lambda: {"logits": logits, "other": 2 * logits},
        "other name": lambda: {"scores": logits},
        "half": lambda: tf.cast(logits, tf.float16),
        "double": lambda: tf.cast(logits, tf.float64),
        "two named": lambda: {"first": logits, "second": 2 * logits},
        "two": lambda: [logits, 2 * logits],
        "classes": lambda: tf.argmax(logits, -1, tf.int32),
        "vector": lambda: logits[:, 0],
        "cube": lambda: logits[:, :, None],
        "few": lambda: logits[:, :2],
        "not finite": lambda: logits / 0.0,
    }[output]()


@keras.saving.register_keras_serializable("model_kinds")
class _Network(keras.layers.Layer):
    """The model as a layer."""

    def __init__(self, output, **options):
        super().__init__(**options)
        self._output = output

    def build(self, shape):
        self._num_axes = len(shape) - 1
        self.kernel = self.add_weight(shape=(shape[-1], _NUM_CLASSES), name="kernel")

    def call(self, inputs):
        return _convert(_compute_logits(inputs, self.kernel, self._num_axes), self._output)

    def get_config(self):
        return {**super().get_config(), "output": self._output}


def _save(kind, path, weights):
    shape, output = kind["shape"], kind["output"]
    if kind["format"] == "saved_model":
        module = tf.Module()
        module.weights = tf.Variable(weights)
        signature = [tf.TensorSpec([kind["batch_size"], *shape], kind["dtype"])]

        def serve(x):
            outputs = _convert(_compute_logits(x, module.weights, len(shape)), output)
            return dict(enumerate(outputs)) if output == "two" else outputs

        function = tf.function(
            lambda x: (
                {f"{k}": v for k, v in serve(x).items()}
                if output in ("two", "two named", "logits", "other name")
                else serve(x)
            ),
            input_signature=signature,
        )
        tf.saved_model.save(module, str(path), {"serving_default": function})
        return
    image = keras.Input(batch_shape=(kind["batch_size"], *shape), dtype=kind["dtype"])
    network = _Network(output, dtype="float32")
    model = keras.Model(image, network(image))
    network.kernel.assign(weights)
    model.save(path)


def _expect_logits(kind, weights):
    """Returns the logits of the images, computed by NumPy, and the tolerance."""
    low, high = kind["range"] or (0.0, 1.0)
    pixels = low + (high - low) * _IMAGES.astype(np.float64)
    if "int" in kind["dtype"]:
        pixels = np.round(pixels)
    tolerance = {"float16": 1e-2, "bfloat16": 5e-2}.get(kind["dtype"], 1e-4)
    tolerance = max(tolerance, {"half": 1e-2, "softmax": 1e-3}.get(kind["output"], 0))
    flat = pixels.reshape(5, -1) if len(kind["shape"]) == 1 else pixels.mean((1, 2))
    return flat @ weights + _BIAS, tolerance


def _must_be_taken(kind):
    takes_numbers = kind["dtype"] != "bool"
    is_stated = "int" not in kind["dtype"] or kind["range"] is not None
    if kind["dtype"] == "uint8":
        is_stated = kind["range"] == (0.0, 255.0)
    return _SHAPES[kind["shape"]] and _OUTPUTS[kind["output"]] and takes_numbers and is_stated


def _check_kind(seed, folder):
    """Returns the kind, and whether the model was taken."""
    kind, generator = _choose(seed)
    num_inputs = kind["shape"][-1]
    weights = generator.normal(size=(num_inputs, _NUM_CLASSES)) / np.sqrt(num_inputs)
    # Logits of all ranges are alike, so that no softmax saturates.
    weights = (weights / max(kind["range"] or (1.0,))).astype(np.float32)
    path = folder / f"{seed}{kind['format'] if kind['format'] != 'saved_model' else ''}"
    _save(kind, path, weights)
    try:
        options = LoadOptions(pixel_range=kind["range"])
        classifier = user_models.load_user_model(path, options, _SHAPE)
        user_models.check_model(classifier, path, _SHAPE, _NUM_CLASSES)
    except errors.InputError as error:
        text = str(error)
        assert len(text) <= 600 and "\n" not in text, (kind, text)
        assert not _must_be_taken(kind), (kind, text)
        return kind, text
    expected, tolerance = _expect_logits(kind, weights)
    images = tf.constant(_IMAGES)

    @tf.function(autograph=False)
    def differentiate(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(classifier(images)[:, 0])
        return tape.gradient(loss, images, unconnected_gradients="zero")

    logits = classifier(images).numpy()
    if kind["output"] == "softmax":
        logits, expected = (z - z.mean(1, keepdims=True) for z in (logits, expected))
    np.testing.assert_allclose(logits, expected, atol=tolerance, err_msg=f"{kind}")
    assert differentiate(images).shape == images.shape, kind
    assert _SHAPES[kind["shape"]] and _OUTPUTS[kind["output"]], kind
    return kind, None


@pytest.mark.slow
def test_every_kind_of_model_is_right_or_refused_in_a_line(tmp_path):
    results = [_check_kind(seed, tmp_path) for seed in range(_NUM_MODELS)]
    taken = [kind for kind, text in results if text is None]
    # Neither answer is rare, and every usable value was taken at least once.
    assert 50 < len(taken) < 160
    for name, values in (("format", _FORMATS), ("batch_size", _BATCH_SIZES), ("range", _RANGES)):
        assert {kind[name] for kind in taken} == set(values)
    for name, usable in (("shape", _SHAPES), ("output", _OUTPUTS)):
        assert {kind[name] for kind in taken} == {v for v in usable if usable[v]}
    texts = [text for _, text in results if text is not None]
    for words in ("it takes 6 x 6 x 2", "channels first", "--output=NAME", "--pixel_range=0,255"):
        assert any(words in text for text in texts), words
    assert len(set(itertools.chain(_DTYPES)) - {kind["dtype"] for kind in taken}) == 1


def _damage(content, suffix, generator):
    """Returns a file that was cut; an archive may also lack its middle or have wrong bytes."""
    # HDF5 files have no checksums, and the HDF5 library can loop forever over wrong bytes.
    data, kind = bytearray(content), generator.integers(4 if suffix == ".keras" else 1)
    place = int(generator.integers(len(data)))
    if kind == 0:
        return bytes(data[:place])
    if kind == 1:
        return bytes(data[: place // 50] + data[place:])
    if kind == 2:
        data[place : place + 400] = bytes(400)
    else:
        for i in generator.integers(len(data), size=40):
            data[i] = generator.integers(256)
    return bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_damaged_files_are_read_or_refused_in_a_line(suffix, tmp_path):
    image = keras.Input(_SHAPE)
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)))
    path = tmp_path / f"mine{suffix}"
    model.save(path)
    content, generator, num_refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(80):
        path.write_bytes(_damage(content, suffix, generator))
        try:
            classifier = user_models.load_user_model(path, LoadOptions(), _SHAPE)
            user_models.check_model(classifier, path, _SHAPE, _NUM_CLASSES)
        except errors.InputError as error:
            num_refused += 1
            assert len(str(error)) <= 600 and "\n" not in str(error)
    assert num_refused > 40
