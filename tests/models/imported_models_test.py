"""A user's model is accepted and gives its own logits, or is refused with a clear error."""

import json
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from qup.core import errors
from qup.models import keras_files, saving, user_models
from qup.models.model_input import ModelInput, describe_input
from qup.models.saved_model import load_saved_model
from qup.models.user_models import LoadOptions
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Model
from qup.pipelines.components.examples import ModelImporter

_SHAPE = (8, 8, 1)
_NUM_CLASSES = 4
_IMAGES = np.random.default_rng(0).random((3, *_SHAPE), np.float32)
_layers = keras.layers


def _build(*, shape=_SHAPE, classes=_NUM_CLASSES, dtype="float32", outputs=1):
    keras.utils.set_random_seed(0)
    image = keras.Input(shape)
    flat = _layers.Flatten()(image)
    ends = [_layers.Dense(classes, dtype=dtype)(flat) for _ in range(outputs)]
    return keras.Model(image, ends if outputs > 1 else ends[0])


def _export(path, function, shape, dtype=tf.float32, **signatures):
    """Writes a SavedModel whose default signature is a function of one tensor."""
    module = tf.Module()
    module.weights = tf.Variable(np.random.default_rng(1).random((64, 4), np.float32))
    module.function = tf.function(
        lambda x: function(x, module.weights), input_signature=[tf.TensorSpec(shape, dtype)]
    )
    tf.saved_model.save(module, str(path), {"serving_default": module.function, **signatures})
    return module


def _multiply(x, weights):
    return tf.matmul(tf.reshape(tf.cast(x, tf.float32), [tf.shape(x)[0], 64]), weights)


def _load(path, **options):
    classifier = user_models.load_user_model(path, LoadOptions(**options), _SHAPE)
    user_models.check_model(classifier, path, _SHAPE, _NUM_CLASSES)
    return classifier


def _import(path, folder, **given):
    folder.mkdir()
    ModelImporter.fn(
        Model(uri=str(folder)),
        content="c",
        dataset="synthetic",
        name="mine",
        image_shape=list(_SHAPE),
        num_classes=_NUM_CLASSES,
        source=str(path),
        **given,
    )
    return artifacts.load_classifier(folder)


def _refuse(path, message, **options):
    with pytest.raises(errors.InputError, match=message) as caught:
        _load(path, **options)
    text = str(caught.value)
    assert len(text) <= 600 and "\n" not in text
    return text


@pytest.mark.parametrize(
    "given,message",
    [
        ({"shape": (9, 9, 1)}, r"8 x 8 x 1; it takes 9 x 9 x 1.*image_size=9"),
        ({"shape": (8, 8, 3)}, "it takes 8 x 8 x 3.*dataset of 3 channels"),
        ({"shape": (1, 8, 8)}, "channels first"),
        ({"classes": 3}, r"\[batch, 4\] .*; it gives \[batch, 3\]"),
        ({"classes": 1}, r"\[batch, 4\] .*; it gives \[batch, 1\]"),
        ({"outputs": 2}, "gives 2 outputs: 0, 1.*--output=NAME"),
        ({"shape": (8, 9, 1)}, "image_size=8,9"),
    ],
)
@pytest.mark.parametrize("suffix", keras_files.SUFFIXES[:2])
def test_a_model_that_cannot_be_attacked_is_reported(given, message, suffix, tmp_path):
    path = tmp_path / f"mine{suffix}"
    _build(**given).save(path)
    _refuse(path, message)


@pytest.mark.parametrize("suffix", keras_files.SUFFIXES)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float64", "float16"])
def test_a_suitable_file_is_accepted(suffix, dtype, tmp_path):
    model, path = _build(classes=5, dtype=dtype), tmp_path / f"mine{suffix}"
    model.save(path)
    classifier = _import(path, tmp_path / "model")
    assert (tmp_path / "model" / f"model{suffix}").exists()
    np.testing.assert_allclose(classifier(_IMAGES), model(_IMAGES), rtol=1e-2, atol=1e-2)


def test_a_sequential_model_stays_itself(tmp_path):
    path = tmp_path / "mine.keras"
    keras.Sequential([keras.Input(_SHAPE), _layers.Flatten(), _layers.Dense(4)]).save(path)
    assert isinstance(_load(path).model, keras.Sequential)


@pytest.mark.parametrize("content", [b"", b"half a file"])
@pytest.mark.parametrize("suffix,kind", [(".keras", r"\.keras archive"), (".h5", "HDF5 file")])
def test_a_damaged_file_is_not_called_absent(content, suffix, kind, tmp_path):
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(content)
    for load in (saving.load_model, user_models.load_user_model):
        with pytest.raises(errors.InputError, match=f"not a complete {kind}") as caught:
            load(path)
        assert "not found" not in str(caught.value)


def test_files_with_the_suffix_of_the_other_format_are_named(tmp_path):
    model = _build()
    model.save(tmp_path / "a.h5")
    (tmp_path / "a.h5").rename(tmp_path / "b.keras")
    _refuse(tmp_path / "b.keras", "it is an HDF5 file. Rename it to b.h5")
    model.save(tmp_path / "a.keras")
    (tmp_path / "a.keras").rename(tmp_path / "b.h5")
    _refuse(tmp_path / "b.h5", r"it is a \.keras archive. Rename it to b\.keras")


def test_a_file_of_weights_is_not_a_model(tmp_path):
    path = tmp_path / "mine.weights.h5"
    _build().save_weights(path)
    _refuse(path, "has weights only.*load_weights")


def _rewrite(path, target, version, rename=lambda text: text):
    """Copies a .keras file as another version of Keras would have written it."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "metadata.json":
                content = json.dumps({"keras_version": version})
            if name == "config.json":
                content = rename(content.decode())
            new.writestr(name, content)


def test_a_file_of_keras_2_is_named_as_such(tmp_path):
    tf_keras = pytest.importorskip("tf_keras")
    image = tf_keras.Input(_SHAPE)
    ends = tf_keras.layers.Dense(4)(tf_keras.layers.Flatten()(image / 2 + tf.sqrt(image)))
    model = tf_keras.Model(image, ends)
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"mine{suffix}")
        text = _refuse(tmp_path / f"mine{suffix}", r"Keras 2 \(2\..*SavedModel")
        assert len(text) < 450
    # What this Keras can read of Keras 2 is read.
    plain = tf_keras.Model(image, tf_keras.layers.Dense(4)(tf_keras.layers.Flatten()(image)))
    plain.save(tmp_path / "plain.h5")
    np.testing.assert_allclose(_load(tmp_path / "plain.h5")(_IMAGES), plain(_IMAGES), atol=1e-6)
    # The way out works.
    model.export(str(tmp_path / "exported"))
    np.testing.assert_allclose(_load(tmp_path / "exported")(_IMAGES), model(_IMAGES), atol=1e-6)


def test_a_file_of_a_newer_keras_names_the_versions(tmp_path):
    _build().save(tmp_path / "a.keras")
    _rewrite(
        tmp_path / "a.keras", tmp_path / "b.keras", "9.1.0", lambda t: t.replace("Dense", "Denser")
    )
    _refuse(
        tmp_path / "b.keras", f"Keras 9.1.0, which is newer than the installed {keras.__version__}"
    )
    # A newer file that this Keras understands is read.
    _rewrite(tmp_path / "a.keras", tmp_path / "c.keras", "9.1.0")
    assert _load(tmp_path / "c.keras")(_IMAGES).shape == (3, 4)


_MODULE = """
import keras

class Plain(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs

@keras.saving.register_keras_serializable("{name}")
class Registered(Plain):
    pass

def shift(inputs):
    return inputs + 1

@keras.saving.register_keras_serializable("{name}")
class Whole(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.dense = keras.layers.Dense(4)

    def call(self, inputs):
        logits = self.dense(keras.ops.reshape(inputs, (-1, 64)))
        return {{"scores": logits, "other": 2 * logits}}
"""


@pytest.fixture
def own_layers(tmp_path, monkeypatch):
    """A module of the user in the current folder, and a function that forgets it again."""
    name = f"layers_{abs(hash(str(tmp_path))) % 10**9}"
    (tmp_path / f"{name}.py").write_text(_MODULE.format(name=name))
    monkeypatch.chdir(tmp_path)

    def forget():
        sys.modules.pop(name, None)
        for key in [k for k in keras.saving.get_custom_objects() if k.startswith(name)]:
            keras.saving.get_custom_objects().pop(key)

    yield name, forget
    forget()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("kind", ["Plain", "Registered", "shift"])
def test_layers_of_ones_own_are_named_and_can_be_imported(kind, suffix, own_layers, tmp_path):
    name, forget = own_layers
    own = getattr(user_models.import_module(name), kind)
    layer = own() if kind != "shift" else _layers.Dense(3, activation=own)
    model = keras.Sequential([keras.Input(_SHAPE), layer, _layers.Flatten(), _layers.Dense(4)])
    path = tmp_path / f"mine{suffix}"
    model.save(path)
    expected = model(_IMAGES)
    forget()
    _refuse(path, f"does not know {kind}.*--import=.*--trust_model")
    _refuse(path, "add --trust_model", imports=(name,))
    assert name not in sys.modules, "a module ran without trust"
    folder = tmp_path / "model"
    classifier = _import(path, folder, imports=[name], trust=True)
    np.testing.assert_allclose(classifier(_IMAGES), expected, atol=1e-6)
    _refuse(path, "'absent_module' of --import", imports=("absent_module",), trust=True)


def test_an_output_of_a_subclassed_model_can_be_chosen(own_layers, tmp_path):
    name, _ = own_layers
    model = user_models.import_module(name).Whole()
    expected, path = model(_IMAGES), tmp_path / "mine.keras"
    model.save(path)
    options = {"imports": (name,), "trust": True}
    _refuse(path, "gives 2 outputs: scores, other.*--output=NAME", **options)
    _refuse(path, "no output 'third'", output="third", **options)
    classifier = _load(path, output="scores", **options)
    np.testing.assert_allclose(classifier(_IMAGES), expected["scores"], atol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_file_runs_only_if_it_is_trusted(suffix, tmp_path):
    path = tmp_path / f"mine{suffix}"
    layers = [keras.Input(_SHAPE), _layers.Lambda(lambda x: 2 * x), _layers.Flatten()]
    model = keras.Sequential([*layers, _layers.Dense(4)])
    model.save(path)
    _refuse(path, "Lambda layer, which is Python code.*--trust_model")
    np.testing.assert_allclose(_load(path, trust=True)(_IMAGES), model(_IMAGES), atol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_outputs_of_a_dictionary_are_taken_by_name(suffix, tmp_path):
    image = keras.Input(_SHAPE)
    logits = _layers.Dense(4)(_layers.Flatten()(image))
    doubled = _layers.Rescaling(2.0)(logits)
    for number, outputs in enumerate(
        [{"logits": logits, "other": doubled}, {"logits": logits}, {"scores": logits}, [logits]]
    ):
        path = tmp_path / f"mine{number}{suffix}"
        model = keras.Model(image, outputs)
        model.save(path)
        first = tf.nest.flatten(model(_IMAGES))[0]
        np.testing.assert_allclose(_load(path)(_IMAGES), first, atol=1e-6)
    path = tmp_path / f"two{suffix}"
    keras.Model(image, {"a": logits, "b": doubled}).save(path)
    _refuse(path, "gives 2 outputs: a, b.*--output=NAME")
    chosen = _load(path, output="b")(_IMAGES)
    np.testing.assert_allclose(chosen, 2 * _load(path, output="a")(_IMAGES), rtol=1e-6)
    _refuse(path, "no output 'c'; it gives: a, b", output="c")


def test_a_model_of_several_inputs_is_refused(tmp_path):
    images = [keras.Input(_SHAPE, name=name) for name in ("left", "right")]
    model = keras.Model(images, _layers.Dense(4)(_layers.Flatten()(_layers.Add()(images))))
    model.save(tmp_path / "mine.keras")
    _refuse(tmp_path / "mine.keras", "takes 2 inputs: left, right")
    model.export(tmp_path / "exported", verbose=False)
    _refuse(tmp_path / "exported", "takes 2 inputs: left, right")


def test_declarations_are_read_without_running():
    assert describe_input(_build()) == ModelInput(_SHAPE, None, "float32")
    image = keras.Input(batch_shape=(2, None, 8, 1), dtype="uint8")
    fixed = keras.Model(image, _layers.GlobalAveragePooling2D()(image))
    assert describe_input(fixed) == ModelInput((None, 8, 1), 2, "uint8")
    assert describe_input(lambda images: images) == ModelInput()
    signature = [tf.TensorSpec([1, 4, 4, 3], tf.uint8)]
    function = tf.function(lambda x: x, input_signature=signature)
    expected = ModelInput((4, 4, 3), 1, "uint8")
    assert describe_input(function) == expected
    assert describe_input(function.get_concrete_function()) == expected
    unknown = tf.function(lambda x: x, input_signature=[tf.TensorSpec(None)])
    assert describe_input(unknown) == ModelInput(None, None, "float32")


def test_a_network_with_global_pooling_is_right_for_one_size(tmp_path):
    layers = [_layers.Conv2D(4, 3), _layers.GlobalAveragePooling2D(), _layers.Dense(4)]
    path = tmp_path / "mine.keras"
    keras.Sequential([keras.Input((16, 16, 1)), *layers]).save(path)
    _refuse(path, r"it takes 16 x 16 x 1.*image_size=16")
    free = keras.Sequential([keras.Input((None, None, 1)), *layers])
    free.save(path)
    np.testing.assert_allclose(_load(path)(_IMAGES), free(_IMAGES), atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("shape", [_SHAPE, (64,), (8, 8)])
def test_a_saved_model_of_fixed_batches_and_flat_images(batch_size, shape, tmp_path):
    path = tmp_path / "saved"
    module = _export(path, _multiply, [batch_size, *shape])
    classifier = _import(path, tmp_path / "model")
    expected = tf.matmul(_IMAGES.reshape(3, 64), module.weights)
    np.testing.assert_allclose(classifier(_IMAGES), expected, rtol=1e-5)
    images = tf.constant(_IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = tf.reduce_sum(classifier(images)[:, 1])
    gradient = np.reshape(tape.gradient(loss, images), (3, 64))
    np.testing.assert_allclose(gradient, np.tile(module.weights[:, 1], (3, 1)), rtol=1e-5)


@pytest.mark.parametrize(
    "shape,message",
    [
        ([None, 9, 9, 1], "9 x 9 x 1"),
        ([None, 784], r"\[batch, 784\]"),
        ([1, 56, 56, 1], "56 x 56 x 1"),
    ],
)
def test_a_saved_model_of_other_images_is_reported(shape, message, tmp_path):
    _export(tmp_path, lambda x, weights: weights[:1] + tf.reduce_sum(x), shape)
    _refuse(tmp_path, f"batches of any size of float32 images 8 x 8 x 1; it takes {message}")


def test_signatures_and_outputs_of_a_saved_model_are_chosen_by_name(tmp_path):
    def scale(factor):
        return tf.function(
            lambda x: {"first": factor * x[:, :4], "second": x[:, 4:]},
            input_signature=[tf.TensorSpec([None, 64])],
        )

    module = tf.Module()
    module.functions = [scale(1.0), scale(2.0)]
    signatures = dict(zip(["one", "two"], module.functions, strict=True))
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures)
    path = tmp_path / "saved"
    _refuse(path, "no signature 'serving_default'; it has: one, two.*--signature=NAME")
    _refuse(path, "gives 2 outputs: first, second.*--output=NAME", signature="two")
    _refuse(path, "no output 'logits'", signature="two", output="logits")
    classifier = _import(path, tmp_path / "model", signature="two", output="first")
    np.testing.assert_allclose(classifier(_IMAGES), 2 * _IMAGES.reshape(3, 64)[:, :4])


def test_a_signature_of_serialized_examples_is_named(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(examples):
        return tf.zeros([tf.shape(examples)[0], 4])

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(tmp_path), {"serving_default": serve})
    _refuse(tmp_path, r"takes strings: serialized tf\.Example records, as TFX.*model\.export")


def test_bytes_need_a_stated_range(tmp_path):
    model = _build(dtype="float32")
    scaled = keras.Sequential([keras.Input(_SHAPE), _layers.Rescaling(1 / 255), model])
    scaled.save(tmp_path / "scaled.keras")
    _refuse(tmp_path / "scaled.keras", r"pixels of 0 to 255.*--pixel_range=0,255")
    expected = model(_IMAGES)
    classifier = _import(tmp_path / "scaled.keras", tmp_path / "model", pixel_range=(0.0, 255.0))
    np.testing.assert_allclose(classifier(_IMAGES), expected, atol=1e-5)
    info = json.loads((tmp_path / "model" / "subject.json").read_text())
    assert info["parameters"] == {"imported": "c", "pixel_range": [0.0, 255.0]}
    # The same of a SavedModel of bytes, which has no gradient.
    _export(tmp_path / "bytes", _multiply, [None, 8, 8, 1], tf.uint8)
    _refuse(tmp_path / "bytes", "it declares uint8 images.*--pixel_range=0,255")
    whole = np.round(_IMAGES * 255)
    logits = _load(tmp_path / "bytes", pixel_range=(0, 255))(whole / np.float32(255))
    module = tf.saved_model.load(str(tmp_path / "bytes"))
    expected = module.signatures["serving_default"](tf.constant(whole, tf.uint8))
    np.testing.assert_allclose(logits, next(iter(expected.values())), rtol=1e-5)


def test_an_attack_of_many_steps_on_one_image(tmp_path):
    from qup import attacks

    _build().export(tmp_path, verbose=False)
    classifier = _load(tmp_path)
    label = np.argmax(classifier(_IMAGES[:1]), 1).astype(np.int32)
    result = attacks.run("pgd", classifier, _IMAGES[:1], label, epsilon=0.3, num_steps=40)
    other = attacks.run(
        "pgd", classifier, _IMAGES[[0, 0]], np.repeat(label, 2), epsilon=0.3, num_steps=40
    )
    np.testing.assert_allclose(result.images[0], other.images[0], atol=1e-6)


def test_truncated_variables_of_a_saved_model_are_reported(tmp_path):
    path = tmp_path / "saved"
    _build().export(path, verbose=False)
    (index,) = path.glob("variables/*.index")
    complete = index.read_bytes()
    for data in path.glob("variables/variables.*"):
        data.write_bytes(data.read_bytes()[: len(complete) // 3])
        _refuse(path, "cannot be read")


def test_any_failure_to_load_is_reported(tmp_path, monkeypatch):
    def fail(path):
        raise IndexError

    monkeypatch.setattr(tf.saved_model, "load", fail)
    with pytest.raises(errors.InputError, match="IndexError"):
        load_saved_model(tmp_path)


def test_a_long_message_of_keras_is_not_passed_on(tmp_path):
    path = tmp_path / "mine.h5"
    _build().save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][2]["config"]["units"] = "x" * 10_000
        file.attrs["model_config"] = json.dumps(config)
    _refuse(path, "cannot be read: Keras .* reports")
