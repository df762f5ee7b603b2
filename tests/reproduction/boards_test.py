"""TensorBoard of a reproduction: HPARAMS, the layout, and no paths."""

import pathlib

import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util.tensor_util import make_ndarray

from qup.core.measurements import Row
from qup.reproduction import presets, tensorboard
from qup.reproduction.report.data import ReportData

_CPU = presets.get_scale("cpu")
_PGD = {"num_steps": 4, "random_start": False, "loss": "cross_entropy", "pixel_clip": True}


def _rows(clean, robust, *, kind="CL", epochs=1, seed=0, **parameters):
    told = {"split": "test", **parameters}
    if kind == "ACL":
        told["through"] = "both"
    common = (None, 1000, epochs, seed)
    return [
        Row("mnist", "convnet", kind, "", None, "test_accuracy", clean, *common, parameters=told),
        Row(
            "mnist",
            "convnet",
            kind,
            "pgd",
            0.1,
            "robust_accuracy",
            robust,
            *common,
            parameters={**told, **_PGD},
        ),
        *(
            Row(
                "mnist",
                "convnet",
                kind,
                attack,
                0.1,
                "robust_accuracy",
                robust - 10,
                *common,
                parameters={**told, "evaluation": "per_image"},
            )
            for attack in ("pgd", "autoattack")
        ),
    ]


def _material(folder):
    rows = _rows(97.0, 60.0) + _rows(98.0, 65.0, epochs=30)
    rows += _rows(99.0, 80.0, kind="ACL") + _rows(97.5, 61.0, seed=1)
    rows += _rows(95.0, 90.0, epochs=10, method="trades")
    # A control is no network of the sweep.
    rows += _rows(10.0, 1.0, kind="ACL", control="permuted_labels")
    return ReportData(folder, tuple(rows), _CPU)


def _read(path):
    held = event_accumulator.EventAccumulator(str(path))
    held.Reload()
    return held


def _hparams(path):
    """Returns the hyperparameters of a run, as TensorBoard reads them."""
    (text,) = [
        content
        for tag, content in _read(path).PluginTagToContent("hparams").items()
        if tag.endswith("session_start_info")
    ]
    data = plugin_data_pb2.HParamsPluginData.FromString(text)
    return {
        key: getattr(value, value.WhichOneof("kind"))
        for key, value in data.session_start_info.hparams.items()
    }


def _values(path):
    held = _read(path)
    return {
        tag: float(make_ndarray(held.Tensors(tag)[-1].tensor_proto))
        for tag in held.Tags()["tensors"]
        if tag.startswith(("CL/", "ACL/"))
    }


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boards")
    # Twice: the second takes the place of the first.
    for _ in range(2):
        tensorboard.write_sweep(_material(folder), folder / "tensorboard")
    return folder / "tensorboard"


def test_each_network_epochs_and_seed_is_a_session(board):
    runs = sorted(path.name for path in (board / tensorboard.SWEEP).iterdir())
    assert runs == [
        "mnist.convnet.seed-0.epoch-1",
        "mnist.convnet.seed-0.epoch-30",
        "mnist.convnet.seed-1.epoch-1",
        "mnist.convnet.trades.seed-0.epoch-10",
    ]
    first = board / tensorboard.SWEEP / runs[0]
    assert _hparams(first) == {
        "dataset": "mnist",
        "model": "convnet",
        "training": "standard",
        "epochs": 1.0,
        "seed": 0.0,
    }
    assert _values(first) == {
        "CL/TA": 97.0,
        "CL/RA_PGD-4": 60.0,
        "CL/RA_PGD-100_strong": 50.0,
        "CL/RA_AutoAttack": 50.0,
        "ACL/TA": 99.0,
        "ACL/RA_PGD-4": 80.0,
        "ACL/RA_PGD-100_strong": 70.0,
        "ACL/RA_AutoAttack": 70.0,
    }
    assert _hparams(board / tensorboard.SWEEP / runs[3])["training"] == "trades"
    # One file each: nothing is left of the first writing.
    for folder in (board / tensorboard.SWEEP).iterdir():
        assert len(list(folder.iterdir())) == 1


def test_the_table_has_its_columns(board):
    (text,) = _read(board / tensorboard.PAGE).PluginTagToContent("hparams").values()
    told = plugin_data_pb2.HParamsPluginData.FromString(text).experiment
    names = {info.name for info in told.hparam_infos}
    assert {"dataset", "model", "training", "epochs", "seed"} <= names
    metrics = [info.name.tag for info in told.metric_infos]
    assert {"CL/TA", "CL/RA_PGD-4", "ACL/RA_AutoAttack"} <= set(metrics)


def test_the_layout_shows_tags_that_there_are(board):
    held = _read(board / tensorboard.PAGE)
    (tag,) = held.PluginTagToContent("custom_scalars")
    (text,) = held.Tensors(tag)[0].tensor_proto.string_val
    page = layout_pb2.Layout.FromString(text)
    assert [c.title for c in page.category] == ["Over epochs", "Training"]
    shown = [t for c in page.category[0].chart for t in c.multiline.tag]
    assert "^CL/RA_AutoAttack$" in shown and "^ACL/TA$" in shown
    line = _read(board / tensorboard.OVER_EPOCHS / "mnist.convnet.seed-0")
    assert [event.step for event in line.Tensors("CL/TA")] == [1, 30]


def test_no_text_tells_a_path(board):
    held = _read(board / tensorboard.PAGE)
    told = held.Tensors("reproduction")[0].tensor_proto.string_val[0].decode()
    assert "seeds 0, 1" in told and "4 networks" in told
    for part in (str(board), str(pathlib.Path.home()), " /"):
        assert part not in told


def test_nothing_measured_is_an_empty_page(tmp_path):
    tensorboard.write_sweep(ReportData(tmp_path, (), _CPU), tmp_path / "board")
    assert [p.name for p in (tmp_path / "board").iterdir()] == [tensorboard.PAGE]
