"""bin.run_uncertainty: summary, rows and errors of small runs."""

import math
import pathlib
import re
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

from configs import synthetic
from qup.core import errors, measurements
from qup.core.types import DatasetInfo
from qup.datasets import examples
from qup.pipelines import uncertainty, uncertainty_request
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples
from qup.pipelines.components.examples import LabelShuffler
from qup.pipelines.uncertainty import UncertaintyRequest
from qup.uncertainty import estimation, records

_ROOT = pathlib.Path(__file__).parents[2]
_SMALL = {"num_samples": 1200, "num_chains": 32, "num_steps": 200, "smoke": True}
_NETWORKS = {"", "mine", "untrained", "constant", "random_labels"}


def _run(workdir, **options):
    config = synthetic.get_config("smoke")
    config.dataset.image_size = 8
    config.workdir = str(workdir)
    return uncertainty.run(config, UncertaintyRequest(**{**_SMALL, **options}))


def _save_network(path, layers, shape=(8, 8, 1)):
    image = keras.Input(shape)
    keras.Model(image, layers(image)).save(path)
    return str(path)


def _build_constant(image, bias):
    logits = keras.layers.Dense(4, kernel_initializer="zeros")
    outputs = logits(keras.layers.Flatten()(image))
    logits.bias.assign(bias)
    return outputs


def _find_rows(workdir, measure, **parameters):
    return [
        row
        for row in measurements.read_rows(workdir / "measurements.csv")
        if row.measure == measure and all(row.parameters.get(k) == v for k, v in parameters.items())
    ]


def _find_mean(workdir, measure, **parameters):
    (row,) = _find_rows(workdir, measure, statistic="mean", **parameters)
    return row


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uncertainty")
    directions = np.random.default_rng(0).normal(size=(2, 8, 8, 1))
    np.save(folder / "directions.npy", directions)
    mine = _save_network(
        folder / "mine.keras", lambda image: keras.layers.Dense(4)(keras.layers.Flatten()(image))
    )
    options = {
        "labels": ("3",),
        "estimator": "both",
        "directions": (
            "pca:2",
            "pixel:7",
            "random:1",
            "sign_gradient",
            f"file:{folder / 'directions.npy'}",
        ),
        "model_paths": (mine,),
    }
    workdir = folder / "run"
    return workdir, _run(workdir, **options), options


def test_summary_and_figures(finished_run):
    workdir, text, _ = finished_run
    assert text.startswith("**loss packet of convnet on synthetic: Gaussian window")
    epochs = "2 epochs"
    for network, domain in (
        (epochs, "window:0.1"),
        (f"{epochs}, T = 0.25", "window:0.1"),
        (epochs, "window:0.05"),
        (epochs, "window:0.2"),
        ("random labels", "window:0.1"),
        ("mine", "window:0.1"),
    ):
        assert re.search(rf"^\| {re.escape(network)} +\| 3 +\| {domain} +\|", text, re.M), network
    for axis in ("pixel:7", "pca:1", "file:0"):
        assert re.search(rf"^\| {axis} +\| 3 +\| IS .* ± ", text, re.M), axis
    summary = (workdir / "uncertainty-loss-window-0.1.md").read_text()
    assert "Matrix form between 6 directions" in summary
    assert " ".join(summary.split()) in " ".join(text.split())
    figures = list((workdir / "figures").glob("uncertainty-loss-window-0.1-*"))
    assert figures and all(path.stat().st_size > 5000 for path in figures)
    (board,) = (workdir / "tensorboard").iterdir()
    shown = board / "uncertainty" / "loss-window-0.1"
    assert list(shown.glob("*tfevents*"))
    assert list((shown / "label-3").glob("*tfevents*"))


def test_every_network_has_its_rows(finished_run):
    workdir, _, _ = finished_run
    for measure in (
        "sigma_x",
        "sigma_p",
        "uncertainty_product",
        "uncertainty_bound",
        "boundary_term",
    ):
        rows = _find_rows(workdir, measure, statistic="mean", domain="window:0.1")
        assert {row.parameters["control"] for row in rows} == _NETWORKS
        assert all(row.stderr is not None for row in rows)
    sizes = _find_rows(workdir, "effective_sample_size", estimator="importance")
    assert all(500 < row.value <= 1200 for row in sizes)
    for measure in ("test_accuracy", "robust_accuracy"):
        rows = _find_rows(workdir, measure, temperature=1.0)
        assert {row.parameters["control"] for row in rows} == _NETWORKS
    (r_hat,) = _find_rows(workdir, "r_hat", control="", temperature=1.0)
    assert r_hat.parameters["estimator"] == "mcmc"
    (least,) = _find_rows(workdir, "least_effective_sample_size", control="")
    (median,) = _find_rows(workdir, "effective_sample_size", estimator="mcmc", control="")
    assert 0 < least.value < median.value and median.value > 500


def test_a_constant_network_has_the_widths_of_the_window(finished_run):
    workdir, _, _ = finished_run
    for measure, truth in (
        ("sigma_x", 0.1 / math.sqrt(2)),
        ("sigma_p", 1 / (0.1 * math.sqrt(2))),
        ("uncertainty_product", 0.5),
    ):
        row = _find_mean(workdir, measure, control="constant")
        assert abs(row.value - truth) < 4 * row.stderr, measure
    half = _find_mean(workdir, "sigma_x", domain="window:0.05")
    assert abs(half.value - 0.05 / math.sqrt(2)) < 1e-3


def test_temperature_changes_the_widths_and_not_ta(finished_run):
    workdir, _, _ = finished_run
    rows = _find_rows(workdir, "test_accuracy", control="", evaluation="uncertainty")
    assert {row.parameters["temperature"] for row in rows} == {0.25, 1.0, 4.0}
    assert len({row.value for row in rows}) == 1
    widths = [
        _find_mean(
            workdir,
            "sigma_p",
            control="",
            estimator="importance",
            domain="window:0.1",
            temperature=temperature,
        ).value
        for temperature in (0.25, 4.0)
    ]
    assert widths[0] != widths[1]


def test_rows_name_the_files_of_their_records(finished_run):
    workdir, _, _ = finished_run
    row = _find_mean(
        workdir, "sigma_x", control="", temperature=1.0, domain="window:0.1", estimator="importance"
    )
    arrays, metadata = records.load(workdir / row.artifact)
    pixels = [name.startswith("pixel:") for name in arrays["axes"]]
    assert sum(pixels) == 64
    assert abs(arrays["sigma_x"][pixels].mean() - row.value) < row.stderr
    assert metadata["image_shape"] == [8, 8, 1] and metadata["label"] == 3
    assert {check["name"] for check in metadata["checks"]} == {"covariance", "momentum", "forms"}
    folder = (workdir / row.artifact).parent
    _, mcmc_metadata = records.load(folder / "mcmc.npz")
    names = {check["name"] for check in mcmc_metadata["checks"]}
    assert names > {"chains", "estimators"}
    names = {f"{name}:0" for name in ("pca", "random", "sign_gradient", "file")}
    names |= {"pca:1", "file:1"}
    with np.load(folder / "matrices" / "mcmc.npz") as matrices:
        assert set(matrices["axes"]) == names
        assert matrices["sigma"].shape == (6, 6)
        assert matrices["least"] > -1e-9
        least = float(matrices["least"])
    assert mcmc_metadata["matrix"]["count"] == 6
    (row,) = _find_rows(workdir, "matrix_least_eigenvalue", estimator="mcmc", control="")
    assert row.value == mcmc_metadata["matrix"]["least"][0] == least
    axis_rows = _find_rows(
        workdir,
        "uncertainty_product",
        control="",
        over="axis",
        temperature=1.0,
        domain="window:0.1",
        estimator="mcmc",
    )
    assert {row.parameters["axis"] for row in axis_rows} == {*names, "pixel:7"}


def test_a_second_start_reuses_everything(finished_run, caplog):
    workdir, text, options = finished_run
    with caplog.at_level("INFO", logger="qup"):
        assert _run(workdir, **options) == text
    messages = [record.getMessage() for record in caplog.records]
    assert any("reused" in line for line in messages)
    assert not any("complete in" in line for line in messages)


def test_another_packet_on_the_box_in_the_same_workdir(finished_run, caplog):
    workdir, _, _ = finished_run
    before = len(_find_rows(workdir, "sigma_x"))
    options = {
        "packet": "prob",
        "domain": "box",
        "temperatures": ("0.001",),
        "directions": ("random:1",),
    }
    with caplog.at_level("INFO", logger="qup"):
        text = _run(workdir, labels=("3",), **options)
    assert "Trainer.epoch-2: complete" not in caplog.text
    assert len(_find_rows(workdir, "sigma_x")) > before
    assert "window:" not in text
    row = _find_mean(workdir, "uncertainty_product", domain="box", control="")
    assert 0 < row.value < 0.1
    _, metadata = records.load(workdir / row.artifact)
    assert [check["name"] for check in metadata["checks"]] == ["faces"]
    names = ["pixel:16", "pixel:48", "random:0"]
    assert metadata["faces"]["axes"] == names
    for measure, truth in (("boundary_term", 1), ("uncertainty_product", 0)):
        row = _find_mean(workdir, measure, domain="box", control="constant")
        assert row.value == pytest.approx(truth, abs=1e-9)
    # The probability is nearly 0 or 1: too few points have a weight.
    line = re.search(r"^\| 2 epochs, T = 0.001 .*$", text, re.M)[0]
    assert "not estimated" in line and " ± " not in line
    assert "num_samples of about" in text or "no number of samples" in text
    assert not _find_rows(workdir, "sigma_x", temperature=0.001)
    for row in _find_rows(workdir, "effective_sample_size", temperature=0.001):
        assert row.parameters["refused"] is True and 0 < row.value < 500
    assert _find_rows(workdir, "test_accuracy", temperature=0.001)
    # Figures of the window are not removed.
    assert list((workdir / "figures").glob("uncertainty-loss-window-0.1-*"))


def test_too_few_effective_samples_are_refused(finished_run):
    workdir, _, _ = finished_run
    with pytest.raises(errors.InputError, match=r"narrower window, or MCMC"):
        _run(workdir, domain="window:300", packet="prob", controls=False)


def _nan(image):
    return _build_constant(image, [np.nan] * 4)


def _kinked(image):
    # Finite at every image, but its gradient is 0 times infinity below 0.
    root = keras.ops.sqrt(keras.ops.relu(image))
    return keras.layers.Dense(4)(keras.layers.Flatten()(root))


def _zero(image):
    return _build_constant(image, [3e38] + [-3e38] * 3)


@pytest.mark.parametrize(
    "layers,message",
    [
        (_nan, "NaN or infinite logits"),
        (_kinked, "gradient is not finite at"),
        (_zero, "zero at every point"),
    ],
)
def test_networks_that_cannot_be_measured(finished_run, tmp_path, layers, message):
    workdir, _, _ = finished_run
    path = _save_network(tmp_path / "bad.keras", layers)
    with pytest.raises(errors.InputError, match=message):
        _run(workdir, model_paths=(path,), controls=False)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"packet": "los"}, "Did you mean 'loss'"),
        ({"domain": "windwo:0.1"}, "Did you mean 'window'"),
        ({"domain": "window"}, "such as window:0.1"),
        ({"domain": "window:-1"}, "above 0"),
        ({"domain": "window:0.00009"}, "cannot resolve .* narrower than"),
        ({"domain": "box:1"}, "takes no width"),
        ({"estimator": "hmc"}, "Known: both, importance, mcmc"),
        ({"labels": ("4",)}, "whole number from 0 to 3; got 4"),
        ({"labels": ("1.5",)}, "whole number from 0 to 3"),
        ({"labels": ("one",)}, "whole numbers, or all"),
        ({"labels": ("nan",)}, "from 0 to 3; got nan"),
        ({"labels": ("inf",)}, "from 0 to 3; got inf"),
        ({"labels": ("1e400",)}, "from 0 to 3; got 1e400"),
        ({"labels": ()}, "empty"),
        ({"centre": "image:100000"}, "number of a test image"),
        ({"centre": "image:" + "9" * 5000}, "number of a test image"),
        ({"centre": "median"}, "must be mean, or image:N"),
        ({"directions": ("pixel:64",)}, "from 0 to 63"),
        ({"directions": ("pixel:" + "9" * 5000,)}, "from 0 to 63"),
        ({"directions": ("pca",)}, "whole number from 1 to 64"),
        ({"directions": ("pcs:3",)}, "Did you mean 'pca'"),
        ({"directions": ("pca:2", "pca:3")}, "twice"),
        ({"directions": ("sign_gradient:2",)}, "takes no number"),
        ({"directions": ("file:absent.npy",)}, "cannot be read"),
        ({"temperatures": ("0",)}, "temperature must be"),
        ({"temperatures": ("0.25", "0.2500000001")}, "equal to 6 digits"),
        ({"temperatures": ("1.0000001",)}, "1.0 is the network itself"),
        ({"temperatures": ("warm",)}, "numbers, such as"),
        ({"num_samples": 100}, "at least 500"),
        ({"num_chains": 3}, "at least 4"),
        ({"num_steps": 0}, "at least 50"),
        ({"num_images": -1}, "num_images"),
        ({"model_paths": ("absent.keras",)}, "exists"),
        ({"model_paths": ("",)}, "got an empty name"),
        ({"pixel_range": "0,255"}, "networks of your own"),
    ],
)
def test_bad_requests_fail_before_any_work(options, message, tmp_path):
    with pytest.raises(errors.InputError, match=message):
        _run(tmp_path / "run", **options)
    assert not (tmp_path / "run" / "pipeline" / "metadata.sqlite").exists()


@pytest.mark.parametrize(
    "array,message",
    [
        (np.ones((2, 63)), r"\[k, 64\]"),
        (np.ones(64), r"\[k, 64\]"),
        (np.zeros((1, 64)), "longer than 0"),
        (np.full((1, 8, 8, 1), np.inf), "finite"),
        (np.ones((0, 64)), r"is empty; got the shape \[0, 64\]"),
        (np.array(["north"]), "must be real numbers"),
        (np.ones((1, 64), complex), "real numbers.* got the dtype complex128"),
        (np.ones((1, 64), "M8[D]"), "real numbers"),
        (np.ones((1, 64), [("x", float)]), "real numbers"),
    ],
)
def test_directions_of_a_file_must_fit(array, message, tmp_path):
    np.save(tmp_path / "u.npy", array)
    with pytest.raises(errors.InputError, match=message):
        _run(tmp_path / "run", directions=(f"file:{tmp_path / 'u.npy'}",))


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\x93NUMPY\1\0\1\0("])
def test_a_file_without_directions(content, tmp_path):
    path = tmp_path / "u.npy"
    path.write_bytes(content)
    with pytest.raises(errors.InputError, match=r"cannot be read.*npy file"):
        _run(tmp_path / "run", directions=(f"file:{path}",))


def test_a_file_of_directions_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "u.npy", np.eye(2, 64, dtype=np.int32))
    info = DatasetInfo("mine", (8, 8, 1), ("a", "b"), {"test": 10})
    request = UncertaintyRequest(directions=("file:~/u.npy",))
    options, file = uncertainty_request.parse_directions(request, info)
    packet = types.SimpleNamespace(size=64)
    _, named_axes = estimation.choose_axes(packet, None, options, directions_file=file, seed=0)
    assert named_axes == ["file:0", "file:1"]


def test_the_width_of_a_window_is_exact():
    texts = {"0.123456789": "0.123456789", "1.0": "1", "1e-4": "0.0001"}
    for width, expected in texts.items():
        assert UncertaintyRequest(domain=f"window:{width}").format_domain() == f"window:{expected}"


def test_temperatures_are_unique():
    request = UncertaintyRequest(temperatures=("4", "1", "0.25", "4.0"))
    assert request.parse_temperatures() == [4, 0.25]


@pytest.mark.parametrize(
    "shape,classes,message",
    [
        ((4, 4, 1), 4, r"float32 images 8 x 8 x 1; it takes 4 x 4 x 1"),
        ((8, 8, 1), 3, r"logits \[batch, 4\].*; it gives \[batch, 3\]"),
        ((8, 8, 1), 1, r"logits \[batch, 4\].*; it gives \[batch, 1\]"),
    ],
)
def test_networks_of_other_images_fail_first(tmp_path, shape, classes, message, caplog):
    path = _save_network(
        tmp_path / "other.keras",
        lambda image: keras.layers.Dense(classes)(keras.layers.Flatten()(image)),
        shape,
    )
    with (
        pytest.raises(errors.InputError, match=f"other.keras .*{message}"),
        caplog.at_level("INFO", logger="qup"),
    ):
        _run(tmp_path / "run", model_paths=(path,))
    # Nothing was trained or measured.
    assert "complete" not in caplog.text


def test_two_networks_of_one_name_are_refused(tmp_path):
    paths = [tmp_path / name / "twin.keras" for name in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    with pytest.raises(errors.InputError, match="Rename the file"):
        _run(tmp_path / "run", model_paths=tuple(map(str, paths)))


def test_shuffled_labels_are_a_permutation(finished_run, tmp_path):
    workdir, _, _ = finished_run
    (examples_folder,) = (workdir / "pipeline").glob("ExampleGen/examples/*")
    shuffled = Examples(uri=str(tmp_path / "shuffled"))
    shuffled.path.mkdir()
    LabelShuffler.fn(Examples(uri=str(examples_folder)), shuffled, seed=1)
    true_data, shuffled_data = (examples.read(p) for p in (examples_folder, shuffled.path))
    for split in ("train", "test"):
        for name, a, b in zip(
            ("images", "labels", "ids"),
            true_data.get_arrays(split),
            shuffled_data.get_arrays(split),
            strict=True,
        ):
            is_shuffled = (split, name) == ("train", "labels")
            assert np.array_equal(a, b) != is_shuffled
            assert np.array_equal(np.sort(a, 0), np.sort(b, 0)) or not is_shuffled


def test_the_untrained_control_is_the_start_of_the_training(finished_run):
    workdir, _, _ = finished_run
    (folder,) = (workdir / "pipeline").glob("ControlBuilder.untrained/model/*")
    subject = artifacts.load_model_info(folder)
    assert (subject.epochs, subject.model) == (0, "convnet")
    network = artifacts.load_network(folder)
    assert not network.get_layer("logits").bias.numpy().any()


def test_the_program_prints_one_line_for_a_mistake(tmp_path):
    flags = ("--dataset=synthetic", "--labels=0,12", "--smoke", f"--workdir={tmp_path / 'run'}")
    process = subprocess.run(
        [sys.executable, "-m", "bin.run_uncertainty", *flags],
        cwd=_ROOT,
        text=True,
        capture_output=True,
        timeout=900,
        check=False,
    )
    assert process.returncode == 1 and not process.stdout
    assert process.stderr == (
        "Error: --labels: a label of synthetic is a whole number from 0 to 3; got 12.\n"
    )
