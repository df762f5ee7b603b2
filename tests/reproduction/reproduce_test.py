"""`bin.reproduce`: what it refuses, its plan, and its fastest path."""

import dataclasses
import json
import pathlib
import signal
import subprocess
import sys

import pytest

from configs import digits, synthetic
from qup.core import errors, measurements
from qup.orchestration.lineage import graph
from qup.reproduction import experiments, presets, publishing, runner
from qup.reproduction.builder import ExperimentBuilder
from qup.reproduction.report import digest
from qup.reproduction.report.data import ReportData
from qup.reproduction.results import ResultsStore
from qup.reproduction.runner import RemainingTime, format_duration

_ROOT = pathlib.Path(__file__).parents[2]


def _request(**given):
    return runner.ReproductionRequest(pathlib.Path("nowhere"), **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"experiments": ("tabel2",)}, "Did you mean 'table2'"),
        ({"experiments": ()}, "--experiments is empty"),
        ({"scale": "cpuu"}, "Did you mean 'cpu'"),
        ({"seeds": ("0", "1", "0")}, "names 0 more than once"),
        ({"seeds": ("-1",)}, "whole numbers of at least 0"),
        ({"seeds": ("0",)}, "--seeds"),
        ({"seeds": ("x", "1")}, "got 'x'"),
        ({"epochs": ("7",)}, "1, 5, 30, 50; got 7"),
        ({"epochs": ("1", "1")}, "names 1 more than once"),
        ({"models": ("resnett",)}, "Did you mean 'resnet'"),
    ],
)
def test_refusals(given, message):
    with pytest.raises(errors.InputError, match=message):
        _request(**given).check()


def test_seeds_are_a_number_or_a_list():
    assert _request(seeds=("3",)).parse_seeds() == (0, 1, 2)
    assert _request(seeds=("3", "7")).parse_seeds() == (3, 7)
    assert len(_request().parse_seeds()) == presets.get_scale("cpu").seeds
    smoke = _request(scale="smoke")
    assert smoke.select_seeds("table2") == (0, 1)
    assert smoke.select_seeds("controls") == (0,)
    asked = _request(scale="smoke", seeds=("2",))
    assert asked.select_seeds("controls") == (0, 1)
    assert _request().select_seeds("controls") == _request().parse_seeds()


def test_experiments_run_in_their_order():
    asked = ("supp_table1", "table2")
    assert _request(experiments=asked).select_experiments() == ["table2", "supp_table1"]
    everything = _request(scale="smoke").select_experiments()
    assert everything == list(experiments.names())


def _build_builder(tmp_path, **options):
    configs = {"digits": digits, "synthetic": synthetic}
    return ExperimentBuilder(
        presets.get_scale("smoke"),
        lambda name: configs[name].get_config("smoke"),
        {"workdir": str(tmp_path / "run")},
        folders={"workdir": tmp_path / "run"},
        **options,
    )


def test_every_experiment_builds_a_complete_pipeline(tmp_path):
    builder = _build_builder(tmp_path)
    trainers = {}
    for name in experiments.names():
        nodes = builder.build(experiments.get(name), (0, 1))
        assert nodes, name
        for node in nodes.values():
            for channels in node.inputs.values():
                for channel in channels:
                    assert channel.producer.id in nodes, (name, node.id)
        # A node that two experiments need is one object.
        for node_id, node in nodes.items():
            if node_id.startswith("Trainer.digits.c"):
                assert trainers.setdefault(node_id, node) is node
    assert len(trainers) == 4


def test_only_selected_networks_are_built(tmp_path):
    nodes = _build_builder(tmp_path, epochs=(2,)).build(experiments.get("table2"), (0,))
    evaluators = [name for name in nodes if name.startswith("Evaluator")]
    assert evaluators == ["Evaluator.digits.convnet.seed-0.epoch-2"]
    builder = _build_builder(tmp_path, models=("ygcnn",))
    assert not builder.build(experiments.get("table2"), (0,))


def test_experiments_without_their_files_are_left_out_of_all():
    assert "fig3_imagenet" not in _request().select_experiments()
    assert "fig3_imagenet" in _request(scale="smoke").select_experiments()
    asked = _request(experiments=("fig3_imagenet",))
    assert asked.select_experiments() == ["fig3_imagenet"]


def test_experiments_without_images_have_folders_too(tmp_path):
    builder = _build_builder(tmp_path)
    assert builder.get_any_run().pipeline_root.parent == tmp_path / "run"


def test_remaining_time_is_learnt_from_names_that_are_alike():
    remaining = RemainingTime(["A.x.seed-0", "A.x.seed-1", "A.y.seed-1", "B.x"])
    assert remaining.estimate_seconds() is None
    remaining.mark_done("A.x.seed-0", 10.0)
    # B has not run: it counts as the mean of what has.
    assert remaining.estimate_seconds() == 30.0
    remaining.mark_done("B.x", 100.0)
    assert remaining.estimate_seconds() == 20.0
    # Found, not made: its time is known all the same.
    remaining.mark_done("A.y.seed-1", 4000.0)
    assert remaining.estimate_seconds() == 10.0
    assert str(remaining) == "[3 of 4, about 10 s left]"
    remaining.mark_done("A.x.seed-1", None)
    assert str(remaining) == "[4 of 4]"


def test_what_several_experiments_ask_for_was_made_once():
    remaining = RemainingTime(["A.x", "A.y", "A.z"])
    for _ in range(9):
        remaining.mark_done("A.x", 1.0)
    remaining.mark_done("A.y", 99.0)
    assert remaining.estimate_seconds() == 50.0
    assert str(remaining) == "[2 of 3, about 50 s left]"
    assert format_duration(7800) == "2 h 10 min"


def test_of_names_as_far_apart_the_mean_counts():
    known = {"A.x.epoch-1": 10.0, "A.y.epoch-1.ACL": 30.0, "A.z": 500.0}
    remaining = RemainingTime([*known, "A.x.epoch-1.ACL"])
    for name, seconds in known.items():
        remaining.mark_done(name, seconds)
    assert remaining.estimate_seconds() == 20.0


def _run(*flags, program="reproduce"):
    return subprocess.run(
        [sys.executable, "-m", f"bin.{program}", *flags],
        cwd=_ROOT,
        text=True,
        capture_output=True,
        timeout=900,
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("reproduce") / "run"
    flags = (
        "--scale=smoke",
        "--experiments=table3",
        "--seeds=1",
        "--epochs=1",
        f"--workdir={workdir}",
    )
    found = _run(*flags)
    assert found.returncode == 0, found.stderr
    return workdir, flags, found


def test_fastest_path_measures_and_reports(done):
    workdir, _, found = done
    assert "report.html" in found.stdout and "left]" in found.stderr
    assert "tensorboard --logdir" in found.stdout
    sweep = workdir / "tensorboard" / "sweep"
    (line,) = [path.name for path in sweep.iterdir()]
    assert line == "synthetic.convnet.seed-0.epoch-1"
    rows = measurements.read_rows(workdir / "measurements.csv")
    attacks = {row.attack for row in rows if row.measure == "robust_accuracy"}
    assert attacks == {"pgd", presets.get_scale("smoke").worst_case["name"]}
    sources = json.loads((workdir / "sources.json").read_text())
    assert len(sources) == len(rows)
    page = (workdir / "report" / "report.html").read_text()
    assert "Evaluator.synthetic.convnet.seed-0.epoch-1, artifact" in page
    # Records of each image stay where they are; their counts are told.
    assert "Percent of each class of synthetic" in page
    assert not list((workdir / "arrays").rglob("records.npz"))
    names = [f"pattern {label}" for label in range(4)]
    about = json.loads((workdir / "reproduction.json").read_text())
    assert about["class_names"] == {"synthetic": names}
    assert all(f">{name}<" in page for name in names)


def test_second_start_computes_nothing(done):
    workdir, flags, _ = done
    before = (workdir / "measurements.csv").read_bytes()
    about = (workdir / "reproduction.json").read_bytes()
    page = (workdir / "report" / "report.html").stat().st_mtime_ns
    found = _run(*flags)
    assert found.returncode == 0, found.stderr
    assert "complete in" not in found.stderr
    assert (workdir / "measurements.csv").read_bytes() == before
    assert (workdir / "reproduction.json").read_bytes() == about
    # Not even its report is written again.
    assert (workdir / "report" / "report.html").stat().st_mtime_ns == page
    # Rows that are put together anew tell of those who made them.
    sources = (workdir / "sources.json").read_bytes()
    (workdir / "sources.json").unlink()
    (workdir / "measurements.csv").unlink()
    found = _run(*flags)
    assert found.returncode == 0, found.stderr
    assert (workdir / "sources.json").read_bytes() == sources


@pytest.mark.parametrize(
    "name",
    [
        "measurements.csv",
        "sources.json",
        "reproduction.json",
        "array",
        "report/report.md",
        "report/figures/mine.png",
        "report.json",
        "code",
    ],
)
def test_a_report_is_current_until_anything_changes(done, tmp_path, monkeypatch, name):
    folder = tmp_path / "copy"
    publishing.publish(done[0], folder)
    material = ReportData.read(folder)
    assert not digest.is_up_to_date(material, folder / "report")
    digest.write_digest(material, folder / "report")
    assert digest.is_up_to_date(material, folder / "report")
    if name == "code":
        monkeypatch.setattr(digest, "_CODE_DIGEST", "other")
    elif name == "array":
        name = next(row.artifact for row in material.rows if row.artifact)
    with (folder / name).open("a") as changed:
        changed.write("x")
    assert not digest.is_up_to_date(material, folder / "report")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_reproduction_goes_on_and_ends_alike(done, tmp_path, number):
    whole, flags, _ = done
    flags = (*flags[:-1], f"--workdir={tmp_path}")
    with subprocess.Popen(
        [sys.executable, "-m", "bin.reproduce", *flags],
        cwd=_ROOT,
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as process:
        for line in process.stderr:
            if line.startswith("Attacker.pgd") and "execution" in line:
                process.send_signal(number)
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        # What was measured until then is told, and a report can be made.
        assert process.returncode > 0
        kept = {row.key() for row in ReportData.read(tmp_path).rows}
        every = {row.key() for row in ReportData.read(whole).rows}
        assert kept and kept < every
    found = _run(*flags)
    assert found.returncode == 0, found.stderr
    assert "Trainer.synthetic.convnet.seed-0.epoch-1: reused" in found.stderr
    rows = (folder / "measurements.csv" for folder in (whole, tmp_path))
    assert len({path.read_bytes() for path in rows}) == 1


def test_report_is_written_anew_from_the_measurements(done, tmp_path):
    workdir, _, _ = done
    found = _run(str(workdir), f"--output={tmp_path}", program="report")
    assert found.returncode == 0, found.stderr
    # "seconds" is of all starts so far.
    again = (tmp_path / "report.html").read_text()
    assert again == (workdir / "report" / "report.html").read_text()


def test_each_number_can_be_traced(done):
    workdir, _, _ = done
    sources = json.loads((workdir / "sources.json").read_text())
    artifact = next(iter(sources.values()))["artifact"]
    found = _run(
        f"--pipeline_root={workdir / 'pipeline'}", f"--artifact={artifact}", program="show_lineage"
    )
    assert found.returncode == 0, found.stderr
    assert "ExampleGen.synthetic" in found.stdout


def test_published_results_are_whole_and_tell_of_no_machine(done, tmp_path):
    workdir, target = done[0], tmp_path / "published"
    for _ in range(2):
        pages = publishing.publish(workdir, target)
    held, copied = ReportData.read(workdir), ReportData.read(target)
    assert copied.rows == held.rows and copied.sources == held.sources
    assert copied.run_info == held.run_info
    for row in copied.rows:
        assert bool(row.artifact) == (copied.load_arrays(row) is not None)
    assert pages[0].read_bytes() == (workdir / "report/report.html").read_bytes()
    for path in target.rglob("*.*"):
        content = path.read_bytes() if path.is_file() else b""
        assert str(workdir).encode() not in content, path
    records = graph.ReadOnlyMetadata(graph.find_database(target))
    for source in copied.sources.values():
        found = graph.trace_artifact(records, source["artifact"])
        steps = {(e.node, e.code) for e in found.executions.values()}
        assert (source["node"], source["code"]) in steps


@pytest.mark.slow
def test_another_machine_goes_on_from_what_was_published(done, tmp_path):
    """Artifacts are not published: only what is new is computed."""
    elsewhere, again = tmp_path / "elsewhere", tmp_path / "again"
    publishing.publish(done[0], elsewhere)
    before = ReportData.read(elsewhere)
    found = _run(
        "--scale=smoke",
        "--experiments=table3",
        "--seeds=1,2",
        "--epochs=1",
        f"--workdir={elsewhere}",
    )
    assert found.returncode == 0, found.stderr
    after = ReportData.read(elsewhere)
    assert all(row in after.rows for row in before.rows)
    assert after.run_info["seeds"] == [0, 1, 2]
    assert before.sources.items() < after.sources.items()
    publishing.publish(elsewhere, again)
    assert ReportData.read(again).rows == after.rows
    records = graph.ReadOnlyMetadata(graph.find_database(again))
    for source in after.sources.values():
        steps = graph.trace_artifact(records, source["artifact"]).executions
        assert source["node"] in {step.node for step in steps.values()}


def test_only_a_reproduction_is_published(done, tmp_path):
    with pytest.raises(errors.InputError, match=r"measurements\.csv"):
        publishing.publish(tmp_path, tmp_path / "published")
    (tmp_path / "mine.txt").touch()
    with pytest.raises(errors.InputError, match=r"mine\.txt"):
        publishing.publish(done[0], tmp_path)
    with pytest.raises(errors.InputError, match="itself"):
        publishing.publish(done[0], done[0])


def test_what_was_published_is_not_lost(done, tmp_path):
    workdir, target = done[0], tmp_path / "published"
    publishing.publish(workdir, target)
    rows = measurements.read_rows(target / "measurements.csv")
    other = dataclasses.replace(rows[0], seed=7)
    measurements.write_rows(target / "measurements.csv", [*rows, other])
    with pytest.raises(errors.InputError, match=r"has 1 measure.*seed 7"):
        publishing.publish(workdir, target)
    assert measurements.read_rows(target / "measurements.csv")[-1] == other
    measurements.write_rows(target / "measurements.csv", rows)
    mine = target / "arrays" / "mine.npz"
    mine.write_bytes(b"1")
    with pytest.raises(errors.InputError, match=r"mine\.npz belongs to no"):
        publishing.publish(workdir, target)
    assert mine.read_bytes() == b"1"
    (target / "pipeline" / "Trainer.x").mkdir()
    with pytest.raises(errors.InputError, match="with its networks"):
        publishing.publish(workdir, target)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("class_names", None),
        ("class_names", {"synthetic": "ab"}),
        ("seeds", "x"),
        ("failed", ["x"]),
        ("seconds", "x"),
        ("versions", None),
        ("scale", "foo"),
        ("scale", 3),
    ],
)
def test_a_damaged_account_of_a_run_is_named(done, tmp_path, name, value):
    publishing.publish(done[0], tmp_path / "copy")
    path = tmp_path / "copy" / "reproduction.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    for read in (ReportData.read, lambda at: publishing.publish(at, tmp_path / "b")):
        with pytest.raises(errors.InputError, match=r"reproduction\.json is dam"):
            read(path.parent)
    assert not (tmp_path / "b").exists()


def test_rows_that_are_missing_or_doubled_are_named(done, tmp_path):
    publishing.publish(done[0], tmp_path / "copy")
    path = tmp_path / "copy" / "measurements.csv"
    text = path.read_text()
    path.write_text(text + text.splitlines()[-1] + "\n")
    with pytest.raises(errors.InputError, match="each measurement once"):
        ReportData.read(path.parent)
    path.unlink()
    with pytest.raises(errors.InputError, match=r"measurements\.csv is miss"):
        ResultsStore(path.parent)


def test_a_workdir_of_another_scale_or_program_is_refused(done, tmp_path):
    workdir, _, _ = done
    found = _run("--scale=cpu", f"--workdir={workdir}")
    assert found.returncode == 1
    assert "of scale smoke" in found.stderr and "Traceback" not in found.stderr
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"qup": "1", "seed": 0}')
    found = _run("--scale=smoke", f"--workdir={other}")
    assert found.returncode == 1 and "another program" in found.stderr


def test_what_fails_does_not_stop_the_rest(done):
    workdir, _, _ = done
    rows = len(measurements.read_rows(workdir / "measurements.csv"))

    def load(dataset):
        config = {"digits": digits, "synthetic": synthetic}[dataset]
        config = config.get_config("smoke")
        if dataset == "digits":
            config.attack.epsilon = -1.0
        return config

    request = runner.ReproductionRequest(
        workdir, experiments=("table2", "table3"), scale="smoke", seeds=("1",), epochs=("1",)
    )
    with pytest.raises(errors.InputError, match=r"table2: attack\.epsilon"):
        runner.run(request, load, {})
    assert len(measurements.read_rows(workdir / "measurements.csv")) == rows
    page = (workdir / "report" / "report.html").read_text()
    assert "Steps that failed" in page and "attack.epsilon" in page


def test_damaged_results_are_named(tmp_path):
    (tmp_path / "sources.json").write_text('{"half')
    with pytest.raises(errors.InputError, match=r"sources\.json"):
        ResultsStore(tmp_path)


def test_a_damaged_account_is_refused_before_all_else(done, tmp_path):
    publishing.publish(done[0], tmp_path / "copy")
    path = tmp_path / "copy" / "reproduction.json"
    path.write_text('{"class_names": null}')
    found = _run("--scale=smoke", f"--workdir={path.parent}")
    assert found.returncode == 1 and "class_names" in found.stderr
    assert "execution" not in found.stderr and "Traceback" not in found.stderr
