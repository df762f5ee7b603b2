"""Sections of the controls, of hand-made rows: every number, or "not run"."""

import dataclasses
import math
import pathlib

import numpy as np
import pytest

from qup.core.measurements import Row
from qup.reproduction import presets
from qup.reproduction.imagenet import models
from qup.reproduction.report import claims, data, queries, render, sections
from qup.reproduction.report.claims import Outcome
from qup.reproduction.report.data import ReportData
from qup.reproduction.report.document import Document, Paragraph, ReportFigure, Table

_CPU = presets.get_scale("cpu")
_PGD = {"num_steps": 4, "random_start": False, "loss": "cross_entropy", "pixel_clip": True}


def _rows(
    value,
    measure,
    *,
    attack="",
    kind="CL",
    epochs=1,
    seeds=3,
    n=1000,
    model="convnet",
    dataset="mnist",
    artifact="",
    **parameters,
):
    """Returns a row a seed, .01 apart; several without errors of their own."""
    stderr = None
    if 0 < value < 100 and seeds == 1:
        stderr = 100 * math.sqrt(value / 100 * (1 - value / 100) / n)
    epsilon = 0.1 if attack else None
    return [
        Row(
            dataset,
            model,
            kind,
            attack,
            epsilon,
            measure,
            value + 0.01 * seed,
            stderr,
            n,
            epochs,
            seed,
            artifact,
            {"split": "test", **parameters},
        )
        for seed in range(seeds)
    ]


def _attacked(value, **changes):
    return _rows(value, "robust_accuracy", attack="pgd", **_PGD, **changes)


def _section(name, rows, folder=None):
    folder = folder or pathlib.Path("nowhere")
    return sections.get(name)(ReportData(folder, tuple(rows), _CPU))


def _tables(section):
    return [block for block in section.blocks if isinstance(block, Table)]


def _pictures(section):
    return {b.name: b for b in section.blocks if isinstance(b, ReportFigure)}


def _lines(table):
    """Returns the texts of a table's cells by the first."""
    return {line[0].text: [c.text for c in line[1:]] for line in table.body}


def _words(section):
    return " ".join(b.text for b in section.blocks if isinstance(b, Paragraph))


def _implied(folder):
    np.savez(folder / "templates.npz", templates=np.zeros((10, 4, 4, 1)))
    rows = []
    for number, reader in enumerate(
        ("nearest_template", "classifier_of_delta", "pair", "delta_of_true_label")
    ):
        for images, n in (("all", 1000), ("misclassified", 40)):
            told = {
                "kind": "ACL",
                "read_by": reader,
                "images": images,
                "n": n,
                "through": "both",
                "artifact": "templates.npz",
            }
            measure = "implied_class_accuracy"
            rows += _rows(90.0 - number, measure, **told)
            rows += _rows(30.0 - number, measure, attack="pgd", **_PGD, **told)
    return rows


def test_implied_classes_have_a_table_and_figures(tmp_path):
    section = _section("leaks", _implied(tmp_path), tmp_path)
    lines = _lines(_tables(section)[0])
    assert lines["G(X), nearest mean Delta of a class"] == [
        "90.01 ± 0.02 (3)",
        "90.01 ± 0.02 (3)",
        "30.01 ± 0.02 (3)",
        "30.01 ± 0.02 (3)",
    ]
    assert lines["Delta of the true label"][0] == "87.01 ± 0.02 (3)"
    counts = lines["images (least of all seeds)"]
    assert counts == ["1,000", "40", "1,000", "40"]
    assert {"leak-implied", "leak-templates"} <= set(_pictures(section))
    assert "Transferred attacks: not run" in _words(section)


@pytest.mark.parametrize(
    ("alone", "carried", "words"), [(70.0, 85.0, "is misleading"), (90.0, 85.0, "breaks fewer")]
)
def test_weaker_attacks_that_break_more_are_told(alone, carried, words):
    rows = _attacked(80.0, kind="ACL", through="both", made_on="ACL")
    rows += _attacked(carried, kind="ACL", through="both", made_on="CL")
    rows += _rows(
        3.0,
        "broken_by_transfer_alone",
        kind="ACL",
        attack="pgd",
        **_PGD,
        through="both",
        made_on="CL",
    )
    rows += _attacked(60.0, through="both", made_on="CL")
    rows += _attacked(alone, kind="ACL", through="classifier")
    section = _section("leaks", rows)
    (table,) = _tables(section)
    lines = _lines(table)
    own = lines["ACL, attacked through both networks"]
    assert own == ["80.01 ± 0.02 (3)", "-", "1,000"]
    assert lines["ACL, images attacked on CL"][1] == "3.01 ± 0.02 (3)"
    assert lines["CL, images attacked through the pair"][0] == "not run"
    assert words in _words(section)


def _walk(label, ends):
    rows = []
    for step, (clean, after, before) in zip((0, 20), ends, strict=True):
        told = {"images": "X_n", "step": step, "walked_with": label}
        rows += _rows(clean, "test_accuracy", **told)
        rows += _attacked(after, attacked_image="X_n", **told)
        rows += _attacked(before, attacked_image="X_0", **told)
    return rows


def test_walks_of_test_images_stand_beside_each_other():
    rows = _walk("true", [(97.0, 60.0, 60.0), (100.0, 99.0, 95.0)])
    rows += _walk("predicted", [(97.0, 60.0, 60.0), (97.0, 96.0, 60.0)])
    section = _section("leaks", rows)
    (table,) = _tables(section)
    told = [[cell.text for cell in line] for line in table.body]
    assert [line[:2] for line in told] == [
        ["true labels", "0"],
        ["true labels", "20"],
        ["predicted labels", "0"],
        ["predicted labels", "20"],
    ]
    assert told[1][2].startswith("100.01") and told[3][2].startswith("97.01")
    assert told[1][5] == "1,000"
    figure = _pictures(section)["leak-walks"].figure
    assert [axis.get_title() for axis in figure.axes] == ["true labels", "predicted labels"]


def test_walked_test_images_are_no_training_images():
    """Both name X_n; the supplement's Fig. 2 is of the latter alone."""
    rows = []
    for step, clean, robust in ((0, 97.0, 60.0), (20, 100.0, 99.0)):
        told = {"images": "X_n", "step": step, "split": "train"}
        rows += _rows(clean, "test_accuracy", **told)
        rows += _attacked(robust, **told)
    unseen = _walk("true", [(50.0, 9.0, 9.0), (40.0, 5.0, 5.0)])
    section = _section("supp_fig2", rows + unseen)
    (table,) = _tables(section)
    told = [[cell.text[:5] for cell in line[2:]] for line in table.body]
    assert told == [["0", "97.01", "60.01"], ["20", "100.0", "99.01"]]
    verdict = claims.get("walks_raise_both")(ReportData(None, tuple(rows + unseen), _CPU))
    assert verdict.outcome is Outcome.SUPPORTED


def test_leaks_that_were_not_measured_say_so():
    section = _section("leaks", [])
    assert not _tables(section) and not _pictures(section)
    assert _words(section).count("not run") == 3


def _heated(heat, clean, robust, **changes):
    told = {"temperature": heat, "evaluation": "uncertainty", **changes}
    return _rows(clean, "test_accuracy", **told) + _attacked(robust, **told)


def _sigma(heat, value, **changes):
    return _rows(
        value,
        "sigma_p",
        temperature=heat,
        evaluation="uncertainty",
        domain="box",
        over="pixels",
        statistic="mean",
        packet="loss",
        estimator="importance",
        control="",
        **changes,
    )


def test_temperature_moves_what_it_moves():
    rows = _rows(97.0, "test_accuracy") + _attacked(60.0) + _sigma(1.0, 0.2)
    rows += _heated(4.0, 97.0, 55.0) + _sigma(4.0, 0.4)
    # A robust network of as many epochs is another one.
    rows += _sigma(1.0, 9.0, method="trades")
    section = _section("temperature", rows)
    (table,) = _tables(section)
    told = [[cell.text for cell in line] for line in table.body]
    assert [line[:2] for line in told] == [["1", "1"], ["1", "4"]]
    assert told[1][2:] == ["97.01 ± 0.02 (3)", "55.01 ± 0.02 (3)", "0.41000 ± 0.02484 (3)"]
    words = _words(section)
    assert "TA is the same within 0.05 points, of 3 seeds" in words
    assert "differs by -5.00" in words and "1.95 times" in words
    left, right = _pictures(section)["temperature-mnist-convnet-1"].figure.axes
    assert len(left.containers) == 2 and len(right.containers) == 1


def test_temperature_without_sigma_says_so():
    rows = _rows(97.0, "test_accuracy") + _heated(0.25, 97.0, 65.0)
    words = _words(_section("temperature", rows))
    assert "RA, PGD-4, clipped not run" in words and "sigma_p" in words
    assert "not run" in _words(_section("temperature", []))


def test_another_training_is_not_compared_with():
    rows = _rows(97.0, "test_accuracy") + _attacked(60.0)
    rows += _heated(0.25, 97.0, 65.0)
    rows = [
        dataclasses.replace(row, value=row.value + 1.0)
        if row.seed == 2 and row.parameters.get("temperature")
        else row
        for row in rows
    ]
    section = _section("temperature", rows)
    assert "TA is the same within 0.05 points, of 2 seeds" in _words(section)
    (table,) = _tables(section)
    assert all("(2)" in cell.text for line in table.body for cell in line[2:4])
    alone = [row for row in rows if row.seed == 2]
    assert "not run" in _words(_section("temperature", alone))


def test_refused_estimates_are_told_apart_from_what_was_not_run():
    rows = _sigma(1.0, 0.2, seeds=2, label=0)
    lost = _rows(
        351.0,
        "effective_sample_size",
        temperature=1.0,
        packet="loss",
        evaluation="uncertainty",
        domain="box",
        estimator="importance",
        control="",
        refused=True,
        label=0,
    )[2:]
    (table,) = _tables(_section("uncertainty", rows + lost))
    assert "label 0" in table.caption and table.head[-1] == "refused"
    assert [line[-1].text for line in table.body] == ["seed 2: 351"]
    others = _sigma(1.0, 0.2, epochs=30, label=0)
    (table,) = _tables(_section("uncertainty", lost + others))
    assert [cell.text for cell in table.body[0][4:-1]] == 4 * ["refused"]
    (table,) = _tables(_section("uncertainty", rows))
    assert [line[-1].text for line in table.body] == ["-"]


def _translator(error, width, clean, *, control="", template=0.5):
    told = {
        "kind": "ACL",
        "control": control,
        "translator_parameters": width**2,
        "translator_width": width,
    }
    measure, rows = "translator_l1_error_relative", []
    for name, value in (("translator", error), ("class_template", template)):
        rows += _rows(value, measure, predictor=name, **told)
    rows += _rows(clean, "test_accuracy", through="both", **told)
    return rows + _attacked(clean - 30, through="both", **told)


def test_capacity_is_swept():
    rows = _translator(0.9, 40, 97.0) + _translator(0.3, 80, 98.0, control="width_32")
    rows += _translator(0.2, 40, 99.0, control="delta_1")
    rows += _translator(1.0, 40, 50.0, control="permuted_labels")
    section = _section("capacity", rows + _rows(96.0, "test_accuracy"))
    (table,) = _tables(section)
    lines = _lines(table)
    assert list(lines) == ["Delta_N, the pair's own", "Delta_N, width 32", "Delta_1, one long step"]
    assert lines["Delta_N, width 32"][0] == "6,400"
    assert lines["Delta_1, one long step"][1].startswith("0.2100 ±")
    words = _words(section)
    assert "the error falls with the size" in words
    assert "Delta_1 is learned better" in words
    above, below = _pictures(section)["capacity"].figure.axes
    labels = [text.get_text() for text in above.get_legend().texts]
    assert labels[0] == "template of the true class" and len(labels) == 3
    labels = [text.get_text() for text in below.get_legend().texts]
    assert {"ACL, TA", "CL, TA"} <= set(labels)


def test_one_size_decides_nothing():
    section = _section("capacity", _translator(0.9, 40, 97.0))
    assert "is undecided" in _words(section)
    assert "Delta_1 against Delta_N: not run" in _words(section)
    assert "It was not run" in _words(_section("capacity", []))


def _network(number, robust, *, sigma=True, **changes):
    """Returns rows of a network whose candidates are `number`."""
    told = {"evaluation": "predictors", **changes}
    sampled = {f"clever_{key}": x for key, x in _CPU.clever.items()}
    rows = _rows(97.0, "test_accuracy", **changes)
    rows += _rows(
        robust, "robust_accuracy", attack="autoattack", **{**changes, "evaluation": "per_image"}
    )
    rows += _rows(number, "gradient_l1", **told)
    rows += _rows(10.0 - number, "margin_ratio", **told)
    rows += _rows(0.05 + number / 1e3, "clever_linf", **told, **sampled, clever_radius=0.1)
    # Of another sampling: no second row of a seed.
    rows += _rows(
        9.0, "clever_linf", **told, clever_num_batches=1, clever_num_samples=1, clever_radius=0.1
    )
    return rows + (_sigma(1.0, number, **changes) if sigma else [])


_TABLE = [
    {"model": "convnet", "epochs": 1},
    {"model": "convnet", "epochs": 30},
    {"model": "convnet", "epochs": 50},
    {"model": "resnet", "epochs": 1, "model_depth": 20},
    {"model": "resnet", "epochs": 30, "model_depth": 20},
    {"model": "ygcnn", "epochs": 1},
    {"model": "ygcnn", "epochs": 30},
    {"model": "convnet", "epochs": 10, "method": "trades"},
]


def test_predictors_tell_what_goes_with_robustness():
    rows = []
    for number, changes in enumerate(_TABLE, 1):
        rows += _network(number, 90.0 - 5 * number, sigma=number < 4, **changes)
    section = _section("predictors", rows)
    (table,) = _tables(section)
    lines = _lines(table)
    assert lines["input gradient"][:2] == ["8", "-1.00"]
    assert lines["input gradient"][-1] == "RA falls with it"
    assert lines["input gradient"][4] == "-"
    assert lines["sigma_p, box"] == [
        "3",
        "too few different networks",
        "-",
        "too few different networks",
        "too few different networks",
        "undecided: too few different networks",
    ]
    assert lines["sigma_x, box"][0] == "0"
    # All networks have one TA: no ranks, and no correlation.
    assert lines["TA"][1] == "too few different networks"
    words = _words(section)
    assert "MNIST: 8 networks with RA, AutoAttack" in words
    assert "10 batches of 16 samples in a ball of radius 0.1" in words
    assert "ConvNet, 10 epochs, TRADES" in words
    figure = _pictures(section)["predictors-mnist"].figure
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [len(axis.containers) for axis in shown] == [8, 8, 8, 8, 3]


def test_numbers_are_compared_of_the_seeds_that_have_both():
    rows = []
    for number, changes in enumerate(_TABLE, 1):
        rows += _network(number, 90.0 - 5 * number, **changes)
    # One seed more of RA alone turns the order of the means round.
    far = [
        dataclasses.replace(row, seed=3, value=90.0 - row.value)
        for row in rows
        if row.measure == "robust_accuracy" and row.seed == 0
    ]
    (table,) = _tables(_section("predictors", rows + far))
    assert _lines(table)["input gradient"][1] == "-1.00"


def test_few_networks_predict_nothing():
    rows = _network(1.0, 80.0) + _network(2.0, 70.0, epochs=30)
    section = _section("predictors", rows)
    assert not _tables(section)
    assert "2 networks, too few to correlate" in _words(section)
    for number, changes in enumerate(_TABLE[2:5], 3):
        rows += _network(number, 90.0 - 5 * number, **changes)
    (table,) = _tables(_section("predictors", rows))
    verdicts = {line[-1].text for line in table.body}
    assert "undecided at n = 5" in verdicts and "[" not in table.body[1][2].text
    # 2 / 5! is above .05 / 4, for as many numbers differ.
    assert "p cannot be below 0.017" in table.caption
    assert "It was not run" in _words(_section("predictors", []))


def _models(names, sign, *, weights="abc"):
    """Returns rows whose distortion rises (1) or falls (-1) with the error."""
    rows = []
    for number, name in enumerate(names):
        told = {"family": "", "weights": weights, "num_parameters": 1, "image_files": "f"}
        common = {"model": name, "dataset": "imagenet", "epochs": 0, "seeds": 1, **told}
        rows += _rows(60.0 + 5 * number, "test_accuracy", **common)
        far = 2.0 - sign * 0.1 * number + 0.01 * (number % 2)
        rows += _rows(far, "mean_linf", attack="iterative_fgsm_search", **common, targets="random")
    return rows


@pytest.mark.parametrize(("sign", "outcome"), [(1, Outcome.SUPPORTED), (-1, Outcome.CONTRADICTED)])
def test_lines_of_fig3_have_a_verdict(sign, outcome):
    known = [n for n in models.list_names() if n.startswith(("VGG", "ResNet"))]
    rows = _models(known, sign)
    verdict = claims.get("distortion_falls_with_accuracy")(ReportData(None, tuple(rows), _CPU))
    assert verdict.outcome is outcome and verdict.rows
    (table,) = _tables(_section("fig3_imagenet", rows))
    told = [[cell.text for cell in line] for line in table.body]
    assert told[0][1] == str(len(known)) and "±" in told[0][3]
    assert (float(told[0][3].split()[0]) > 0) == (sign > 0)
    assert told[1][-1] == "not run"


def test_random_weights_decide_nothing():
    known = [n for n in models.list_names() if n.startswith(("VGG", "ResNet"))]
    rows = _models(known, 1, weights="random")
    (table,) = _tables(_section("fig3_imagenet", rows))
    assert {line[-1].text for line in table.body} == {"not run"}
    verdict = claims.get("distortion_falls_with_accuracy")(ReportData(None, tuple(rows), _CPU))
    assert verdict.outcome is Outcome.NOT_RUN


def test_each_class_has_its_accuracies(tmp_path):
    labels = np.array([0, 0, 2, 2, 2, 2])
    right = np.array([1, 1, 1, 1, 1, 0], bool)
    robust = np.array([1, 0, 1, 0, 0, 0], bool)
    counts = data.count_per_class(labels, right, robust)
    np.savez(tmp_path / data.PER_CLASS_FILE, **counts)
    rows = _rows(
        50.0,
        "robust_accuracy",
        attack="autoattack",
        epochs=30,
        n=6,
        evaluation="per_image",
        artifact=data.PER_CLASS_FILE,
        seeds=1,
    )
    section = _section("classes", rows, tmp_path)
    (table,) = _tables(section)
    lines = _lines(table)
    assert table.head[1:3] == ("ConvNet, 30 epochs: TA", "ConvNet, 30 epochs: RA, AutoAttack")
    assert [text.split()[0] for text in lines["0"]] == ["100.00", "50.00", "2"]
    assert [text.split()[0] for text in lines["2"]] == ["75.00", "25.00", "4"]
    (figure,) = (p.figure for p in _pictures(section).values())
    assert len(figure.axes[0].containers) == 2
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"0", "2"} <= texts
    # Rows of an earlier version lead to no counts.
    bare = [dataclasses.replace(row, artifact="") for row in rows]
    assert "It was not run" in _words(_section("classes", bare, tmp_path))


def test_names_of_classes_are_shown_as_they_are(tmp_path):
    labels, yes = np.array([0, 1, 2]), np.ones(3, bool)
    counts = data.count_per_class(labels, yes, yes)
    np.savez(tmp_path / data.PER_CLASS_FILE, **counts)
    rows = _rows(
        100.0,
        "robust_accuracy",
        attack="autoattack",
        epochs=30,
        n=3,
        evaluation="per_image",
        artifact=data.PER_CLASS_FILE,
        seeds=1,
    )
    names = [r"$\frac$ <b>", "digit & two"]
    about = {"class_names": {"mnist": names}}
    material = ReportData(tmp_path, tuple(rows), _CPU, about)
    section = sections.get("classes")(material)
    (table,) = _tables(section)
    # The third has no name.
    assert [line[0].text for line in table.body] == [*names, "2"]
    (figure,) = (p.figure for p in _pictures(section).values())
    figure.canvas.draw()
    page = render.render_html(Document("", (section,)), material)
    assert "&lt;b&gt;" in page and "<b>" not in page.partition("<body")[2]


def test_known_names_stand_in_for_mere_numbers():
    numbers = [str(label) for label in range(10)]
    assert data.resolve_class_names("cifar10", numbers)[6] == "frog"
    assert data.resolve_class_names("mnist", numbers) == tuple(numbers)
    for names in ([], ["cat", "dog"], [*numbers[:3], "x"]):
        assert data.resolve_class_names("cifar10", names) == tuple(names)


def test_the_translators_own_relation_has_a_line_for_each_domain():
    rows = []
    for domain, product in (("box", 0.004), ("window:0.1", 0.5)):
        for measure in ("sigma_x", "sigma_p", "uncertainty_product"):
            value = product if measure == "uncertainty_product" else 0.1
            rows += _rows(
                value,
                measure,
                kind="ACL",
                packet="l1",
                control="translator",
                over="pixels",
                statistic="mean",
                domain=domain,
            )
    (table,) = _tables(_section("generators", rows))
    lines = _lines(table)
    assert lines["window:0.1"][2].startswith("0.51000 ±")
    assert lines["box"][3] == "not run"
    assert "It was not run" in _words(_section("generators", []))
    # They are no packets of the classifier.
    material = ReportData(None, tuple(rows), _CPU)
    assert queries.list_domains(material) == []
