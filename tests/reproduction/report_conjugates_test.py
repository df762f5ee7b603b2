"""Table 4 in the report, from rows and arrays made by hand."""

import numpy as np
import pytest
import tensorflow as tf

from qup.core.measurements import Row
from qup.pipelines import figures
from qup.reproduction import presets
from qup.reproduction.report import render, sections
from qup.reproduction.report.data import ReportData
from qup.reproduction.report.document import Document, ReportFigure
from qup.robustness import conjugates
from qup.robustness.conjugates import TABLE_4

_FILE = "arrays/x/conjugates.npz"


def _row(attack, measure, value, seed=0, **parameters):
    told = {"split": "test", "figure": "table4", **parameters}
    return Row(
        "mnist", "convnet", "CL", attack, None, measure, value, None, 50, 1, seed, _FILE, told
    )


def _rows():
    rows = []
    for seed in (0, 1):
        for name in TABLE_4:
            rows.append(_row(name, "success_rate", 50.0 + seed, seed))
        rows.append(_row("jsma", "perturbation_l0", 12.0 + seed, seed))
        for window in ("literal", "symmetric"):
            rows.append(
                _row("jsma", "high_frequency_ratio", 0.9, seed, field="conjugate", window=window)
            )
    return rows


def _arrays(side=12):
    random = np.random.default_rng(0)
    shape = (side, side, 1)
    arrays = {
        "clean": random.random(shape, np.float32),
        "image_id": np.array(7),
        "image_label": np.array(1),
        "class_names": np.array(["a", "b$"]),
    }
    for name, known in TABLE_4.items():
        arrays[f"{name}_attacked"] = arrays["clean"]
        arrays[f"{name}_perturbation"] = np.zeros(shape, np.float32)
        arrays[f"{name}_label"] = np.array(0)
        if known.symbol:
            field = random.normal(size=shape).astype(np.float32)
            arrays[f"{name}_conjugate"] = field
    arrays["jsma_perturbation"] = arrays["jsma_conjugate"]
    arrays["jsma_conjugate_relative"] = np.full(9, 0.5)
    return arrays


def _section(rows, folder=None):
    return sections.get("table4")(ReportData(folder, tuple(rows), presets.get_scale("cpu")))


def test_table_4_is_drawn_from_arrays_alone(tmp_path):
    (tmp_path / "arrays" / "x").mkdir(parents=True)
    np.savez(tmp_path / _FILE, **_arrays())
    found = _section(_rows(), tmp_path)
    text = render.render_markdown(Document("", (found,)))
    assert "50.5 ± 6.4 (2)" in text and "12.500 ± 6.353 (2)" in text
    assert "none adversarial" in text and "none is known" in text
    assert "share of high frequencies of white noise is 0.972" in text
    (picture,) = [b for b in found.blocks if isinstance(b, ReportFigure)]
    assert picture.name == "table4-mnist-convnet-1" and picture.alt
    assert picture.render("png")


def test_table_4_without_rows_or_arrays_says_so(tmp_path):
    text = render.render_markdown(Document("", (_section([]),)))
    assert "not run" in text
    found = _section(_rows(), tmp_path)
    assert not any(isinstance(block, ReportFigure) for block in found.blocks)


def test_curves_are_those_measured_else_those_of_the_image():
    figure = figures.plot_conjugates(_arrays(), "title", "note")
    grid = dict(zip(TABLE_4, figure.axes[4::5], strict=True))
    perturbation, conjugate, _ = grid["jsma"].lines
    np.testing.assert_allclose(conjugate.get_ydata(), 0.5)
    assert len(perturbation.get_ydata()) == 9
    # A perturbation of 0 has no spectrum, and nothing is known of these.
    assert len(grid["square"].lines) == 1
    assert "no perturbation" in grid["square"].texts[0].get_text()


def test_a_linear_classifier_moves_along_its_conjugate():
    weights = np.array([1.0, -2.0, 0.5, 3.0, -1.0, 2.0, 1.5, -0.5, 1.0])

    def linear(images):
        lead = tf.reshape(images, (-1, 9)) @ weights[:, None].astype("f4")
        return tf.concat([tf.zeros_like(lead), lead - 2.5], 1)

    # Leads are 0.25 and 0.8; the attack lowers them by 12.5 epsilon.
    images = np.full((2, 3, 3, 1), 0.5, np.float32)
    images[1] += 0.1
    found = conjugates.measure_attack(
        "basic_iterative", linear, images, np.array([1, 1]), np.arange(2), epsilon=0.03, seed=0
    )
    assert (found.success.value, found.success.n) == (50.0, 2)
    assert found.norms["linf"].value == pytest.approx(0.03, abs=1e-6)
    assert found.cosine.value == pytest.approx(1.0, abs=1e-6)
    shares = [
        found.spectra[key].get_high_frequency_ratio("symmetric")
        for key in ("perturbation", "conjugate")
    ]
    assert (shares[0].n, shares[1].n) == (1, 2)
    assert shares[0].mean == pytest.approx(shares[1].mean, abs=1e-6)
