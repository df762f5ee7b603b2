"""Fig. 2 and the supplement's Fig. 1 in the report, from rows by hand."""

import numpy as np
import pytest

from qup.core import measurements
from qup.core.measurements import Row
from qup.pipelines.components.artifacts import ModelEvaluation
from qup.reproduction import presets
from qup.reproduction.binary_toy import packets
from qup.reproduction.components.binary_toy import BinaryToyMover
from qup.reproduction.report import render, sections
from qup.reproduction.report.data import ReportData
from qup.reproduction.report.document import Document, ReportFigure

_FILE = "arrays/x/toy.npz"
_SIDE = 15


def _row(measure, value, *, epochs=1, seed=0, epsilon=None, **parameters):
    return Row(
        "arcs",
        "tanh-32-32",
        "CL",
        "pgd" if epsilon else "",
        epsilon,
        measure,
        value,
        None,
        200,
        epochs,
        seed,
        _FILE,
        parameters,
    )


def _rows():
    """Returns rows of three seeds at 1 and 50 epochs."""
    rows = []
    for seed in range(3):
        for epochs in (1, 50):
            common = {"epochs": epochs, "seed": seed, "figure": "fig2"}
            rows.append(_row("test_accuracy", 90.0 + seed, **common))
            rows.append(_row("robust_accuracy", 50.0, epsilon=0.05, **common))
            for kind in packets.DRAWN_KINDS:
                rows += _packet(kind, epochs, seed, common)
    return rows + packets.average_rows(rows)


def _packet(kind, epochs, seed, common):
    """Returns sigma_x of both labels and axes, .1 ± 0.02, and an overlap."""
    told = {"packet": kind, "domain": "sine", "temperature": 1.0, **common}
    found = [_row("overlap_p", 0.9 - 0.001 * epochs, **told)]
    for label in (0, 1):
        for axis, sign in (("pixel:0", 1), ("pixel:1", -1)):
            where = {**told, "label": label, "axis": axis}
            grown = 0.1 + 0.001 * epochs + 0.0001 * seed + 0.02 * sign
            found.append(_row("sigma_x", grown, **where))
            found.append(_row("sigma_p", 4.0, **where))
    return found


def _arrays():
    places = (0.5 + np.arange(_SIDE)) / _SIDE
    away = (places - 0.5) ** 2
    psi = np.exp(-away[:, None] / 0.02 - away / 0.02)
    psi /= np.sqrt((psi**2).sum()) / _SIDE
    points, labels = np.array([[0.2, 0.3], [0.7, 0.8]]), np.array([0, 1])
    arrays = {
        "epochs": np.array([1, 50]),
        "drawn": np.array(["sine"]),
        "points": points,
        "labels": labels,
    }
    for epochs in (1, 50):
        arrays |= {
            f"{epochs}_sine_psi": np.array([[psi] * 2] * 2, np.float32),
            f"{epochs}_sine_places": places,
            f"{epochs}_sine_lead": places[:, None] - places,
        }
    return arrays


def _section(name, rows, folder=None):
    return sections.get(name)(ReportData(folder, tuple(rows), presets.get_scale("cpu")))


def _saved(tmp_path, arrays):
    (tmp_path / "arrays" / "x").mkdir(parents=True)
    np.savez(tmp_path / _FILE, **arrays)
    return tmp_path


def _pictures(section):
    return [b for b in section.blocks if isinstance(b, ReportFigure)]


def test_means_go_over_labels_and_axes():
    rows = [r for r in _packet("loss", 1, 0, {"epochs": 1, "seed": 0}) if r.measure != "sigma_p"]
    (mean,) = packets.average_rows(rows)
    assert mean.value == pytest.approx(0.101)
    assert mean.parameters["over"] == packets.AVERAGED_OVER
    assert not {"label", "axis"} & mean.parameters.keys()


def test_fig_2_is_drawn_from_arrays_alone(tmp_path):
    found = _section("fig2", _rows(), _saved(tmp_path, _arrays()))
    text = render.render_markdown(Document("", (found,)))
    assert "91.00 ± 2.48 (3)" in text and "50.00 ± 0.00 (3)" in text
    # The mean over labels and axes, and what 49 more epochs change.
    assert "| loss | sine | 1 epoch | 0.101 ± 0.000 (3) |" in text
    assert "0.049 ± 0.000 (3)" in text and "1/2" in text
    tones = {
        cell.text: cell.tone for line in found.blocks[3].body for cell in line if "±" in cell.text
    }
    # The paper draws sigma_x smaller, and overlaps in P larger.
    assert tones["0.049 ± 0.000 (3), opposite"] == "bad"
    assert tones["-0.049 ± 0.000 (3), opposite"] == "bad"
    (picture,) = _pictures(found)
    assert picture.name == "fig2-sine" and picture.alt
    # Two packets of two networks, each with a strip and a field in X and P.
    assert len(picture.figure.axes) == 16


def test_supplement_fig_1_is_drawn_from_arrays_alone(tmp_path):
    points = np.random.default_rng(0).random((9, 2), np.float32)
    arrays = {
        **dict.fromkeys(("points", "attacked", "walked"), points),
        "labels": np.arange(9) % 2,
        "right": np.ones((3, 9), bool),
        "lead": np.subtract.outer(np.arange(201.0), np.arange(201.0)),
        "epsilon": np.array(0.05),
        "num_steps": np.array(4),
        "epochs": np.array(50),
    }
    common = {"figure": "supp_fig1", "split": "test", "epochs": 50}
    rows = [
        _row("test_accuracy", 97.0, **common),
        _row("robust_accuracy", 61.0, epsilon=0.05, **common),
        _row("test_accuracy", 99.0, images="X_n", step=4, **common),
    ]
    found = _section("supp_fig1", rows, _saved(tmp_path, arrays))
    text = render.render_markdown(Document("", (found,)))
    assert "| 50 | 97.00 | 61.00 | 99.00 |" in text
    (picture,) = _pictures(found)
    assert "100.0 % correct" in picture.figure.axes[0].get_title()


@pytest.mark.parametrize("name", ["fig2", "supp_fig1"])
def test_what_was_not_run_or_lost_is_no_picture(name, tmp_path):
    assert "not run" in render.render_markdown(Document("", (_section(name, []),)))
    rows = _rows() if name == "fig2" else [_row("test_accuracy", 97.0, figure=name)]
    assert not _pictures(_section(name, rows, tmp_path))


def test_points_that_were_moved_become_rows_and_arrays(tmp_path):
    made = ModelEvaluation(uri=str(tmp_path))
    BinaryToyMover.fn(made, epochs=[1, 2], train=100, test=20, epsilon=0.05, num_steps=4, shown=5)
    rows = measurements.read_rows(tmp_path / "measurements.csv")
    assert [row.epochs for row in rows] == [1, 1, 1, 2, 2, 2]
    with np.load(tmp_path / "movements.npz", allow_pickle=False) as arrays:
        assert arrays["walked"].shape == (5, 2) and arrays["epochs"] == 2
        away = np.abs(arrays["attacked"] - arrays["points"])
        assert away.max() == pytest.approx(0.05, abs=1e-6)
    found = {(r.measure, r.parameters.get("step")): r.value for r in rows[3:]}
    assert found["robust_accuracy", None] <= found["test_accuracy", None]
    assert found["test_accuracy", 4] >= found["test_accuracy", None]
