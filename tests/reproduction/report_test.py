"""The report: means over seeds, verdicts, pages, and what it refuses."""

import dataclasses
import html as entities
import json
import math
import re
import urllib.parse
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from qup.core import errors, measurements
from qup.core.measurements import Row
from qup.reproduction import presets
from qup.reproduction.report import claims, render
from qup.reproduction.report import data as report_data
from qup.reproduction.report import document as report_document
from qup.reproduction.report.claims import Outcome
from qup.reproduction.report.data import (
    MEASUREMENTS_FILE,
    RUN_INFO_FILE,
    SOURCES_FILE,
    AccuracyKind,
    ReportData,
    compute_row_digest,
    estimate_accuracy,
)
from qup.reproduction.report.document import (
    BulletList,
    Cell,
    Document,
    Paragraph,
    ReportFigure,
    Section,
    Table,
)
from qup.reproduction.report.render import build_document
from qup.reproduction.report.statistics import average_over_seeds, compute_change

_CPU = presets.get_scale("cpu")
_PGD = {
    "num_steps": 4,
    "random_start": False,
    "loss": "cross_entropy",
    "restarts": 1,
    "norm": "linf",
}


def _row(value, *, seed=0, n=10_000, measure="test_accuracy", **changes):
    stderr = 100 * math.sqrt(value / 100 * (1 - value / 100) / n)
    given = {
        "dataset": "cifar10",
        "model": "convnet",
        "classifier": "CL",
        "attack": "",
        "epsilon": None,
        "epochs": 1,
        "parameters": {"split": "test"},
    } | changes
    return Row(measure=measure, value=value, stderr=stderr, n=n, seed=seed, **given)


def _pair(clean, robust, *, clip=True, **changes):
    attack = {"split": "test", **_PGD, "pixel_clip": clip}
    return [
        _row(clean, **changes),
        _row(
            robust,
            measure="robust_accuracy",
            attack="pgd",
            epsilon=8 / 255,
            parameters=attack,
            **changes,
        ),
    ]


def _trained(before, after, seeds=3, **changes):
    """Returns rows of networks at 1 and 50 epochs."""
    rows = []
    for seed in range(seeds):
        for epochs, (clean, robust) in ((1, before), (50, after)):
            rows += _pair(
                clean + 0.1 * seed, robust + 0.1 * seed, seed=seed, epochs=epochs, **changes
            )
    return rows


def _material(rows, folder=None, **about):
    return ReportData(folder, tuple(rows), _CPU, about)


def test_mean_over_seeds_has_students_interval():
    values = (97.0, 97.4, 97.6)
    found = average_over_seeds([_row(v, seed=i) for i, v in enumerate(values)])
    assert found.value == pytest.approx(np.mean(values))
    # t quantile of 2 degrees of freedom at 97.5 %: 4.302653.
    half = 4.302653 * np.std(values, ddof=1) / math.sqrt(3)
    assert found.half_width == pytest.approx(half, rel=1e-6)
    assert (found.num_seeds, found.n) == (3, 10_000)
    assert report_document.format_estimate(found) == f"97.33 ± {half:.2f} (3)"


def test_one_seed_has_wilsons_interval():
    found = average_over_seeds([_row(50.0, n=100)])
    # Wilson at p = 1/2: half the width z / (2 sqrt(n + z^2)).
    z = 1.959964
    half = 100 * z / (2 * math.sqrt(100 + z * z))
    assert found.half_width == pytest.approx(half, rel=1e-5)
    assert report_document.format_estimate(found).endswith("^")
    whole = average_over_seeds([_row(100.0, n=100)])
    assert whole.high == pytest.approx(100) and whole.low < 97


def test_seeds_that_agree_by_chance_have_the_error_of_their_images():
    never = average_over_seeds([_row(0.0, seed=seed, n=1000) for seed in range(3)])
    alone = average_over_seeds([_row(0.0, n=3000)])
    assert never.low == pytest.approx(0)
    assert never.high == pytest.approx(alone.high) and never.high > 0.1
    assert report_document.format_estimate(never) == f"0.00 [0.00, {alone.high:.2f}] (3)"
    # Far apart, with an interval that ends where percentages do.
    apart = average_over_seeds([_row(v, seed=i) for i, v in enumerate((0.5, 9.0))])
    assert apart.low == 0 and apart.high > 50
    # Of what is no percentage, the mean's own error.
    pair = [dataclasses.replace(_row(50.0, seed=i), value=0.5, stderr=0.3) for i in range(2)]
    half = 1.959964 * 0.3 / math.sqrt(2)
    assert average_over_seeds(pair).half_width == pytest.approx(half, rel=1e-5)


def test_numbers_that_are_not_there_are_told():
    assert average_over_seeds([]) is None
    assert report_document.format_cell(None).text == "not run"
    nan = dataclasses.replace(_row(50.0), value=math.nan, stderr=None)
    assert report_document.format_estimate(average_over_seeds([nan])) == "not estimated"


def test_a_seed_counts_once():
    with pytest.raises(ValueError, match="Expected one row per seed"):
        average_over_seeds([_row(50.0), _row(51.0)])


def test_change_is_paired_by_seed():
    before = [_row(40.0 + 10 * i, seed=i) for i in range(3)]
    after = [_row(41.0 + 10 * i, seed=i) for i in range(1, 4)]
    found = compute_change(before, after)
    assert found.num_seeds == 2
    assert (found.value, found.half_width) == (pytest.approx(1), pytest.approx(0))
    assert found.sign == 1
    assert compute_change(before[:1], after[-1:]) is None


def test_change_of_one_seed_adds_both_errors():
    first, last = _row(50.0, n=400), _row(52.0, n=400)
    found = compute_change([first], [last])
    error = math.hypot(first.stderr, last.stderr)
    # Wilson's intervals are a little narrower than normal ones.
    assert found.half_width == pytest.approx(1.959964 * error, rel=0.01)
    assert found.sign == 0
    # Of what is no percentage of images, normal ones.
    pair = [
        dataclasses.replace(row, measure="sigma_p", value=x, stderr=0.3)
        for row, x in ((first, 2.0), (last, 3.0))
    ]
    found = compute_change(pair[:1], pair[1:])
    assert found.half_width == pytest.approx(1.959964 * 0.3 * math.sqrt(2), rel=1e-5)


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        ((60.0, 3.0), Outcome.SUPPORTED),
        ((60.0, 20.0), Outcome.CONTRADICTED),
        ((30.0, 3.0), Outcome.UNDECIDED),
        ((60.0, 12.0), Outcome.UNDECIDED),
    ],
)
def test_verdict_flips_with_the_rows(after, outcome):
    rows = _trained((45.0, 12.0), after)
    # One seed stands out where the change is to be unresolved.
    if after == (60.0, 12.0):
        rows = [
            dataclasses.replace(r, value=9.0)
            if (r.seed, r.epochs, r.measure) == (1, 50, "robust_accuracy")
            else r
            for r in rows
        ]
    verdict = claims.get("more_accurate_less_robust")(_material(rows))
    assert verdict.outcome is outcome
    assert {row.seed for row in verdict.rows} == {0, 1, 2}


def test_networks_that_differ_make_a_mixed_verdict():
    rows = _trained((45.0, 12.0), (60.0, 3.0))
    rows += _trained((45.0, 12.0), (60.0, 20.0), dataset="mnist", model="ygcnn")
    judge = claims.get("more_accurate_less_robust")
    assert judge(_material(rows)).outcome is Outcome.MIXED
    one = [row for row in rows if row.model == "convnet"]
    assert judge(_material(one)).outcome is Outcome.SUPPORTED


def test_verdict_tells_under_which_switch_it_changes():
    rows = _trained((45.0, 12.0), (60.0, 3.0))
    free = [
        dataclasses.replace(
            row,
            value=30.0 if row.epochs == 50 else 12.0,
            parameters={**row.parameters, "pixel_clip": False},
        )
        for row in rows
        if row.measure == "robust_accuracy"
    ]
    rows += free
    verdict = claims.get("more_accurate_less_robust")(_material(rows))
    assert verdict.outcome is Outcome.SUPPORTED
    assert verdict.sensitivity == "RA, PGD-4, not clipped: contradicted"


def test_reproduced_numbers_have_tolerances():
    judge = claims.get("same_test_accuracies")
    # The paper: 45.71 after one epoch, where 4 points are allowed.
    assert judge(_material([_row(49.0)])).outcome is Outcome.SUPPORTED
    assert judge(_material([_row(50.0)])).outcome is Outcome.CONTRADICTED
    # 60.46 after five, where 2 points are.
    far = [_row(49.0), _row(57.0, epochs=5)]
    assert judge(_material(far)).outcome is Outcome.MIXED
    assert judge(_material([])).outcome is Outcome.NOT_RUN
    # Far off on the mean, and where one network more of these may well lie.
    spread = [_row(value, seed=i) for i, value in enumerate((46.0, 52.0, 58.0))]
    assert judge(_material(spread)).outcome is Outcome.SUPPORTED


def test_one_convention_of_the_clip_is_taken_for_all_numbers():
    # The paper: 12.49 and 6.62.
    rows = []
    for epochs, clipped, free in ((1, 12.0, 30.0), (5, 30.0, 6.0)):
        rows += _pair(46.0, clipped, epochs=epochs)
        rows += _pair(46.0, free, epochs=epochs, clip=False)[1:]
    judge = claims.get("same_robust_accuracies")
    verdict = judge(_material(rows))
    assert verdict.outcome is Outcome.MIXED and "1 of 2" in verdict.text
    assert "RA, PGD-4, clipped" in verdict.text
    free = [row for row in rows if row.epochs == 5 or row.parameters.get("pixel_clip") is not True]
    assert "not clipped" in judge(_material(free)).text


def test_few_networks_of_many_are_told_and_decide_little():
    rows = _trained((45.0, 12.0), (60.0, 3.0))
    judge = claims.get("more_accurate_less_robust")
    assert judge(_material(rows)).scope == ("networks: 1 supported, 3 not run")
    open_, yes = Outcome.UNDECIDED, Outcome.SUPPORTED
    assert claims.combine_by_majority([yes, open_]) is yes
    assert claims.combine_by_majority([yes, open_, open_]) is open_


def test_what_every_one_must_say_is_not_said_by_some():
    open_, yes, no = Outcome.UNDECIDED, Outcome.SUPPORTED, Outcome.CONTRADICTED
    assert claims.combine_unanimously([yes, yes]) is yes
    assert claims.combine_unanimously([yes, open_]) is open_
    assert claims.combine_unanimously([open_, no]) is no
    assert claims.combine_unanimously([yes, no, open_]) is Outcome.MIXED
    assert claims.combine_unanimously([]) is Outcome.NOT_RUN


def test_compact_networks_reproduce_no_number_of_the_paper():
    row = _row(70.0, model="resnet", parameters={"split": "test", "model_depth": 20})
    assert claims.get("same_test_accuracies")(_material([row])).outcome is Outcome.NOT_RUN


def test_every_claim_can_be_judged_of_nothing():
    for name in claims.names():
        told, verdict = claims.traits(name), claims.get(name)(_material([]))
        assert verdict.outcome is Outcome.NOT_RUN, name
        assert told["quote"] and told["where"] and told["threshold"]


def test_controls_and_walks_are_no_plain_networks():
    network = _CPU.tables["table3"].networks[0]
    rows = _pair(45.0, 12.0)
    for changed in ({"control": "random_labels"}, {"step": 3}, {"method": "trades"}):
        rows.append(_row(99.0, parameters={"split": "test", **changed}))
    found = estimate_accuracy(_material(rows), network, "CL", 1, AccuracyKind.CLEAN)
    assert (found.value, found.num_seeds) == (45.0, 1)


_EVIL = "<script>alert(1)</script>&\x00"


def _document():
    table = Table(("a|b", _EVIL), ((Cell(_EVIL, (_row(50.0),), "good"),),))
    blocks = (Paragraph(_EVIL), BulletList((_EVIL,)), table)
    return Document(_EVIL, (Section("one", _EVIL, blocks),))


def test_page_escapes_all_and_loads_nothing():
    row = _row(50.0)
    known = {compute_row_digest(row): {"node": _EVIL, "artifact": 7}}
    material = dataclasses.replace(_material([row]), sources=known)
    page = render.render_html(_document(), material)
    assert "<script" not in page and "\x00" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    assert f'href="#m-{compute_row_digest(row)}"' in page
    assert f'id="m-{compute_row_digest(row)}"' in page
    assert "artifact 7" in page


def test_markdown_escapes_markup():
    text = render.render_markdown(_document())
    assert not re.search(r"(?<!\\)<script", text)
    assert r"a\|b" in text


def test_latex_escapes_all_that_it_would_take_for_commands():
    body = ((Cell("98.0 ± 0.3 ^"), Cell(r"[a] 5 % \input{x} & $y_1$ ~#")),)
    table = Table(("TA", "x"), body, "50 % & <more>")
    sections = (Section("one", "A\n\\title", (Paragraph("no"), table)),)
    assert render.render_latex_tables(Document("", sections)) == "\n".join(
        [
            "% Needs booktabs.",
            "",
            r"% A \title",
            r"\begin{table}",
            r"\caption{50 \% \& \textless{}more\textgreater{}}",
            r"\label{tab:one}",
            r"\begin{tabular}{ll}",
            r"\toprule",
            r"{TA} & {x} \\",
            r"\midrule",
            r"{98.0 $\pm$ 0.3 \textasciicircum{}} & "
            r"{[a] 5 \% \textbackslash{}input\{x\} \& \$y\_1\$ "
            r"\textasciitilde{}\#} \\",
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def test_whole_report_of_few_rows(tmp_path):
    folder = tmp_path / "results"
    rows = _trained((45.0, 12.0), (60.0, 3.0))
    measurements.write_rows(folder / MEASUREMENTS_FILE, rows)
    about = {
        "scale": "cpu",
        "seeds": [0, 1, 2],
        "seconds": 7200,
        "versions": {"numpy": "2", "system": "secret"},
        "anonymous": True,
        "failed": {"Trainer.x": "no <data>"},
    }
    (folder / RUN_INFO_FILE).write_text(json.dumps(about))
    (folder / SOURCES_FILE).write_text("{}")
    pages = render.write_report(ReportData.read(folder), tmp_path / "report")
    page, text, tables = (path.read_text() for path in pages)
    assert "45.10 ± 0.56 (3)" in page and "not run" in page
    assert "2.0 hours" in page and "secret" not in page
    assert "no &lt;data&gt;" in page
    assert "supported" in text
    assert r"45.10 $\pm$ 0.56 (3)" in tables
    figures = {p.name for p in (tmp_path / "report/figures").iterdir()}
    assert {f"table3-epochs.{k}" for k in ("png", "svg", "pdf")} <= figures
    assert page.encode() == _again(folder, tmp_path)


def _again(folder, tmp_path):
    """Returns the same page, written once more."""
    pages = render.write_report(ReportData.read(folder), tmp_path / "again")
    return pages[0].read_bytes()


def test_report_of_nothing_says_so(tmp_path):
    document = build_document(_material([], tmp_path))
    assert not document.list_figures()
    assert "not run" in render.render_markdown(document)


def test_report_refuses_what_is_no_reproduction(tmp_path):
    with pytest.raises(errors.InputError, match=r"measurements\.csv"):
        ReportData.read(tmp_path)
    (tmp_path / MEASUREMENTS_FILE).write_text("an,older,header\n1,2,3\n")
    with pytest.raises(errors.InputError, match="expected the header"):
        ReportData.read(tmp_path)
    measurements.write_rows(tmp_path / MEASUREMENTS_FILE, [_row(50.0)])
    with pytest.raises(errors.InputError, match=r"reproduction\.json"):
        ReportData.read(tmp_path)
    (tmp_path / RUN_INFO_FILE).write_text('{"scale": "cpuu"}')
    with pytest.raises(errors.InputError, match="Did you mean 'cpu'"):
        ReportData.read(tmp_path)


def test_arrays_outside_the_folder_are_not_read(tmp_path):
    np.savez(tmp_path / "secret.npz", x=np.zeros(1))
    folder = tmp_path / "results"
    folder.mkdir()
    row = dataclasses.replace(_row(50.0), artifact="../secret.npz")
    assert _material([row], folder).load_arrays(row) is None
    (folder / "broken.npz").write_bytes(b"no archive")
    row = dataclasses.replace(row, artifact="broken.npz")
    with pytest.raises(errors.InputError, match="is damaged"):
        _material([row], folder).load_arrays(row)


def test_a_change_up_to_all_images_has_an_interval():
    before, after = _row(99.89, n=60_000), _row(100.0, n=60_000)
    assert after.stderr == 0
    found = compute_change([before], [after])
    assert 0 < found.low < found.value < found.high < 0.2
    # 56 of 70 and 48 of 80: Newcombe 1998, table II, contrast a, method 10.
    first, last = _row(60.0, n=80), _row(80.0, n=70)
    found = compute_change([first], [last])
    assert [round(x, 2) for x in (found.low, found.high)] == [5.24, 33.39]
    # A number without an error has none here either.
    bare = dataclasses.replace(after, stderr=None)
    assert math.isnan(compute_change([before], [bare]).low)


def test_a_drawing_within_the_page_is_the_drawing():
    figure = Figure()
    figure.subplots().set_title('<b> & "100 %" #1 it\'s')
    picture = ReportFigure("name", figure, "alt", "caption")
    document = Document("", (Section("s", "S", (picture,)),))
    page = render.render_html(document, _material([]))
    (uri,) = re.findall(r'src="data:image/svg\+xml,(.*?)"', page)
    # As a browser reads it: entities of the page first, then the URI.
    drawn = urllib.parse.unquote(entities.unescape(uri))
    shown, meant = (
        [
            (e.tag, e.attrib.get("d", "").split(), e.attrib.get("style"))
            for e in ElementTree.fromstring(text).iter()
        ]
        for text in (drawn, picture.render("svg").decode())
    )
    assert shown == meant and len(shown) > 50


def test_results_of_another_program_are_told_from_a_damaged_reproduction(tmp_path):
    path = tmp_path / report_data.RUN_INFO_FILE
    with pytest.raises(errors.InputError, match="Expected the folder of a reproduction"):
        report_data.read_json(path)
    (tmp_path / "robustness.html").write_text("")
    with pytest.raises(errors.InputError, match="results of qup attack, which has written"):
        report_data.read_json(path)
