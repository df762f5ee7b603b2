"""The 18 models: what is known of them, images, lines, the pipeline."""

import importlib.util
import json
import pathlib
import re

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.saving import legacy_h5_format

from qup import datasets
from qup.core import errors, measurements
from qup.core.measurements import ModelInfo
from qup.pipelines import run
from qup.pipelines.components.artifacts import ModelEvaluation
from qup.reproduction.components.imagenet import ImageNetAnalyzer
from qup.reproduction.imagenet import distortions, fits, models, published
from qup.reproduction.imagenet import folder as imagenet_folder
from qup.reproduction.imagenet.fits import FitPoint

_ROOT = pathlib.Path(__file__).parents[2]
_SMALL = "MobileNet-0.25-128"


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "images"
    imagenet_folder.write_synthetic(place)
    for number, name in ((1, "7"), (2, "n01440764"), (3, "n15075141")):
        (place / str(number)).rename(place / name)
    return place


def test_five_of_the_18_are_not_in_keras():
    assert len(models.list_names()) == 18
    assert len(models.list_names(available=True)) == 13
    for name in models.list_names(available=True):
        network = models.get_model(name)
        assert hasattr(keras.applications, network.constructor)
        assert hasattr(keras.applications, network.module)
    assert set(models.list_missing()) == {
        "AlexNet",
        "Inception-v1",
        "Inception-v2",
        "Inception-v4",
        "DenseNet-161-k48",
    }
    with pytest.raises(errors.InputError, match="lacks AlexNet"):
        models.build_model("AlexNet")
    with pytest.raises(errors.InputError, match="Did you mean 'VGG 16'"):
        models.build_model("VGG16")


def test_weight_files_have_kerass_names():
    """Keras's source says which; a renamed file would never be found."""
    for name in models.list_names(available=True):
        network = models.get_model(name)
        module = getattr(keras.applications, network.module)
        stem = module.__name__.split(".")[-1]
        spec = importlib.util.find_spec(f"keras.src.applications.{stem}")
        text = pathlib.Path(spec.origin).read_text("utf-8")
        file = network.weights_file
        if network.module == "mobilenet":
            stem = "mobilenet_{}_tf.h5"
            assert "mobilenet_%s_%d_tf.h5" in text
            digits = {1.0: "1_0_224", 0.5: "5_0_160", 0.25: "2_5_128"}
            assert file == stem.format(digits[network.alpha])
        elif network.module == "resnet_v2":
            assert f'weights_name="{file.partition("_")[0]}"' in text
        else:
            assert file in text, file


def test_random_weights_come_of_the_seed_and_end_in_logits():
    one, same, other = (models.build_model(_SMALL, image_size=32, seed=seed) for seed in (0, 0, 1))
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    logits = one(images).numpy()
    for a, b in zip(one.weights, same.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.weights[0], other.weights[0])
    assert logits.shape == (2, 1000)
    assert abs(logits.sum(-1) - 1).min() > 1e-3
    assert one.count_params() == models.get_model(_SMALL).parameters


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("VGG 16", lambda x: 255 * x[..., ::-1] - [103.939, 116.779, 123.68]),
        ("DenseNet-121-k32", lambda x: (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        (_SMALL, lambda x: 2 * x - 1),
        ("NASNet", lambda x: 2 * x - 1),
    ],
)
def test_preprocessing_is_inside(name, wanted, monkeypatch):
    seen = keras.Sequential([keras.Input((32, 32, 3))])
    monkeypatch.setattr(models, "_construct_model", lambda *given: seen)
    model = models.build_model(name, image_size=32)
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    np.testing.assert_allclose(model(images), wanted(images), atol=2e-4)


def test_weights_of_a_folder_are_read_and_told_apart(tmp_path):
    given = keras.applications.MobileNet(input_shape=(32, 32, 3), alpha=0.25, weights=None)
    name = models.get_model(_SMALL).weights_file
    # Keras's own files are of this older format.
    with h5py.File(tmp_path / name, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, given)
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    model = models.build_model(_SMALL, weights_dir=tmp_path, image_size=32, seed=5)
    expected = given(2 * images - 1)
    np.testing.assert_allclose(tf.nn.softmax(model(images)), expected, atol=1e-6)
    assert len(models.compute_weights_digest(_SMALL, tmp_path)) == 64
    assert models.compute_weights_digest(_SMALL, None) == "random"


def test_missing_and_damaged_weights_say_how_to_go_on(tmp_path):
    for words in (
        "no file vgg16_weights_tf_dim_ordering_tf_kernels.h5",
        "~/.keras/models",
        "leave this model out",
    ):
        with pytest.raises(errors.InputError, match=words):
            models.build_model("VGG 16", weights_dir=tmp_path)
    path = tmp_path / models.get_model(_SMALL).weights_file
    path.write_bytes(b"half a file")
    with pytest.raises(errors.InputError, match="incomplete or belongs to another"):
        models.build_model(_SMALL, weights_dir=tmp_path, image_size=32)
    with pytest.raises(errors.InputError, match="Its default size is 299"):
        models.build_model("Inception-v3", image_size=20)


def test_classes_are_indices_or_wordnet_numbers():
    assert len(imagenet_folder.load_wordnet_numbers()) == 1000
    assert list(imagenet_folder.load_wordnet_numbers()) == sorted(
        imagenet_folder.load_wordnet_numbers()
    )
    assert imagenet_folder.get_class_index("n01440764") == 0
    assert (
        imagenet_folder.get_class_index("n15075141")
        == imagenet_folder.get_class_index("999")
        == 999
    )
    for bad in ("1000", "-1", "tench", "n99999999"):
        with pytest.raises(errors.InputError, match="not an ImageNet class"):
            imagenet_folder.get_class_index(bad)


def test_images_are_cut_to_the_square_in_the_middle(tmp_path):
    # Three stripes, 20 wide each: the middle one is what is left.
    stripes = np.repeat([0, 100, 200], 20).astype(np.uint8)
    image = np.broadcast_to(stripes[None, :, None], (20, 60, 3))
    path = tmp_path / "3" / "wide.JPEG"
    path.parent.mkdir()
    path.write_bytes(tf.io.encode_png(image).numpy())
    found = imagenet_folder.read(tmp_path, image_size=20)
    assert (found.pixels == 100).all() and found.labels.tolist() == [3]
    tall = np.moveaxis(image, 0, 1)
    path.write_bytes(tf.io.encode_png(tall).numpy())
    assert (imagenet_folder.read(tmp_path, image_size=20).pixels == 100).all()
    half = imagenet_folder.read(tmp_path, image_size=10)
    assert half.pixels.shape == (1, 10, 10, 3)
    assert half.pixels[0, 5, 5, 0] == 100


def test_images_have_a_fixed_order_and_a_digest(folder):
    whole = imagenet_folder.read(folder, image_size=8)
    assert sorted(whole.labels) == [0, 0, 7, 999]
    two = imagenet_folder.read(folder, image_size=8, max_images=2)
    np.testing.assert_array_equal(two.pixels, whole.pixels[:2])
    assert two.digest == imagenet_folder.compute_digest(folder, max_images=2)
    assert two.digest != whole.digest
    moved = folder.rename(folder.with_name("elsewhere"))
    assert imagenet_folder.compute_digest(moved) == whole.digest


def test_bad_folders_are_told(folder):
    with pytest.raises(errors.InputError, match="There is no folder"):
        imagenet_folder.read(folder / "none", image_size=8)
    with pytest.raises(errors.InputError, match="contains 4 images; 5 were requested"):
        imagenet_folder.read(folder, image_size=8, max_images=5)
    (folder / "7" / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(errors.InputError, match=r"broken.jpg"):
        imagenet_folder.read(folder, image_size=8)
    (folder / "cats").mkdir()
    with pytest.raises(errors.InputError, match="'cats' is not an ImageNet class"):
        imagenet_folder.compute_digest(folder)


def test_published_values_have_sources_and_no_distortion_is_invented():
    found = published.read()
    assert tuple(found) == models.list_names()
    for of in found.values():
        assert 40 < of.top_1 < 83 and of.top_1_source
        assert of.ifgsm_linf is of.cw_l2_per_element is None
        assert of.clever_l2_per_element is None


def test_a_users_published_values_are_read_and_checked(tmp_path):
    path = tmp_path / "mine.csv"
    header = (
        "model,top_1,top_1_source,ifgsm_linf,cw_l2_per_element,"
        "clever_l2_per_element,distortions_source\n"
    )
    path.write_text(header + "VGG 16,71.5,here,0.01,3e-6,,there\n")
    assert published.read(path)["VGG 16"].cw_l2_per_element == 3e-6
    assert published.read(path)["AlexNet"].top_1 is None
    for line, words in (
        ("VGG 16,71.5,here,0.01,,,\n", "without its source"),
        ("VGG 16,x,here,,,,\n", "could not convert"),
        ("VGG 17,70,here,,,,\n", "Did you mean"),
    ):
        path.write_text(header + line)
        with pytest.raises(errors.InputError, match=words):
            published.read(path)
    path.write_text("model,accuracy\nVGG 16,71.5\n")
    with pytest.raises(errors.InputError, match="Compare with published"):
        published.read(path)


def _points(family, errors_, slope, intercept):
    return [FitPoint(family, 100 * (1 - e), intercept + slope * np.log(e)) for e in errors_]


def test_a_line_is_found_exactly():
    points = _points("VGG", (0.5, 0.3, 0.2, 0.1), slope=-2.0, intercept=3.0)
    found = fits.fit_line(points)
    assert found.slope == pytest.approx(-2) and found.n == 4
    assert found.intercept == pytest.approx(3)
    assert found.stderr == pytest.approx(0, abs=1e-9)
    # By hand: x = 0, 1, 2 (in -ln error), y = 0, 1, 0: slope 0, residuals
    # -1/3, 2/3, -1/3, so stderr^2 = (2/3) / 1 / 2.
    bent = [FitPoint("", 100 * (1 - np.exp(-x)), y) for x, y in ((0, 0.0), (1, 1.0), (2, 0.0))]
    found = fits.fit_line(bent)
    assert found.slope == pytest.approx(0)
    assert found.stderr == pytest.approx(1 / np.sqrt(3))
    assert found.degrees_of_freedom == 1


def test_simpsons_paradox_is_seen():
    """Families lie on a rising line; inside each the slope is the other."""
    noise = 0.01 * np.array([1, -1, 1])
    points = []
    for family, centre in (("VGG", 0.1), ("ResNet", 0.2), ("NASNet", 0.4)):
        shares = centre * np.array([0.9, 1.0, 1.1])
        own = _points(family, shares, -1.0, 2 * np.log(centre) * 1.5)
        points += [p._replace(distortion=p.distortion + e) for p, e in zip(own, noise, strict=True)]
    assert fits.fit_line(points).slope > 0
    assert fits.fit_shared_slope(points).slope == pytest.approx(-1, abs=0.1)
    assert "Simpson's paradox" in fits.format_slope_verdict(points)
    straight = _points("VGG", (0.1, 0.2, 0.3), 1.0, 0) + _points(
        "NASNet", (0.15, 0.25, 0.5), 1.0, 0
    )
    assert "of one sign" in fits.format_slope_verdict(straight)


def test_too_few_points_are_refused_in_words():
    two = _points("VGG", (0.1, 0.2), 1.0, 0)
    with pytest.raises(errors.InputError, match="at least 3 models; got 2"):
        fits.fit_line(two)
    with pytest.raises(errors.InputError, match="two differences"):
        fits.fit_shared_slope([*two, *_points("NASNet", (0.2,), 1.0, 0)])
    assert fits.format_slope_verdict(two).startswith("No comparison: A slope")
    with pytest.raises(errors.InputError, match="one accuracy"):
        fits.fit_line(_points("VGG", (0.1, 0.1, 0.1), 1.0, 0))
    with pytest.raises(errors.InputError, match="below 100"):
        fits.fit_line([FitPoint("VGG", 100.0, 1.0)] * 3)


_SIZES = {
    "num_attacked": 3,
    "num_clever": 2,
    "batch_size": 4,
    "labels": "predicted",
    "targets": "second_likely",
    "ifgsm": {"initial_epsilon": 0.5, "num_steps": 5, "max_attempts": 2},
    "carlini_wagner": {
        "num_steps": 10,
        "learning_rate": 0.1,
        "search_steps": 2,
        "initial_constant": 1e3,
    },
    "clever": {"num_batches": 6, "num_samples": 4, "radius": 3.0},
}


def _analysed(folder, place, num_images=4, **changes):
    made = ModelEvaluation(uri=str(place))
    place.mkdir()
    ImageNetAnalyzer.fn(
        made,
        network=_SMALL,
        images=imagenet_folder.compute_digest(folder, max_images=4),
        weights="random",
        images_dir=str(folder),
        num_images=num_images,
        image_size=32,
        measuring=_SIZES | changes,
    )
    return measurements.read_rows(place / "measurements.csv"), np.load(place / "distortions.npz")


@pytest.fixture
def quick(monkeypatch):
    """A network that compiles in no time, in the place of Keras's."""

    def build(name, *, image_size, **given):
        keras.utils.set_random_seed(0)
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input((image_size, image_size, 3)),
                layers.Conv2D(4, 5, strides=4, activation="relu"),
                layers.Flatten(),
                layers.Dense(1000),
            ]
        )

    monkeypatch.setattr(models, "build_model", build)


@pytest.mark.slow
def test_the_pipeline_runs_on_mobilenet(folder, tmp_path):
    _assert_run(*_analysed(folder, tmp_path / "one"))


def test_the_pipeline_runs(folder, tmp_path, quick):
    rows, arrays = _analysed(folder, tmp_path / "one")
    _assert_run(rows, arrays)
    found = {(row.measure, row.attack): row for row in rows}
    assert found["success_rate", "carlini_wagner"].value == 100
    far = found["mean_l2_per_element", "carlini_wagner"]
    assert far.value * 3072 == pytest.approx(arrays["carlini_wagner_l2"].mean())
    assert far.value * 3072 == pytest.approx(found["mean_l2", "carlini_wagner"].value)
    assert far.parameters["divisor"] == 3072
    linf = found["mean_linf", "iterative_fgsm_search"]
    assert linf.value == pytest.approx(arrays["ifgsm_linf"].mean())


def _assert_run(rows, arrays):
    by_measure = {(row.measure, row.attack): row for row in rows}
    assert by_measure["test_accuracy", ""].n == 4
    for name in ("iterative_fgsm_search", "carlini_wagner"):
        assert by_measure["success_rate", name].n == 3
    assert by_measure["mean_clever", ""].n == 2
    per = by_measure["mean_clever_per_element", ""]
    assert per.parameters["divisor"] == 32 * 32 * 3
    assert per.value == pytest.approx(by_measure["mean_clever", ""].value / 3072)
    assert arrays["clever_l2"].shape == (2,)
    assert arrays["ifgsm_linf"].shape == arrays["target"].shape == (3,)
    assert (arrays["target"] != arrays["predicted"][:3]).all()
    assert rows[0].parameters["weights"] == "random"
    assert {row.artifact for row in rows} == {"distortions.npz"}
    json.dumps([row.parameters for row in rows])


def test_a_linear_classifier_gives_the_exact_distances():
    """With two classes the target is the other one, whatever is drawn."""
    rng = np.random.default_rng(0)
    slope = rng.normal(size=(48, 2)).astype(np.float32)
    offset = tf.constant(-120 / 255 * slope.sum(0))

    def classifier(images):
        return tf.reshape(images, (-1, 48)) @ slope + offset

    pixels = rng.integers(100, 141, (6, 4, 4, 3)).astype(np.uint8)
    logits = classifier(pixels / np.float32(255)).numpy()
    labels = logits.argmax(-1).astype(np.int32)
    labels[[1, 4]] = 1 - labels[[1, 4]]
    options = distortions.DistortionOptions(
        num_attacked=3,
        num_clever=2,
        batch_size=4,
        ifgsm={"initial_epsilon": 0.02, "num_steps": 50, "max_attempts": 9},
        carlini_wagner={
            "num_steps": 150,
            "learning_rate": 0.005,
            "search_steps": 9,
            "initial_constant": 0.1,
        },
        clever={"num_batches": 5, "num_samples": 8, "radius": 3.0},
    )
    found = distortions.measure_distortions(classifier, pixels, labels, np.arange(6), options)
    assert found.accuracy.value == pytest.approx(100 * 4 / 6)
    assert found.chosen.tolist() == [0, 2, 3]
    np.testing.assert_array_equal(found.targets, 1 - labels[found.chosen])
    gaps = np.abs(logits[:, 0] - logits[:, 1])[found.chosen]
    width = np.abs(slope[:, 0] - slope[:, 1])
    arrays = found.to_arrays()
    exact = gaps / np.sqrt((width**2).sum())
    np.testing.assert_allclose(arrays["clever_l2"], exact[:2], rtol=1e-4)
    over = arrays["carlini_wagner_l2"] / exact
    assert over.min() > 1 - 1e-4 and over.max() < 1.1
    over = arrays["ifgsm_linf"] / (gaps / width.sum())
    assert over.min() > 1 - 1e-4 and over.max() < 1.05
    subject = ModelInfo("imagenet", _SMALL, "CL", 0, 0, {"weights": "x"})
    rows = distortions.build_distortion_rows(subject, found, options)
    marks = {(row.measure, row.attack): row.value for row in rows}
    assert marks["mean_linf", "iterative_fgsm_search"] == pytest.approx(arrays["ifgsm_linf"].mean())
    l2 = arrays["carlini_wagner_l2"].mean() / 48
    assert marks["mean_l2_per_element", "carlini_wagner"] == pytest.approx(l2)
    assert marks["mean_clever_per_element", ""] == pytest.approx(exact[:2].mean() / 48, rel=1e-4)


@pytest.mark.parametrize("dataset", ["digits", "synthetic"])
def test_distortions_of_any_classifier_and_images(dataset):
    """Networks of the report are measured as those of ImageNet."""
    images, labels, ids = datasets.load(dataset).get_arrays("test")
    num_classes = datasets.load(dataset).info.num_classes
    flat = images.reshape(len(images), -1) / 255
    means = np.stack([flat[labels == c].mean(0) for c in range(num_classes)], 1).astype(np.float32)
    offset = -0.5 * (means**2).sum(0)

    def classifier(inputs):
        return 10 * (tf.reshape(inputs, (-1, len(means))) @ means + offset)

    options = distortions.DistortionOptions(
        num_attacked=4,
        num_clever=2,
        batch_size=4,
        ifgsm={"initial_epsilon": 0.1, "num_steps": 20, "max_attempts": 4},
        carlini_wagner={
            "num_steps": 100,
            "learning_rate": 0.01,
            "search_steps": 6,
            "initial_constant": 0.1,
        },
        clever={"num_batches": 4, "num_samples": 4, "radius": 5.0},
    )
    result = distortions.measure_distortions(
        classifier, images[:40], labels[:40], ids[:40], options
    )
    assert (result.predicted == labels[:40])[result.chosen].all() and len(result.chosen) == 4
    assert (result.targets != labels[result.chosen]).all()
    assert result.num_elements == images[0].size
    arrays = result.to_arrays()
    # The L2 distance to a target class of a linear classifier is known.
    logits = classifier(images[result.chosen] / np.float32(255)).numpy()
    rows, classes = np.arange(4), labels[result.chosen]
    gaps = logits[rows, classes] - logits[rows, result.targets]
    widths = 10 * np.linalg.norm(means[:, classes] - means[:, result.targets], axis=0)
    exact = gaps / widths
    np.testing.assert_allclose(arrays["clever_l2"], np.minimum(exact[:2], 5), rtol=1e-3)
    assert result.results["carlini_wagner"].success.all()
    assert (arrays["carlini_wagner_l2"] > exact * (1 - 1e-4)).all()
    measures = {
        row.measure
        for row in distortions.build_distortion_rows(
            ModelInfo(dataset, "linear", "CL", 0, 0), result, options
        )
    }
    assert {"mean_linf", "mean_l2_per_element", "mean_clever_per_element"} <= measures


def test_only_the_two_attacks_count_for_the_component():
    node = ImageNetAnalyzer(network=_SMALL, images="a", weights="random", images_dir="images")
    reached = run.CODE.list_reached(ImageNetAnalyzer.fn, node.get_counted_parameters())
    names = {name for _, name in reached}
    assert {"CarliniWagner", "IterativeFGSMSearch"} <= names
    assert not {"PGD", "mnist"} & names


def test_nothing_is_attacked_where_nothing_is_right(folder, tmp_path, quick):
    rows, arrays = _analysed(folder, tmp_path / "one", labels="true")
    right = (arrays["label"] == arrays["predicted"]).sum()
    assert len(arrays["target"]) == right
    if not right:
        assert [row.measure for row in rows] == ["test_accuracy"]
    with pytest.raises(errors.InputError, match="'true' or 'predicted'"):
        _analysed(folder, tmp_path / "two", labels="guessed")
    with pytest.raises(errors.InputError, match="Did you mean 'num_clever'"):
        _analysed(folder, tmp_path / "three", num_clevers=3)


def test_other_files_than_asked_for_are_refused(folder, tmp_path, quick):
    with pytest.raises(errors.InputError, match="not those"):
        _analysed(folder, tmp_path / "one", num_images=3)


@pytest.mark.slow
def test_the_documents_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (_ROOT / "docs" / "imagenet.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(code, {})
    rows = measurements.read_rows(tmp_path / "small" / "measurements.csv")
    assert {row.model for row in rows} == {_SMALL}
    for name in models.list_names(available=True):
        line = f"| {name} | `{models.get_model(name).weights_file}` | "
        assert f"{line}{models.get_model(name).image_size} |" in text


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=getattr(pytest.mark, "slow" if name == _SMALL else "exhaustive"))
        for name in models.list_names(available=True)
    ],
)
def test_every_model_is_what_the_table_says(name):
    network = models.get_model(name)
    # The dense layers of VGG fix its size.
    size = network.image_size if network.family == "VGG" else 96
    model = models.build_model(name, image_size=size)
    assert model.count_params() == network.parameters
    assert model.output_shape == (None, 1000)
