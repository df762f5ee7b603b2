"""Supplement, Figs. 2 and 3 in the report, from rows and arrays by hand."""

import numpy as np
import pytest
from matplotlib.text import Text

from qup.augmentation import trajectories
from qup.core.measurements import ModelInfo, Row
from qup.reproduction import presets
from qup.reproduction.report import render, sections
from qup.reproduction.report.data import ReportData, select_trajectory
from qup.reproduction.report.document import Document, ReportFigure

_CPU = presets.get_scale("cpu")
_NETWORK = _CPU.tables["table2"].networks[0]
_FILE = "arrays/x/images.npz"
_PGD = {"num_steps": 4, "random_start": False, "loss": "cross_entropy", "pixel_clip": True}


def _row(measure, value, *, seed=0, kind="CL", artifact="", **parameters):
    attack = measure == "robust_accuracy"
    if kind == "ACL":
        parameters["through"] = "both"
    told = {"split": "test"} | (_PGD if attack else {}) | parameters
    return Row(
        "mnist",
        "convnet",
        kind,
        "pgd" if attack else "",
        0.1 if attack else None,
        measure,
        value,
        None,
        100,
        1,
        seed,
        artifact,
        told,
    )


def _walk(figure=None, seeds=(0, 1), artifact=""):
    named = {"figure": figure} if figure else {}
    return [
        _row(
            measure,
            base + step + seed,
            seed=seed,
            artifact=artifact,
            images="X_n",
            step=step,
            **named | {"split": "train"},
        )
        for seed in seeds
        for step in (0, 1, 2, 3, 4, 5, 10, 20, 50)
        for measure, base in (("test_accuracy", 49.0), ("robust_accuracy", 20.0))
    ]


def _accuracies():
    return [
        _row(measure, value, kind=kind)
        for kind, values in (("CL", (90.0, 10.0)), ("ACL", (80.0, 30.0)))
        for measure, value in zip(("test_accuracy", "robust_accuracy"), values, strict=True)
    ]


def _section(name, rows, folder=None):
    return sections.get(name)(ReportData(folder, tuple(rows), _CPU))


def _text(section):
    return render.render_markdown(Document("", (section,)))


def _pictures(section):
    return [b for b in section.blocks if isinstance(b, ReportFigure)]


def test_counts_of_a_walk_become_rows():
    subject = ModelInfo("mnist", "convnet", "CL", 1, 0)
    counted = {"images": 200, "points": [[0, 190, 20], [5, 200, 150]]}
    rows = trajectories.build_trajectory_rows(subject, counted, {"name": "pgd", "epsilon": 0.1})
    assert [row.value for row in rows] == [95.0, 10.0, 100.0, 75.0]
    assert {row.parameters["split"] for row in rows} == {"train"}
    assert [row.parameters["step"] for row in rows] == [0, 0, 5, 5]


def test_a_walk_counts_once_whoever_measured_it():
    # A control walks test images with other labels: no part of the figure.
    control = [
        _row("test_accuracy", 1.0, images="X_n", step=0, walked_with=labels)
        for labels in ("true", "predicted")
    ]
    both = _walk("supp_fig2", seeds=(0, 1, 2)) + _walk(artifact=_FILE)
    material = ReportData(None, tuple(control + both), _CPU)
    found = list(select_trajectory(material, _NETWORK, 1)["row"])
    assert len(found) == 3 * 9 * 2
    assert {r.seed for r in found if r.artifact} == {0, 1}
    assert {r.seed for r in found if not r.artifact} == {2}


def test_supplement_fig_2_tells_the_ends_of_the_walk():
    found = _section("supp_fig2", _walk("supp_fig2"))
    text = _text(found)
    assert "| ConvNet | 1 | 0 | 49.50 ± 6.35 (2) | 20.50 ± 6.35 (2) |" in text
    assert "| ConvNet | 1 | 50 | 99.50 ± 6.35 (2) |" in text
    (picture,) = _pictures(found)
    assert picture.name == "supp-fig2-mnist"
    (axis,) = picture.figure.axes
    assert axis.get_title() == "1 epoch"


@pytest.mark.parametrize("kept", [True, False])
def test_supplement_fig_3_holds_our_numbers(kept, tmp_path):
    (tmp_path / "arrays" / "x").mkdir(parents=True)
    if kept:
        stages = ("x_0", "x_n", "translated", "attacked")
        image = np.full((2, 8, 8, 1), 0.5, np.float32)
        np.savez(tmp_path / _FILE, **dict.fromkeys(stages, image))
    rows = _walk(artifact=_FILE) + _accuracies()
    found = _section("supp_fig3", rows, tmp_path)
    (picture,) = _pictures(found)
    (axis,) = picture.figure.axes
    words = [text.get_text() for text in axis.texts]
    for wanted in (
        "CL\nTA 90.0 %\nRA 10.0 %",
        "ACL\nTA 80.0 %\nRA 30.0 %",
        "$X_{50}$\nTA 99.5 %\nRA 70.5 %",
    ):
        assert any(wanted in text for text in words), wanted
    # The walk has two seeds, the pair one.
    title = " ".join(t.get_text() for t in picture.figure.findobj(Text))
    assert "means over 1 to 2 seeds" in title
    # Eight boxes: the first six, and the last two.
    assert sum(text.startswith("$X_{") for text in words) == 8
    assert len(axis.images) == (5 if kept else 0)
    assert "| 0 | 94.41 | 49.50 ± 6.35 (2) | 3.19 |" in _text(found)


@pytest.mark.parametrize("name", ["supp_fig2", "supp_fig3"])
def test_walks_that_were_not_run_say_so(name):
    found = _section(name, _accuracies())
    assert "not run" in _text(found) and not _pictures(found)
