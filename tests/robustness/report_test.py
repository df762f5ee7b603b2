"""How robust a classifier is: the report, its files and its statements."""

import csv
import html
import html.parser
import json
import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import qup
from qup import attacks
from qup.attacks.reliability import Flag
from qup.core import errors
from qup.core.measurements import compute_proportion, compute_wilson_interval
from qup.robustness.masking.case import FLAGGED, NOT_CHECKED, PASSED, CheckResult
from qup.robustness.report import attack_runs, evaluate, page, protocol, write_report
from qup.robustness.report.report import Report

_NUM_IMAGES = 24


@pytest.fixture(scope="module")
def images():
    pixels = np.random.default_rng(0).random((_NUM_IMAGES, 4, 4, 1), np.float32)
    return np.clip(pixels, 0.3, 0.7)


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    return keras.Sequential(layers, name="small")


@pytest.fixture(scope="module")
def labels(classifier, images):
    labels = classifier(images).numpy().argmax(-1)
    # One image is misclassified as it is.
    labels[0] = (labels[0] + 1) % 3
    return labels


@pytest.fixture(scope="module")
def report(classifier, images, labels):
    return evaluate(
        classifier,
        images,
        labels,
        epsilon=[0.01, 0.04],
        attack=["fgsm", "deepfool"],
        norm="linf",
        check_masking=False,
        show_progress=False,
    )


_PUBLISHED = ("apgd_ce", "apgd_t", "fab_t", "square")


def _make_run(success, epsilon, *, correct=None, name="pgd", norm="linf", flags=(), stages=None):
    """Returns a run with distances equal to its budget."""
    success = np.array(success, bool)
    count = len(success)
    correct = np.ones(count, bool) if correct is None else np.array(correct, bool)
    zeros = np.zeros(count)
    result = attacks.results.AttackResult(
        images=(),
        success=success,
        distances={n: np.where(success, epsilon or 0.5, 0.0) for n in ("l0", "l1", "l2", "linf")},
        forward_calls=zeros,
        gradient_calls=zeros + 7,
        stage=np.where(success, 0, -1).astype(np.int32),
        stages=stages or (name,),
        epsilon=np.full(count, np.nan if epsilon is None else epsilon, np.float32),
        correct=correct,
        classes=np.zeros(count, np.int32),
        violations=np.zeros(count, np.int8),
        progress=zeros.astype(np.float32),
        is_saturated=np.zeros(count, bool),
        flags=flags,
    )
    empty = np.zeros((0, 2, 2, 1), np.float32)
    examples = attack_runs.ExampleImages(
        np.zeros(0, np.int64), 0, empty, empty, np.zeros(0, np.int32)
    )
    labels = np.arange(count, dtype=np.int32) % 2
    return attack_runs.AttackRun(name, norm, {}, result, examples, np.arange(count), labels)


def _make_report(*runs, epsilon=0.1, checks=(), **options):
    return Report("net", "data", ("a", "b"), "linf", epsilon, runs, checks, **options)


def test_classes_have_the_names_that_are_given(classifier, images, labels, report):
    options = {"attack": "fgsm", "check_masking": False, "show_progress": False}
    named = evaluate(classifier, images, labels, class_names=["cat", "dog", "ant"], **options)
    names = np.array(["cat", "dog", "ant"])
    records = named.to_records()
    assert [record["label_name"] for record in records] == names[labels].tolist()
    predicted = [record["predicted"] for record in records]
    assert [record["predicted_name"] for record in records] == names[predicted].tolist()
    assert "label_name" not in report.to_records()[0]
    for wrong in (["cat", "dog"], ["cat"] * 4, "cat"):
        with pytest.raises(errors.InputError, match="a list of 3 texts"):
            evaluate(classifier, images, labels, class_names=wrong, **options)


def test_a_report_says_where_its_pages_are(classifier, images, labels, tmp_path):
    options = {"attack": "fgsm", "check_masking": False, "show_progress": False}
    report = evaluate(classifier, images, labels, output=tmp_path / "run", **options)
    (line,) = [line for line in str(report).splitlines() if "page" in line]
    assert line == f"  page             {tmp_path / 'run' / 'robustness.html'}"
    assert report.save_html(str(tmp_path / "again.html")) == tmp_path / "again.html"
    report.save_html(tmp_path / "again.html")
    assert str(report).splitlines()[-1] == f"  page             {tmp_path / 'again.html'}"
    assert str(report).count("page") == 2 and "page" not in report.format_answer()
    # A report that was not written names no page.
    other = evaluate(classifier, images, labels, **options)
    assert str(other) == other.format_answer()
    assert write_report(other, str(tmp_path / "two"))[0] == tmp_path / "two" / "robustness.html"


def test_intervals_are_wilsons():
    for count, n in ((0, 10), (10, 10), (3, 7), (500, 1000), (1, 1)):
        expected = stats.binomtest(count, n).proportion_ci(0.95, method="wilson")
        np.testing.assert_allclose(
            compute_wilson_interval(count, n), (100 * expected.low, 100 * expected.high), atol=1e-9
        )
    assert compute_wilson_interval(0, 0) == (0.0, 100.0)
    assert math.isnan(compute_proportion([]).percent)


def test_an_image_counts_as_robust_only_if_every_attack_failed():
    report = _make_report(
        _make_run([1, 0, 0, 1], 0.05, correct=[1, 1, 1, 0]),
        _make_run([0, 1, 0, 1], 0.1, correct=[1, 1, 1, 0], name="autoattack"),
    )
    assert report.robust_accuracy.count == 1 and report.robust_accuracy.n == 4
    assert report.clean_accuracy.count == 3
    # Broken at 0.05 is broken at 0.1; not the reverse.
    assert report.get_robust_accuracy(0.05).count == 2
    np.testing.assert_allclose(report.smallest_epsilon, [0.05, 0.1, np.nan, 0.0], atol=1e-8)
    pgd, autoattack = report.summarise_attacks()
    assert (pgd.num_broken, pgd.num_broken_alone) == (1, 1)
    assert (autoattack.num_broken, autoattack.num_broken_alone) == (1, 1)


def test_other_norms_and_larger_budgets_do_not_lower_the_accuracy():
    report = _make_report(
        _make_run([1, 1], 0.2), _make_run([1, 1], 0.1, norm="l2"), _make_run([0, 1], 0.1)
    )
    assert report.robust_accuracy.count == 1


def test_a_minimum_norm_attack_counts_within_its_distance():
    report = _make_report(_make_run([1, 0], None, name="deepfool"), epsilon=0.6)
    assert report.robust_accuracy.count == 1
    assert _make_report(_make_run([1, 0], None), epsilon=0.4).robust_accuracy.count == 2


def test_the_status_needs_a_strong_attack_and_the_search_for_masking():
    passed = CheckResult("noise", {}, PASSED, "Fine.", 2)
    flagged = CheckResult("noise", {}, FLAGGED, "Not fine.", 2)
    strong = _make_run([0, 1], 0.1, name="autoattack")
    assert _make_report(strong, checks=(passed,)).status == "checked"
    assert _make_report(strong, checks=(flagged,)).status == "flagged"
    assert _make_report(strong).status == "not checked"
    # A check that could not be made is a gap; only transfer needs what users do not have.
    unmade = CheckResult("planted", {}, NOT_CHECKED, "Too few points.", 2)
    report = _make_report(strong, checks=(passed, unmade))
    assert report.status == "not checked" and report.gaps == ["planted: Too few points."]
    assert "planted: Too few points." in str(report) and "Too few" in page.render_html(report)
    transfer = CheckResult("transfer", {}, NOT_CHECKED, "No source.", 2)
    assert _make_report(strong, checks=(passed, transfer)).status == "checked"
    # A robust classifier is checked although noise and the attack do about the same to it.
    undecided = CheckResult("noise", {"robust_accuracy_noise": 97.0}, NOT_CHECKED, "Undecided.", 2)
    assert _make_report(strong, checks=(passed, undecided)).status == "checked"
    unmade = CheckResult("noise", {}, NOT_CHECKED, "Not made.", 2)
    assert _make_report(strong, checks=(passed, unmade)).status == "not checked"
    weak = _make_report(_make_run([0, 1], 0.1), checks=(passed,))
    assert weak.status == "not checked" and "AutoAttack was not run" in weak.gaps[0]
    doubtful = _make_run([0, 1], 0.1, name="autoattack", flags=(Flag("zero", "No gradient."),))
    report = _make_report(doubtful, checks=(passed,))
    assert report.status == "flagged" and report.reasons == ["AutoAttack: No gradient."]
    # A weak attack beside a strong one is no reason to doubt.
    few = _make_run([0, 1], 0.1, name="fgsm", flags=(Flag("few_steps", "x"),))
    assert _make_report(few, strong, checks=(passed,)).status == "checked"
    # The flag of a budget of the curve alone says nothing about the headline.
    tiny = _make_run([0, 0], 0.001, flags=(Flag("nothing_broken", "x"),))
    report = _make_report(tiny, strong, checks=(passed,))
    assert report.status == "checked"
    # But the number at that budget says it.
    assert "PGD (flagged: nothing broken)" in page.render_html(report)


def test_result_json_is_json_and_has_robustbenchs_keys(report):
    result = json.loads(report.to_json())
    keys = {
        *("link", "name", "authors", "additional_data", "number_forward_passes", "dataset"),
        *("venue", "architecture", "eps", "clean_acc", "reported", "autoattack_acc"),
    }
    assert keys <= set(result)
    assert result["eps"] == "0.04" and float(result["clean_acc"]) == pytest.approx(95.83)
    assert result["autoattack_acc"] is None  # It was not run.
    assert result["robust_accuracy"]["n"] == _NUM_IMAGES
    assert [a["name"] for a in result["attacks"]] == ["fgsm", "fgsm", "deepfool"]
    assert result["status"] == "flagged" and "few" in result["reasons"][0]
    assert len(result["not_checked"]) == 2
    strong = _make_run([0, 1, 1], 0.1, name="autoattack", stages=_PUBLISHED)
    assert _make_report(strong).to_dict()["autoattack_acc"] == "33.33"
    # With few classes the ensemble is another one than RobustBench's.
    few = _make_run([0, 1, 1], 0.1, name="autoattack", stages=("apgd_ce", "square"))
    assert _make_report(few).to_dict()["autoattack_acc"] is None


def test_evaluate_agrees_with_attacks_run(report, classifier, images, labels):
    result = attacks.run("fgsm", classifier, images, labels, epsilon=0.04)
    run = next(r for r in report.runs if r.name == "fgsm" and r.epsilon > 0.02)
    assert run.result.robust_accuracy <= result.robust_accuracy
    worst = report.find_broken(0.04)
    assert (worst >= run.result.success).all() and worst[0]
    assert len(report) == _NUM_IMAGES and str(report).count("\n") >= 4


class _Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.sources = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [v for k, v in attributes if k in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_has_the_numbers_and_loads_nothing(report, tmp_path):
    paths = write_report(report, tmp_path)
    assert [path.name for path in paths[:3]] == ["robustness.html", "robustness.md", "result.json"]
    text = paths[0].read_text("utf-8")
    assert paths[0].stat().st_size < 2_000_000
    parsed = _Page(text)
    assert "script" not in parsed.tags and "svg" in parsed.tags
    assert parsed.sources and all(source.startswith("data:image/png") for source in parsed.sources)
    shown = " ".join(" ".join(parsed.texts).split())
    assert f"{report.robust_accuracy.percent:.1f} %" in shown and "flagged" in shown
    assert "DeepFool" in shown and "Drawn at random" in shown
    for path in paths:
        assert path.stat().st_size > 100
    assert f"{report.robust_accuracy.percent:.1f}" in paths[1].read_text("utf-8")
    with open(tmp_path / "images.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == _NUM_IMAGES
    assert rows[0]["correct"] == "0" and float(rows[0]["smallest_epsilon"]) == 0
    assert {row["broken_by_fgsm_0.04"] for row in rows} == {"0", "1"}


def test_hostile_names_stay_text():
    name = "<script>alert(1)</script>\u202e|`*\x00"
    runs = (_make_run([0, 1], 0.1),)
    report = Report(name, name, (name, name), "linf", 0.1, runs, command=f"qup {name}")
    parsed = _Page(page.render_html(report))
    assert "script" not in parsed.tags
    assert "<script>alert(1)</script>" in "".join(parsed.texts)
    markdown = page.render_markdown(report)
    for text in ("".join(parsed.texts), markdown):
        assert "\u202e" not in text and "\x00" not in text
    assert r"\<script\>" in markdown


def test_the_page_marks_its_headline_and_its_command_can_be_copied():
    command = "qup attack --model_path='my model.keras' --epsilon=0.1"
    runs = (_make_run([0, 1], 0.05), _make_run([1, 1], 0.1))
    text = page.render_html(_make_report(*runs, command=command))
    (row,) = re.findall(r'<tr class="headline">(.*?)</tr>', text, re.DOTALL)
    assert row.startswith("<td>0.1</td>")
    (code,) = re.findall(r"<pre><code>(.*?)</code></pre>", text, re.DOTALL)
    assert html.unescape(re.sub("<.*?>", "", code)) == command


def test_many_classes_fit_on_the_page():
    run = _make_run([0, 1] * 150, 0.1)
    run.labels[:] = np.arange(300)
    report = Report("net", "data", tuple(f"class {i}" for i in range(300)), "linf", 0.1, (run,))
    text = page.render_html(report)
    assert "200 more classes are in result.json" in text and len(text) < 500_000
    assert len(json.loads(report.to_json())["classes"]) == 300


def test_runs_survive_their_files(report, tmp_path):
    runs = [run for run in report.runs if run.name == "fgsm"]
    attack_runs.write_attack_runs(tmp_path, runs)
    loaded = attack_runs.read_attack_runs(tmp_path)
    assert [run.epsilon for run in loaded] == [run.epsilon for run in runs]
    for run, copy in zip(runs, loaded, strict=True):
        assert copy.options == run.options and copy.result.flags == run.result.flags
        for key, column in run.result.columns().items():
            np.testing.assert_array_equal(copy.result.columns()[key], column)
        np.testing.assert_array_equal(copy.examples.attacked, run.examples.attacked)
    with pytest.raises(errors.InputError, match="no records of an attack"):
        attack_runs.read_attack_runs(tmp_path / "none")
    next(tmp_path.rglob("records.npz")).write_bytes(b"x")
    with pytest.raises(errors.InputError, match="cannot be read"):
        attack_runs.read_attack_runs(tmp_path)


def test_a_curve_falls_and_starts_at_the_clean_accuracy(classifier, images, labels, tmp_path):
    dataset = tf.data.Dataset.from_tensor_slices((images, labels[:, None]))
    curve = qup.robustness_curve(classifier, dataset, epsilons=[0.1, 0.02], num_steps=5)
    assert curve.epsilons == (0.0, 0.02, 0.1)
    percent = [accuracy.percent for accuracy in curve.accuracies]
    assert percent[0] == pytest.approx(100 * 23 / 24) and percent == sorted(percent, reverse=True)
    curve.plot(tmp_path / "curve.svg")
    assert "<svg" in (tmp_path / "curve.svg").read_text()
    assert len(curve.to_dataframe()) == 3 and "epsilon 0.02" in str(curve)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 8}, "Divide by 255"),
        ({"epsilon": "8/256/2"}, "a number or a fraction"),
        ({"epsilon": 0}, "above 0"),
        ({"epsilon": [math.nan]}, "epsilons"),
        ({"attack": "pdg"}, "pgd"),
        ({"attack": ["jsma"]}, "jsma has no form in linf; it has l0"),
        ({"options": {"fab": {}}}, "attack of this evaluation"),
        ({"options": {"pgd": {"steps": 3}}, "attack": "pgd"}, "steps"),
        ({"labels": None}, r"labels are missing: evaluate\(model, images, labels\)"),
        ({"images": np.ones((_NUM_IMAGES, 4, 4, 1), np.uint8)}, "0 and 1 alone"),
        ({"labels": np.zeros(3, int)}, "one label per image"),
        ({"images": np.zeros((0, 4, 4, 1)), "labels": np.zeros(0, int)}, "no images"),
        ({"images": np.full((_NUM_IMAGES, 4, 4, 1), np.nan)}, "from nan to nan"),
        ({"images": np.full((_NUM_IMAGES, 4, 4, 1), 200.0)}, "255"),
    ],
)
def test_mistakes_are_refused(options, message, classifier, images, labels):
    arguments = {"images": images, "labels": labels, "attack": "fgsm", **options}
    with pytest.raises(errors.InputError, match=message):
        evaluate(classifier, check_masking=False, show_progress=False, **arguments)


def test_the_standard_protocol():
    pgd, autoattack = protocol.plan_standard([0.2], "linf")
    assert autoattack.epsilons == (0.2,) and 0.2 in pgd.epsilons and len(pgd.epsilons) == 7
    assert pgd.options["keep"] == "first_adversarial" and pgd.options["num_steps"] == 40
    wide, _ = protocol.plan_standard([0.8], "linf")
    assert max(wide.epsilons) == 0.8  # A budget above 1 means nothing.
    several, strong = protocol.plan_standard([8 / 255, 6 / 255], "l2")
    assert strong.epsilons == (6 / 255, 8 / 255) and strong.options == {"norm": "l2"}
    # 3/4 of 8/255 is 6/255, but for rounding.
    assert len(several.epsilons) == 7 and {6 / 255, 8 / 255} <= set(several.epsilons)
    many, strong = protocol.plan_standard([0.1, 0.2, 0.3, 0.4, 0.5], "linf")
    assert many.epsilons == strong.epsilons


@pytest.mark.slow
def test_the_standard_protocol_checks_a_classifier(classifier, images, labels, tmp_path):
    report = evaluate(
        classifier, images, labels, epsilon="0.05", output=tmp_path, show_progress=False
    )
    assert report.status in ("checked", "flagged") and not report.gaps
    assert {run.name for run in report.runs} == {"pgd", "autoattack"}
    again = evaluate(
        classifier, images, labels, epsilon="0.05", output=tmp_path, show_progress=False
    )
    assert again.robust_accuracy == report.robust_accuracy
    assert (tmp_path / "robustness.html").exists()


def test_a_result_describes_itself(classifier, images, labels, tmp_path):
    result = attacks.run("fgsm", classifier, images, labels, epsilon=0.1)
    lines = str(result).splitlines()
    assert lines[0] == f"fgsm on {_NUM_IMAGES} images, epsilon 0.1" and repr(result) == str(result)
    assert f"{result.robust_accuracy:.1f}" in lines[2]
    table = result.to_dataframe()
    assert len(table) == _NUM_IMAGES and table["success"].sum() == result.success.sum()
    record = json.loads(result.to_json())
    assert record["robust_accuracy"]["percent"] == pytest.approx(result.robust_accuracy)
    assert len(record["images"]) == _NUM_IMAGES
    result.plot(tmp_path / "plot.png", norm="linf")
    assert (tmp_path / "plot.png").stat().st_size > 1000


@pytest.mark.parametrize("targets", ["least_likely", np.zeros(2, int)])
def test_targeted_attacks_are_no_robust_accuracy(targets):
    images = np.zeros((2, 4, 4, 1), np.float32)

    def logits(x):
        return tf.reduce_sum(x, [1, 2, 3])[:, None] * tf.ones((1, 3))

    pgd = {"pgd": {"targets": targets}}
    for call in (
        lambda: qup.robustness_curve(logits, images, [0, 1], [0.1], targets=targets),
        lambda: evaluate(logits, images, [0, 1], attack="pgd", options=pgd),
    ):
        with pytest.raises(errors.InputError, match="another wrong class would count as robust"):
            call()
