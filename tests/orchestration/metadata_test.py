"""The database: format, damage, speed, and what can be asked of it."""

import contextlib
import pathlib
import shutil
import sqlite3
import time

import pytest

from qup.orchestration import (
    Artifact,
    Execution,
    In,
    LocalRunner,
    Metadata,
    MetadataError,
    MetadataReader,
    Out,
    State,
    component,
)


class Data(Artifact):
    pass


@component
def Source(data: Out[Data], *, text: str = "x", scale: float = 0.5) -> None:
    (data.path / "file").write_text(text)


@component
def Joiner(left: In[Data], rest: In[list[Data]], out: Out[Data]) -> None:
    out.properties.update(number=2**40, part=0.25, name="ü", good=True)


@component
def Broken(data: In[Data], out: Out[Data]) -> None:
    raise RuntimeError("it broke")


def _pipeline():
    sources = [Source(text=t).with_id(f"Source.{t}") for t in "ab"]
    data = [source.outputs["data"] for source in sources]
    return [*sources, Joiner(left=data[0], rest=[*data, data[0]])]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a root" / "metadata.sqlite"
    runner = LocalRunner(path.parent, Metadata(path))
    runner.run(_pipeline(), pipeline="first", parameters={"epochs": 3})
    return path


def test_tables_and_indexes_have_their_names(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
        ).fetchall()
        assert sorted(n for kind, n in rows if kind == "table") == [
            "Artifact",
            "ArtifactProperty",
            "Association",
            "Attribution",
            "Context",
            "ContextProperty",
            "Event",
            "EventPath",
            "Execution",
            "ExecutionProperty",
            "MLMDEnv",
            "ParentContext",
            "ParentType",
            "Type",
            "TypeProperty",
        ]
        assert sum(kind == "index" for kind, _ in rows) == 24
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        assert mode == "delete"


def test_lineage_goes_back_to_the_source(path):
    metadata = MetadataReader(path)
    out = metadata.find_artifact(path.parent / "Joiner/out/3/any/file")
    assert out.type_name == "Data" and out.path.is_dir()
    assert out.properties == {"number": 2**40, "part": 0.25, "name": "ü", "good": True}
    joiner = metadata.find_producer(out.id)
    assert (joiner.component, joiner.node) == ("Joiner", "Joiner")
    ids = {key: [a.id for a in held] for key, held in joiner.inputs.items()}
    assert ids == {"left": [1], "rest": [1, 2, 1]}
    source = metadata.find_producer(ids["rest"][1])
    assert source.node == "Source.b"
    assert source.parameters == {"text": "b", "scale": 0.5}
    assert source.inputs == {} and len(source.code) == 64
    assert metadata.get_artifact(2).digest == source.outputs["data"][0].digest
    assert metadata.find_artifact(path) is None
    with pytest.raises(MetadataError, match="has no artifact 99"):
        metadata.get_artifact(99)
    with pytest.raises(MetadataError, match="has no execution 99"):
        metadata.get_execution(99)


def test_runs_have_state_time_and_parameters(path):
    metadata = Metadata(path)
    broken = Broken(data=_pipeline()[0].outputs["data"])
    nodes = [broken.inputs["data"][0].producer, broken]
    with pytest.raises(RuntimeError) as error:
        LocalRunner(path.parent, metadata).run(nodes, pipeline="second")
    assert error.value.__notes__ == ["in execution 5 of Broken"]
    first, second = metadata.list_runs()
    assert (first.pipeline, first.state) == ("first", State.COMPLETE)
    assert first.parameters == {"epochs": 3} and not first.is_abandoned
    assert (second.pipeline, second.state) == ("second", State.FAILED)
    assert 0 < first.created <= first.updated <= second.updated
    executions = metadata.list_executions(second.id)
    assert [e.state for e in executions] == [State.CACHED, State.FAILED]
    assert executions[1].error == "RuntimeError: it broke"
    assert metadata.find_producer(1).id == 1, "not the one that reused it"


def test_damaged_database_is_renamed(path):
    whole = path.read_bytes()
    harms = {
        "header": b"no SQLite file" + whole[14:],
        "pages": whole[:8192] + bytes(len(whole) - 8192),
        "end": whole[: len(whole) // 2],
    }
    for number, (harm, data) in enumerate(harms.items(), 1):
        path.write_bytes(data)
        with pytest.raises(MetadataError, match="Nothing was changed"):
            Metadata(path)
        with pytest.raises(MetadataError, match="is damaged"):
            MetadataReader(path)
        assert path.read_bytes() == data, harm
        with pytest.raises(MetadataError, match="is damaged") as error:
            Metadata(path, rename_if_damaged=True)
        kept = path.with_name(f"metadata.sqlite.corrupt-{number}")
        assert f"renamed to {kept.name}" in str(error.value)
        assert kept.read_bytes() == data and not path.exists()
    # The next start begins anew, and takes nothing for its own.
    (path.parent / "of somebody/else" / "99").mkdir(parents=True)
    before = sorted(path.parent.rglob("*"))
    done = LocalRunner(path.parent, Metadata(path)).run(_pipeline())
    assert [e.state for e in done.values()] == [State.COMPLETE] * 3
    assert sorted(e.id for e in done.values()) == [4, 5, 6]
    assert set(before) <= set(path.parent.rglob("*"))


def test_a_journal_goes_with_its_database(path, monkeypatch):
    # SQLite itself removes the journals that it can make sense of.
    monkeypatch.setattr(Metadata, "_find_damage", lambda self, mode: "torn")
    journal = path.with_name("metadata.sqlite-journal")
    journal.write_bytes(b"half a page")
    with pytest.raises(MetadataError, match=r"damaged \(torn\)"):
        Metadata(path, rename_if_damaged=True)
    kept = path.with_name("metadata.sqlite.corrupt-1-journal")
    assert kept.read_bytes() == b"half a page" and not journal.exists()


def test_other_databases_are_left_alone(path, tmp_path):
    other = tmp_path / "other.sqlite"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE mine (x)")
        connection.commit()
    before = other.read_bytes()
    with pytest.raises(MetadataError, match="it has another schema"):
        Metadata(other, rename_if_damaged=True)
    assert other.read_bytes() == before
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE MLMDEnv SET schema_version = 9")
        connection.commit()
    with pytest.raises(MetadataError, match="it has version 9"):
        Metadata(path)
    with pytest.raises(MetadataError, match="There is no metadata database"):
        MetadataReader(tmp_path / "none.sqlite")
    assert not (tmp_path / "none.sqlite").exists()
    with pytest.raises(MetadataError, match="Choose a folder"):
        Metadata(tmp_path)


def test_full_database_is_reported_and_survives(path, monkeypatch):
    metadata, connect = Metadata(path), sqlite3.connect

    def small(*args, **options):
        connection = connect(*args, **options)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    runner = LocalRunner(path.parent, metadata)
    with pytest.raises(MetadataError, match=r"full\. Free some space"):
        runner.run([Source(text="long" * 10_000)])
    monkeypatch.undo()
    done = runner.run(_pipeline())
    assert {e.state for e in done.values()} == {State.CACHED}


def test_lock_timeout_is_reported(path, monkeypatch):
    metadata = Metadata(path)
    monkeypatch.setattr("qup.orchestration.database._TIMEOUT_S", 0.1)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(MetadataError, match=r"locked\. Wait until"):
            metadata.begin("third", {})
    assert metadata.begin("third", {}).state is State.RUNNING


def test_a_failed_transaction_lets_go_at_once(path, monkeypatch):
    metadata = Metadata(path)
    monkeypatch.setattr("qup.orchestration.database._TIMEOUT_S", 0.1)
    with pytest.raises(RuntimeError) as kept, metadata.transaction() as cursor:
        cursor.execute("DELETE FROM Event")
        cursor.execute("SELECT * FROM Artifact")
        raise RuntimeError
    assert metadata.begin("next", {}).state is State.RUNNING
    assert kept and metadata.get_execution(3).outputs, "rolled back"


@pytest.mark.slow
def test_look_ups_stay_fast_among_10_000_executions(path, monkeypatch):
    metadata = Metadata(path)
    run = metadata.begin("many", {})
    with metadata.transaction() as cursor:
        # All in one transaction: committing each would take a minute.
        monkeypatch.setattr(metadata, "transaction", lambda: contextlib.nullcontext(cursor))
        for number in range(10_000):
            execution = Execution(
                component="Source",
                node="Source",
                fingerprint=f"{number:064}",
                code="c" * 64,
                parameters={"number": number},
                inputs={},
            )
            metadata.register(execution, run)
            data = Data(uri=str(path.parent / f"Source/data/{number}"))
            execution.outputs = {"data": [data]}
            metadata.publish(execution, run)
        monkeypatch.undo()
    seconds = []
    for number in range(0, 10_000, 500):
        start = time.perf_counter()
        (found,) = metadata.find_executions(f"{number:064}", State.COMPLETE)
        assert metadata.find_executions("nothing", State.COMPLETE) == []
        seconds.append(time.perf_counter() - start)
        assert found.parameters == {"number": number}
    assert sorted(seconds)[len(seconds) // 2] / 2 < 0.010
    start = time.perf_counter()
    Metadata(path)
    assert time.perf_counter() - start < 1


def test_a_copy_of_the_root_knows_its_own_files(path, tmp_path):
    shutil.copytree(path.parent, tmp_path / "copy")
    metadata = MetadataReader(tmp_path / "copy" / path.name)
    assert metadata.get_artifact(1).path == tmp_path / "copy/Source.a/data/1"
    assert isinstance(metadata.get_artifact(1).path, pathlib.Path)
