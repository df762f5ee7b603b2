"""Figures of a measured relation show what was measured, and only that."""

import io

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from qup import uncertainty
from qup.core import errors
from qup.uncertainty import boundary, importance
from qup.uncertainty import figures as uncertainty_figures
from qup.uncertainty import records as uncertainty_records
from qup.uncertainty.figures import maps, style
from qup.uncertainty.figures.style import Series
from tests.uncertainty.synthetic import accuracy, check, record, run


def _plot(*records, rows=()):
    return uncertainty_figures.plot_relations(list(records), list(rows))


def _read_texts(figure) -> str:
    parts = [figure, *figure.subfigs]
    texts = [text.get_text() for part in parts for text in part.texts]
    for axis in figure.axes:
        texts += [axis.get_title(position) for position in ("left", "center")]
        texts += [axis.get_xlabel(), axis.get_ylabel()]
        texts += [label.get_text() for label in axis.get_yticklabels()]
        texts += [label.get_text() for label in axis.get_xticklabels()]
    return " ".join(texts).replace("\n", " ")


def _read_points(axis) -> list[tuple[float, float]]:
    """Returns (y, error bar's length) of every point with an error bar."""
    points = []
    for container in axis.containers:
        line, _, bars = container.lines
        segment = bars[0].get_segments()[0]
        points.append((float(line.get_ydata()[0]), float(np.ptp(segment[:, 1]))))
    return points


def _find_panel(figure, title):
    return next(a for a in figure.axes if title in _read_title(a))


def _read_title(axis) -> str:
    return axis.get_title("left") + axis.get_title("center")


def _make_record(values, measure="uncertainty_product", **metadata):
    values = np.asarray(values, float)
    return record(changes={measure: (values, 1e-3)}, **metadata)


def test_a_run_has_every_figure_and_each_names_its_subject():
    figures = _plot(*run()[0], rows=run()[1])
    assert set(figures) == {
        "maps",
        "product-by-epoch",
        "product-histogram",
        "temperature",
        "controls",
        "traces",
        "checks",
    }
    for figure in figures.values():
        text = _read_texts(figure)
        assert "tiny on toy" in text
        assert "loss packet" in text
        assert "window of width s = 0.1" in text


def test_one_record_alone_has_what_needs_no_other():
    assert set(_plot(record())) == {"maps", "product-histogram", "checks"}
    bare = record(image_shape=None, checks=[], pixels=0, directions=3)
    assert set(_plot(bare)) == {"directions", "checks"}
    metadata = {
        "estimator",
        "domain",
        "vanishes",
        "n",
        "gradient_calls",
        "effective_sample_size",
        "diagnostics",
    }
    arrays, rest = record()
    minimal = arrays, {name: rest[name] for name in metadata}
    assert "product-histogram" in _plot(minimal)


def test_no_record_is_refused():
    with pytest.raises(errors.InputError, match="at least one"):
        _plot()


def test_names_distinguish_packets_and_domains():
    names = set(_plot(record(), record(domain_text="box")))
    assert {"maps-window-0.1", "maps-box"} <= names
    assert {"checks-window", "checks-box"} <= names
    names = set(_plot(record(), record(packet="prob")))
    assert {"maps-loss", "maps-prob", "checks-prob"} <= names


def test_further_widths_are_compared_and_not_drawn_in_full():
    figures = _plot(record(), record(epochs=1), record(domain_text="window:0.2"))
    assert "maps" in figures
    panel = _find_panel(figures["checks"], "Window by window")
    assert [label.get_text() for label in panel.get_xticklabels()] == ["0.1", "0.2"]


def test_a_map_shows_every_pixel_around_one_half():
    product = 0.5 + np.arange(16) / 1000
    figure = _plot(_make_record(product))["maps"]
    image = _find_panel(figure, "x\\,").images[-1]
    assert np.allclose(image.get_array(), product.reshape(4, 4))
    low, high = image.get_clim()
    assert low + high == pytest.approx(1.0)


def test_on_the_box_product_and_bound_share_their_colours():
    figure = _plot(record(domain_text="box"))["maps"]
    product = _find_panel(figure, "x\\,").images[-1]
    bound = _find_panel(figure, "bound").images[-1]
    assert product.get_clim() == bound.get_clim()


def test_what_could_not_be_estimated_is_hatched_and_not_coloured():
    product = np.full(16, 0.5)
    product[5] = np.nan
    figure = _plot(_make_record(product))["maps"]
    panel = _find_panel(figure, "x\\,")
    assert panel.patch.get_hatch()
    assert panel.images[-1].get_array().mask[1, 1]
    assert panel.images[0].get_array()[1, 1, 3] == 0
    assert "Hatched" in _read_texts(figure)
    page = _plot(_make_record(np.full(16, 0.5)))["maps"]
    assert not _find_panel(page, "x\\,").patch.get_hatch()
    assert "Hatched" not in _read_texts(page)
    nothing = _plot(_make_record(np.full(16, np.nan)))
    assert "not estimated" in _read_texts(nothing["maps"])


def test_pixels_that_were_not_measured_are_left_white():
    figure = _plot(record(pixels=10))["maps"]
    panel = _find_panel(figure, "x\\,")
    assert (panel.images[0].get_array()[2, 2:] == 1).all()
    assert not panel.patch.get_hatch()
    assert "not measured" in _read_texts(figure)


def test_channels_have_rows_and_too_many_are_counted():
    colour = {"pixels": 12, "image_shape": [2, 2, 3]}
    value = np.arange(12) / 1000 + 0.5
    figure = _plot(_make_record(value, "sigma_x", **colour))["maps"]
    (panel,) = (a for a in figure.axes if "channel 1" in a.get_ylabel())
    assert np.allclose(panel.images[-1].get_array().ravel(), value[1::3])
    many = [record(label=i, **colour) for i in range(6)]
    assert "6 further rows are not shown" in _read_texts(_plot(*many)["maps"])


def test_by_epoch_shows_means_errors_and_controls():
    early = record(epochs=1, changes={"sigma_p": (6.5, 0.1)})
    control = record(control="constant", epochs=0)
    rows = accuracy(80.0, epochs=1) + accuracy(95.0, robust=20.0)
    figure = _plot(early, record(), control, rows=rows)["product-by-epoch"]
    panel = next(a for a in figure.axes if a.get_ylabel() == r"$\sigma_p$")
    (first, second) = _read_points(panel)
    assert first == pytest.approx((6.5, 0.2))
    assert second == pytest.approx((0.5**0.5 / 0.1, 0.02))
    assert "constant" in _read_texts(figure)
    percents = next(a for a in figure.axes if a.get_ylabel() == "percent")
    assert list(percents.lines[0].get_ydata()) == [80.0, 95.0]
    alone = _plot(early, record())["product-by-epoch"]
    assert "percent" not in _read_texts(alone)


def test_numbers_near_one_half_are_written_out():
    changes = {"uncertainty_product": (0.50001, 1e-5)}
    figure = _plot(record(epochs=1), record(changes=changes))
    figure = figure["product-by-epoch"]
    FigureCanvasAgg(figure).draw()
    assert {a.yaxis.get_offset_text().get_text() for a in figure.axes} == {""}


def test_a_mean_that_could_not_be_estimated_is_a_cross():
    unknown = record(epochs=1, changes={"sigma_p": (np.nan, np.nan)})
    figure = _plot(unknown, record())["product-by-epoch"]
    panel = next(a for a in figure.axes if a.get_ylabel() == r"$\sigma_p$")
    assert [line.get_marker() for line in panel.lines].count("x") == 1
    assert len(_read_points(panel)) == 1
    assert "could not be estimated" in _read_texts(figure)


def test_temperature_shows_ta_flat_and_ra_only_where_it_was_measured():
    records = [record(), record(temperature=4.0), record(label=8)]
    rows = accuracy(95.0, robust=20.0)
    figure = _plot(*records, rows=rows)["temperature"]
    percents = next(a for a in figure.axes if a.get_ylabel() == "percent")
    metadata = {tuple(line.get_ydata()) for line in percents.lines}
    assert (95.0, 95.0) in metadata
    assert (20.0,) in metadata
    assert "label 3" in _read_texts(figure)
    assert "label 8" not in _read_texts(figure)
    hot = accuracy(95.0, robust=30.0, temperature=4.0)
    figure = _plot(*records, rows=rows + hot)["temperature"]
    percents = next(a for a in figure.axes if a.get_ylabel() == "percent")
    assert (20.0, 30.0) in {tuple(x.get_ydata()) for x in percents.lines}


def test_controls_name_every_network():
    figure = _plot(*run()[0], rows=run()[1])["controls"]
    text = _read_texts(figure)
    for name in ("untrained", "random labels", "1 epoch", "5 epochs, T = 4"):
        assert name in text
    assert "accuracy, percent" in text


def test_directions_have_a_line_each():
    figure = _plot(record(directions=3))["directions"]
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == ["pca:0", "pca:1", "pca:2"]


def test_distances_are_in_standard_errors_of_the_difference():
    box = record(
        domain_text="box",
        changes={"uncertainty_product": (0.05, 3e-3), "uncertainty_bound": (0.02, 4e-3)},
    )
    (point_record,) = uncertainty_records.build_records([box])
    assert maps.compute_z_scores(point_record) == pytest.approx(np.full(16, 0.03 / 0.005))


def test_the_histogram_of_pure_noise_follows_the_normal_curve():
    rng = np.random.default_rng(0)
    product = 0.5 + 1e-3 * rng.normal(size=4096)
    noise = _make_record(product, pixels=4096, image_shape=[64, 64, 1])
    axis = _plot(noise)["product-histogram"].axes[0]
    curve = dict(zip(*axis.lines[0].get_data(), strict=True))
    positions = np.array(list(curve))
    for bar in axis.patches:
        middle = bar.get_x() + bar.get_width() / 2
        closest = positions[np.abs(positions - middle).argmin()]
        assert bar.get_height() == pytest.approx(curve[closest], abs=0.06)
    assert "deviation 1.0" in axis.texts[0].get_text()


def test_traces_flag_chains_that_disagree():
    figure = _plot(record(estimator="mcmc"))["traces"]
    assert "R-hat 1.002, acceptance 0.80" in _read_texts(figure)
    assert "DISAGREE" not in _read_texts(figure)
    line = figure.axes[0].lines[0]
    # 5000 samples of 4 chains, told 8 times.
    assert line.get_xdata()[-1] == 5000 / 4
    bad = record(estimator="mcmc", diagnostics={"r_hat": 1.2})
    assert "CHAINS DISAGREE" in _read_texts(_plot(bad)["traces"])


def test_checks_compare_b_two_ways_and_ring_what_disagrees():
    faces = {"axes": ["pixel:2", "pixel:9"], "value": [0.992, 0.996], "stderr": [4e-4] * 2}
    metadata = [check("faces", furthest=7.1, allowed=3.6)]
    figure = _plot(record(domain_text="box", faces=faces, checks=metadata))
    panel = next(a for a in figure["checks"].axes if a.get_ylabel() == "B by the faces")
    ring = next(x for x in panel.lines if x.get_markersize() > 10)
    assert ring.get_xydata().tolist() == [[0.992, 0.996]]
    assert "1 of 1 checks DISAGREE" in _read_texts(figure["checks"])


def test_checks_show_the_covariance_of_the_worst_label():
    worse = np.full(16, -0.5)
    worse[7] = -0.44
    records = [record(), _make_record(worse, "covariance", label=8)]
    axis = _find_panel(_plot(*records)["checks"], "label 8")
    ring = next(x for x in axis.lines if x.get_markersize() > 10)
    assert ring.get_xydata().tolist() == [[7.0, -0.44]]


def test_two_estimators_are_compared():
    other = _make_record(np.full(16, 0.502), estimator="mcmc")
    figure = _plot(_make_record(np.full(16, 0.501)), other)["checks"]
    axis = next(a for a in figure.axes if "by MCMC" in a.get_ylabel())
    line = axis.containers[0].lines[0]
    assert np.allclose(line.get_xydata(), [0.501, 0.502])


def test_a_check_that_could_not_be_made_is_no_agreement():
    metadata = [check(), check("momentum", furthest=np.nan, agrees=False)]
    text = _read_texts(_plot(record(checks=metadata))["checks"])
    assert "1 of 2 checks DISAGREE" in text


def test_many_labels_have_different_styles():
    points = uncertainty_records.build_records([record(label=i) for i in range(10)])
    series = Series(points)
    assert len({tuple(series.build_marker(point_record)["color"]) for point_record in points}) == 10
    positions = [series.compute_offset(point_record) for point_record in points]
    assert min(np.diff(positions)) > 0
    assert -0.5 <= min(positions) <= max(positions) <= 0.5


def test_shifted_points_stay_closest_to_their_position():
    for positions in ([1, 2, 3], [1, 10, 50]):
        for position in positions:
            for shift in (-0.5, 0.5):
                x = style.shift_position(position, positions, shift)
                closest = min(positions, key=lambda p, x=x: abs(p - x))
                assert closest == position


def test_every_text_is_inside_its_figure():
    records, rows = run()
    records += [record(label=i) for i in range(9, 12)]
    for name, figure in _plot(*records, rows=rows).items():
        FigureCanvasAgg(figure).draw()
        page = figure.bbox.padded(1)
        texts = [t for part in figure.subfigs for t in part.texts]
        for axis in figure.axes:
            texts += [axis.xaxis.label, axis.yaxis.label, axis.title]
            texts += [axis._left_title, axis._right_title]
        for text in texts:
            if text.get_text() and text.get_visible():
                box = text.get_window_extent()
                assert page.x0 <= box.x0 and box.x1 <= page.x1, (name, text)
                assert page.y0 <= box.y0 and box.y1 <= page.y1, (name, text)


def test_a_real_relation_becomes_a_picture(tmp_path):
    packet = uncertainty.of_function(lambda x: tf.math.log(tf.reduce_sum(x**2, 1)), dimensions=4)
    points = importance.relation(packet, uncertainty.Box(), num_samples=2000, batch_size=50)
    b = boundary.estimate_by_conditionals(packet, uncertainty.Box(), points, ["pixel:0"])
    faces = {"axes": ["pixel:0"], "value": b.value.tolist(), "stderr": b.stderr.tolist()}
    path = tmp_path / "importance.npz"
    uncertainty_records.save(path, points, image_shape=[2, 2, 1], faces=faces)
    figures = _plot(uncertainty_records.load(path))
    assert set(figures) == {"maps", "checks"}
    content = io.BytesIO()
    figures["maps"].savefig(content, dpi=100)
    content.seek(0)
    picture = imread(content)
    # Neither empty nor of one colour.
    assert len(np.unique(picture[..., :3].reshape(-1, 3), axis=0)) > 100
