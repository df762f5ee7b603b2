"""Lineages as text and as pages, tables of runs, and the programs for both."""

import collections
import csv
import html.parser
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pytest

from qup.orchestration import (
    Artifact,
    In,
    LocalRunner,
    Location,
    Metadata,
    MetadataError,
    Out,
    State,
    component,
)
from qup.orchestration.executions import Owner, Run
from qup.orchestration.lineage import graph as lineage_graph
from qup.orchestration.lineage import layout as lineage_layout
from qup.orchestration.lineage import page as lineage_page
from qup.orchestration.lineage import text as lineage_text
from qup.orchestration.lineage.redaction import Redaction
from qup.reproduction import publishing

_ROOT = pathlib.Path(__file__).parents[2]
_NASTY = '</code><script>alert("1")</script>\u202e\x1b[31m'


class Data(Artifact):
    pass


class Nasty(Artifact):
    TYPE_NAME = "<script>alert(2)</script>"


@component
def Source(data: Out[Data], *, count: int = 3, folder: Location[str] = "") -> None:
    (data.path / "rows").write_text(str(count))


@component
def Splitter(data: In[Data], left: Out[Data], right: Out[Data]) -> None:
    (left.path / "rows").write_text("left")
    (right.path / "rows").write_text("right")


@component
def Joiner(
    left: In[Data],
    rest: In[list[Data]],
    joined: Out[Nasty],
    *,
    options: dict[str, str] = {},  # noqa: B006
    fails: bool = False,
) -> None:
    if fails:
        raise RuntimeError(f"{socket.gethostname()} has no '/home/anna b/x.csv'")
    joined.properties.update(accuracy=0.5, note=_NASTY)


def _nodes(count=3, **options):
    source = Source(count=count, folder="/home/anna/secret rows")
    splitter = Splitter(data=source.outputs["data"]).with_id("Splitter.b")
    data = source.outputs["data"]
    rest = [splitter.outputs["left"], splitter.outputs["right"], data]
    return [source, splitter, Joiner(left=data, rest=rest, **options)]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("lineage") / "a Würzel"
    metadata = Metadata(workdir / "pipeline" / "metadata.sqlite")
    runner = LocalRunner(workdir / "pipeline", metadata)
    given = {"options": {"x": _NASTY}}
    for epochs in (1, 2):
        settings = {"training": {"epochs": epochs, "rate": 0.5}, "seed": 0}
        runner.run(_nodes(**given), pipeline="toys", parameters=settings)
    with pytest.raises(RuntimeError):
        runner.run(_nodes(**given, fails=True), pipeline="toys")
    return workdir


@pytest.fixture
def records(workdir):
    return lineage_graph.ReadOnlyMetadata(lineage_graph.find_database(workdir))


def _program(name, *given, **options):
    return subprocess.run(
        [sys.executable, "-m", f"bin.{name}", *given],
        cwd=_ROOT,
        text=True,
        capture_output=True,
        **options,
    )


def _contents(folder):
    return {
        path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in sorted(folder.rglob("*"))
    }


def test_tree_has_each_part_once(records, workdir):
    path = workdir / "pipeline/Joiner/joined/3/any/file"
    told = lineage_text.format_tree(lineage_graph.trace_artifact(records, path))
    lines = re.sub(r"\b[0-9a-f]{12}\b", "HEX", told)
    lines = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d, \d\.\d\d s", "WHEN", lines)
    data = "Data 1  Source/data/1  HEX"
    assert lines.splitlines() == [
        "<script>alert(2)</script> 4  Joiner/joined/3  HEX",
        "│ by Joiner, execution 3: COMPLETE WHEN, code HEX",
        '│ fails=false options.x=</code><script>alert("1")</script>\\u202e\\x1b[31m',
        f"├─ left, rest: {data}",
        "│    by Source, execution 1: COMPLETE WHEN, code HEX",
        '│    count=3 folder="/home/anna/secret rows"',
        "├─ rest: Data 2  Splitter.b/left/2  HEX",
        "│  │ by Splitter.b (Splitter), execution 2: COMPLETE WHEN, code HEX",
        f"│  └─ data: {data}  (see above)",
        "└─ rest: Data 3  Splitter.b/right/2  HEX",
        "     by Splitter.b (Splitter), execution 2 (see above)",
    ]
    assert lineage_graph.trace_artifact(records, 4).executions.keys() == {1, 2, 3}


def test_run_refers_to_the_executions_that_it_reused(records):
    first, second, failed = records.list_runs()
    found = lineage_graph.trace_run(records, second.id)
    assert set(found.executions) == found.reused == {1, 2, 3}
    assert not found.executed
    assert {e.state for e in found.executions.values()} == {State.COMPLETE}
    text = lineage_text.format_tree(found)
    assert "0 executed, 3 reused" in text and "training.epochs=2" in text
    assert lineage_graph.trace_run(records, first.id).executed == {1, 2, 3}
    found = lineage_graph.trace_run(records, failed.id)
    assert (set(found.executed), found.reused) == ({9}, {1, 2})
    text = lineage_text.format_tree(found)
    assert "\nJoiner, execution 9: FAILED" in text
    assert "'/home/anna b/x.csv'" in text and text.count("code ") == 3
    with pytest.raises(MetadataError, match=f"closest is '{second.id}'"):
        lineage_graph.trace_run(records, f"{second.id}x")


def test_events_name_the_inputs_and_outputs(records):
    events = lineage_graph.trace_artifact(records, 4).list_events()
    assert {(e.execution, e.artifact, e.keys, e.output) for e in events} == {
        (1, 1, ("data",), True),
        (2, 1, ("data",), False),
        (2, 2, ("left",), True),
        (2, 3, ("right",), True),
        (3, 1, ("left", "rest"), False),
        (3, 2, ("rest",), False),
        (3, 3, ("rest",), False),
        (3, 4, ("joined",), True),
    }
    # What was made beside an ancestor is none.
    assert set(lineage_graph.trace_artifact(records, 2).artifacts) == {1, 2}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"a": {"b": 1, "c": {}}, "d": None}, "a.b=1 a.c={} d=null"),
        ({"x": "1", "y": "null", "z": ""}, 'x="1" y="null" z=""'),
        ({"x": "two words", "y": "größer"}, 'x="two words" y=größer'),
        ({"x": [1, "ü"], "y": "a" * 99}, f'x=[1,"ü"] y={"a" * 59}…'),
    ],
)
def test_settings_are_formatted_compactly(given, shown):
    assert lineage_text.format_settings(given) == shown


def test_times_and_durations():
    assert lineage_text.format_time(0, utc=True) == "1970-01-01T00:00:00Z"
    told = {
        0: "0.00 s",
        9_994: "9.99 s",
        9_996: "10.0 s",
        59_940: "59.9 s",
        59_960: "1 min 00 s",
        192_000: "3 min 12 s",
        3_599_400: "59 min 59 s",
        3_599_600: "1 h 00 min",
        90_000_000: "25 h 00 min",
    }
    assert {n: lineage_text.format_duration(n) for n in told} == told


class _Page(html.parser.HTMLParser):
    """The elements of a page, properly nested."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "col", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def values(self, name):
        return [held[name] for _, held in self.elements if name in held]


@pytest.mark.parametrize("chosen", ["artifact", 0, 1, 2])
def test_page_is_complete_and_names_no_host_or_path(records, chosen):
    found = (
        lineage_graph.trace_artifact(records, 4)
        if chosen == "artifact"
        else lineage_graph.trace_run(records, records.list_runs()[chosen].id)
    )
    text = lineage_page.format_page(found)
    page = _Page(text)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "use"}
    assert "default-src 'none'; style-src 'unsafe-inline'" in page.values("content")
    ids, links = page.values("id"), page.values("href")
    assert len(ids) == len(set(ids))
    named = {f"execution-{number}" for number in found.executions}
    named |= {f"artifact-{number}" for number in found.artifacts}
    assert named <= set(ids)
    drawn = links[: len(named)]
    assert sorted(drawn) == sorted(f"#{name}" for name in named)
    assert {link[1:] for link in links} <= set(ids)
    for secret in (
        str(records.path.parent),
        "Würzel",
        "anna",
        "secret",
        socket.gethostname(),
        "/home",
        "/tmp",
    ):
        assert secret not in text, secret
    assert "\x1b" not in text and "\u202e" not in text
    for digest in {a.digest for a in found.artifacts.values()}:
        assert digest in text
    assert {e.code for e in found.executions.values()} <= set(re.findall("[0-9a-f]{64}", text))
    assert ("dashed" in text) and ("FAILED" in text) == (chosen == 2)
    assert ("x.csv" in text) == (chosen == 2)


def test_page_hides_the_path_of_an_outside_root(tmp_path):
    metadata = Metadata(tmp_path / "elsewhere" / "metadata.sqlite")
    LocalRunner(tmp_path / "root", metadata).run(_nodes())
    records = lineage_graph.ReadOnlyMetadata(metadata.path)
    text = lineage_page.format_page(lineage_graph.trace_artifact(records, 4))
    assert "…/Joiner/joined/3" in text and str(tmp_path) not in text
    tree = lineage_text.format_tree(lineage_graph.trace_artifact(records, 4))
    assert f"{tmp_path}/root/Joiner/joined/3" in tree


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("/home/anna", "…"),
        ("/home/anna/two words/data", "…"),
        ("/r/oot/Trainer/model/2", "Trainer/model/2"),
        ("no '/r/oot/a b.csv' here", "no 'a b.csv' here"),
        ("no '/home/an na/a.csv', sir", "no '…/a.csv', sir"),
        ("at /data/anna/x.npz: bad", "at …/x.npz: bad"),
        ("in ~anna/x, ~/y", "in …, …"),
        (r"C:\Users\anna\x.csv", "…/x.csv"),
        (r"\\server\anna", "…"),
        ("file:///home/anna", "file:…"),
        ("box failed, box-2 not", "… failed, box-2 not"),
        ("a/b 8/255 TA / RA", "a/b 8/255 TA / RA"),
    ],
)
def test_paths_and_hosts_are_hidden(given, shown):
    assert Redaction("/r/oot", {"box"}).redact_text(given) == shown
    value = {"x": [1, {given: given}]}
    hidden = Redaction("/r/oot", {"box"}).redact_value(value)
    assert hidden == {"x": [1, {shown: shown}]}


def test_published_copy_has_no_paths_and_hosts(workdir, tmp_path):
    source, target = lineage_graph.find_database(workdir), tmp_path / "metadata.sqlite"
    publishing.copy_redacted(source, target)
    content = target.read_bytes()
    for secret in (str(workdir), socket.gethostname(), "anna", "/home"):
        assert secret.encode() not in content, secret
    given, copied = (lineage_graph.ReadOnlyMetadata(p).list_runs() for p in (source, target))
    assert [(r.id, r.state) for r in given] == [(r.id, r.state) for r in copied]
    assert given[0].parameters == copied[0].parameters
    trees = [
        lineage_text.format_tree(
            lineage_graph.trace_run(lineage_graph.ReadOnlyMetadata(p), given[0].id)
        )
        for p in (source, target)
    ]
    # The same tree, but for what the settings say of folders.
    told = [[x for x in t.splitlines() if "anna" not in x and "…" not in x] for t in trees]
    assert set(told[1]) <= set(told[0]) and len(told[1]) > 10


def test_boxes_do_not_overlap_and_lines_go_down():
    edges = [(a, b) for b in range(30) for a in (b // 2, b // 3, b - 7)]
    edges = [(a, b) for a, b in edges if 0 <= a < b]
    layout = lineage_layout.arrange_boxes(range(30), edges, width=100, height=40)
    boxes = list(layout.boxes.values())
    assert len(boxes) == 30
    for i, (x, y) in enumerate(boxes):
        assert -1e-9 <= x <= layout.width - 100 + 1e-9 and 0 <= y <= layout.height - 40
        for other_x, other_y in boxes[:i]:
            assert abs(x - other_x) >= 100 or abs(y - other_y) >= 40
    assert max(collections.Counter(y for _, y in boxes).values()) <= 5
    for a, b in edges:
        assert layout.boxes[a][1] < layout.boxes[b][1]
    assert layout.paths.keys() == set(edges)
    for (a, b), path in layout.paths.items():
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", path)]
        start, end = layout.boxes[a], layout.boxes[b]
        assert numbers[:2] == pytest.approx([start[0] + 50, start[1] + 40], abs=0.1)
        assert numbers[-2:] == pytest.approx([end[0] + 50, end[1]], abs=0.1)


def test_a_cycle_is_drawn_without_one_of_its_edges():
    cycle = [("a", "b"), ("b", "a")]
    layout = lineage_layout.arrange_boxes("ab", cycle, width=1, height=1)
    assert len(layout.boxes) == 2 and len(layout.paths) == 1
    assert lineage_layout.arrange_boxes((), (), width=1, height=1).boxes == {}


def test_reading_changes_nothing(workdir, tmp_path):
    before = _contents(workdir)
    records = lineage_graph.ReadOnlyMetadata(lineage_graph.find_database(workdir))
    denied = pytest.raises(MetadataError, match="readonly")
    with denied, records.transaction() as cursor:
        cursor.execute("DELETE FROM Event")
    for name, given in (
        ("show_lineage", [workdir]),
        ("show_lineage", [workdir / "pipeline/Source/data/1/rows"]),
        ("list_runs", [workdir.parent]),
    ):
        done = _program(name, *given)
        assert done.returncode == 0, done.stderr
        assert "Source" in done.stdout or "toys" in done.stdout
    assert _contents(workdir) == before
    for name in ("show_lineage", "list_runs"):
        done = _program(name, tmp_path / "none")
        assert done.returncode == 1 and "There is no" in done.stderr
    with pytest.raises(MetadataError):
        lineage_graph.ReadOnlyMetadata(tmp_path / "none.sqlite")
    assert not list(tmp_path.iterdir())


def test_journal_of_a_killed_writer_is_reported(workdir, tmp_path):
    shutil.copytree(workdir, tmp_path / "copy")
    path = tmp_path / "copy/pipeline/metadata.sqlite"
    code = (
        "import os, signal, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1')\n"
        "c.execute('BEGIN IMMEDIATE')\n"
        "for i in range(3000): c.execute('INSERT INTO MLMDEnv VALUES (?)', "
        "(100 + i,))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, path])
    assert done.returncode == -signal.SIGKILL
    before = _contents(tmp_path)
    done = _program("show_lineage", tmp_path / "copy")
    assert done.returncode == 1 and "after a process was killed" in done.stderr
    assert _contents(tmp_path) == before
    Metadata(path)
    assert _program("show_lineage", tmp_path / "copy").returncode == 0


def test_the_program_writes_whole_pages(workdir, tmp_path):
    (tmp_path / "deep").mkdir()
    target = tmp_path / "deep" / "a.html"
    for run in (2, 1):
        chosen = (
            lineage_graph.ReadOnlyMetadata(lineage_graph.find_database(workdir)).list_runs()[run].id
        )
        done = _program("show_lineage", workdir, f"--html={target}", f"--run={chosen}")
        assert done.stdout == f"Wrote {target}; any browser opens it.\n"
        assert f"Lineage of run {chosen}" in target.read_text("utf-8")
    before = target.read_bytes()
    (tmp_path / "b.html").mkdir()
    inside = workdir / "pipeline/Source/data/1/x.html"
    for name in (
        tmp_path / "none/a.html",
        tmp_path / "b.html",
        inside,
        workdir / "pipeline/metadata.sqlite",
        "",
    ):
        done = _program("show_lineage", workdir, f"--html={name}")
        assert done.returncode == 1 and not done.stdout
        assert re.fullmatch("Error: .*\n", done.stderr), done.stderr
    full = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (99, 99));"
    full += "import runpy; runpy.run_module('bin.show_lineage', None, '__main__')"
    done = subprocess.run(
        [sys.executable, "-B", "-c", full, workdir, f"--html={target}"],
        cwd=_ROOT,
        text=True,
        capture_output=True,
    )
    assert "Error: Cannot write" in done.stderr and done.returncode == 1
    assert target.read_bytes() == before
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.html"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "Expected one path, received 0"),
        (["a", "b"], "received 2: a b"),
        (["W", "--rum=x"], "Unknown command line flag 'rum'. Did you mean"),
        (["W", "--run=toys.2"], "Unknown run 'toys.2'; 3 are recorded. The"),
        (["W/pipeline/Source", "--run=toys.2"], "--run needs a working"),
        (["W/pipeline/Splitter.b"], "such as 'W/pipeline/Splitter.b/right/2'"),
        (["W/nothing/here"], "'W/nothing/here' belongs to no published"),
        (["/nothing/here"], "There is no file or folder '/nothing/here'"),
        (["/"], "no metadata.sqlite in '/'"),
        (["W", "--artifact=999"], "has no artifact 999"),
        (["W", "--artifact=1", "--run=toys.1"], "give one of them"),
        (["--pipeline_root=W", "/"], "give one of them"),
        (["L"], "form a cycle"),
        (["W", "--html=L"], "form a cycle"),
        (["a" * 300], "File name too long"),
    ],
)
def test_errors_are_one_line(workdir, tmp_path, given, told):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    given = [word.replace("W", str(workdir), 1) for word in given]
    given = [word.replace("L", str(tmp_path / "loop"), 1) for word in given]
    done = _program("show_lineage", *given)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
    assert told.replace("W", str(workdir)) in done.stderr


def test_an_artifact_is_named_by_its_number_or_its_path(workdir):
    root = workdir / "pipeline"
    path = root / "Source" / "data" / "1"
    told = {
        _program("show_lineage", *given).stdout
        for given in (
            [path],
            [f"--artifact={path}"],
            [f"--pipeline_root={root}", f"--artifact={path}"],
            [f"--pipeline_root={root}", "--artifact=1"],
        )
    }
    assert len(told) == 1 and "Source/data/1" in told.pop()


@pytest.mark.parametrize("harm", ["torn", "other", "foreign", "empty"])
def test_damaged_and_foreign_databases_are_reported(workdir, tmp_path, harm):
    path = tmp_path / "x" / "metadata.sqlite"
    path.parent.mkdir()
    whole = (workdir / "pipeline/metadata.sqlite").read_bytes()
    path.write_bytes(whole)
    if harm == "torn":
        path.write_bytes(whole[: len(whole) // 2])
    elif harm == "other":
        path.write_bytes(b"no database at all")
    elif harm == "empty":
        path.write_bytes(b"")
    else:
        with sqlite3.connect(path) as connection:
            connection.execute(
                "UPDATE ContextProperty SET string_value = 'x' WHERE name = 'parameters'"
            )
        connection.close()
    before = path.read_bytes()
    for name, given in (("show_lineage", path.parent), ("list_runs", tmp_path)):
        done = _program(name, given)
        assert done.returncode == 1
        assert re.fullmatch("Error: .*\n", done.stderr), done.stderr
        assert str(path) in done.stderr
    assert path.read_bytes() == before and len(list(tmp_path.rglob("*"))) == 2


def test_runs_are_listed(workdir, tmp_path):
    shutil.copytree(workdir, tmp_path / "one")
    shutil.copytree(workdir / "pipeline", tmp_path / "two")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    owner = Owner(socket.gethostname(), dead.pid, "")
    metadata = Metadata(tmp_path / "two/metadata.sqlite")
    for name, owned in (("toys.dead", owner), ("toys.alive", None)):
        run = Run(id=name, pipeline="toys", parameters={"seed": 7})
        run.owner = owned or run.owner
        metadata.end(run, State.RUNNING)
    done = _program("list_runs", tmp_path, "--format=csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [pathlib.Path(row["root"]).name for row in rows] == (["pipeline"] * 3 + ["two"] * 5)
    states = ["COMPLETE", "COMPLETE", "FAILED", "abandoned", "RUNNING"]
    assert [row["state"] for row in rows[3:]] == states
    counts = [(row["executed"], row["reused"]) for row in rows[3:]]
    assert counts == [("3", "0"), ("0", "3"), ("1", "2"), *[("0", "0")] * 2]
    assert [json.loads(row["differing"]) for row in rows[:3]] == [
        {"seed": 0, "training.epochs": 1, "training.rate": 0.5},
        {"seed": 0, "training.epochs": 2, "training.rate": 0.5},
        {},
    ]
    assert float(rows[0]["seconds"]) > 0 and rows[-1]["seconds"] == ""
    # The second run reused everything, so that it has the size of the first.
    sizes = [int(row["bytes"]) for row in rows[:3]]
    assert sizes[0] == sizes[1] > sizes[2] > 0
    assert all(sizes[0] < int(row["root_bytes"]) for row in rows)
    assert [int(row["bytes"]) for row in rows[6:]] == [0, 0]
    assert all(0 <= float(row["age_seconds"]) < 600 for row in rows)
    began = time.strptime(rows[0]["started"], "%Y-%m-%dT%H:%M:%S")
    assert abs(time.mktime(began) - time.time()) < 600
    (tmp_path / "two/metadata.sqlite").write_bytes(b"damaged")
    done = _program("list_runs", tmp_path)
    assert done.returncode == 1 and "is damaged" in done.stderr
    assert "seed=0 training.epochs=2 training.rate=0.5" in done.stdout
    size = re.escape(f"{tmp_path}/one/pipeline: ") + r"\d+ kB, last used .* ago\nrun "
    assert re.match(size, done.stdout)


def test_programs_start_fast_and_survive_closed_output(workdir):
    for name, flag in (("show_lineage", "--html"), ("list_runs", "--format")):
        start = time.perf_counter()
        done = _program(name, "--help")
        assert time.perf_counter() - start < 3
        assert flag in done.stdout and "Traceback" not in done.stderr
    code = (
        "import sys, qup.cli.lineage, qup.cli.runs\n"
        "print(*({'tensorflow', 'numpy', 'ml_collections'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, text=True, capture_output=True)
    assert (done.stdout, done.stderr) == ("\n", "")
    for name, target in (("show_lineage", workdir), ("list_runs", workdir)):
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", f"bin.{name}", target]
        done = subprocess.run(command, cwd=_ROOT, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        assert (done.returncode, done.stderr) == (0, b"")
        with open("/dev/full", "w") as full:
            done = subprocess.run(command, cwd=_ROOT, stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 1
        assert re.fullmatch(b"Error: .*standard output.*\n", done.stderr)
