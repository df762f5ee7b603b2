"""The cache: what is reused, what is not, and what damage does."""

import os
import shutil
import time

import pytest

from qup.core.hashing import hash_tree
from qup.orchestration import (
    Artifact,
    In,
    LocalRunner,
    Location,
    Metadata,
    Out,
    PipelineError,
    State,
    StorageError,
    artifacts,
    component,
)
from qup.orchestration.artifacts import ArtifactState


class Data(Artifact):
    pass


class Result(Artifact):
    pass


@component
def Source(data: Out[Data], *, text: str = "data", mark: int = 0) -> None:
    (data.path / "part").mkdir()
    (data.path / "part" / "one").write_text(text)
    (data.path / "two").write_text("fixed")
    (data.path / "empty").mkdir()
    data.properties["mark"] = mark


@component
def Worker(
    data: In[Data],
    result: Out[Result],
    extra: Out[Result],
    more: In[list[Data]] = None,
    *,
    number: int = 1,
    rate: float = 0.5,
    name: str = "a",
    flag: bool = False,
    nothing: int | None = None,
    sizes: list[int] = [1, 2],  # noqa: B006
    options: dict = {"a": {"b": 1}},  # noqa: B006
    place: Location[str] = "here",
) -> None:
    (result.path / "sum").write_text((data.path / "part/one").read_text())
    (extra.path / "deep").mkdir()
    (extra.path / "deep" / "file").write_bytes(bytes(range(100)))
    sizes.append(3)  # A copy: neither default nor record may change.


class Root:
    """A pipeline root and the events of its runs."""

    def __init__(self, path):
        self.path = path
        self.events = []

    def run(self, *nodes, **options):
        self.events = []
        metadata = Metadata(self.path / "metadata.sqlite")
        return LocalRunner(self.path, metadata, on_event=self.events.append, **options).run(nodes)

    def work(self, *, source=None, runner=None, **parameters):
        gen = Source(**(source or {}))
        worker = Worker(data=gen.outputs["data"], **parameters)
        done = self.run(gen, worker, **(runner or {}))
        return done["Source"], done["Worker"]

    def kinds(self, kind):
        return [n.message for n in self.events if n.kind == kind]


@pytest.fixture
def root(tmp_path):
    root = Root(tmp_path / "Wurzel mit Ä and spaces")
    root.work()
    return root


def test_the_same_is_reused(root):
    source, worker = root.work()
    assert source.state is worker.state is State.CACHED
    assert worker.outputs["extra"][0].path.parent.parent.name == "Worker"
    assert isinstance(worker.outputs["extra"][0], Result)
    assert root.kinds("reused") == ["reused execution 1", "reused execution 2"]
    # A component may change its parameters, but only for itself.
    gen = Source()
    worker = Worker(data=gen.outputs["data"])
    for enable_cache in (False, True):
        done = root.run(gen, worker, enable_cache=enable_cache)
    assert done["Worker"].state is State.CACHED
    # It is reused by whatever the node is called, and places do not count.
    gen = Source().with_id("other")
    worker = Worker(data=gen.outputs["data"], place="there").with_id("again")
    done = root.run(worker, gen)
    assert done["again"].state is State.CACHED
    assert done["again"].parameters["place"] == "there"


@pytest.mark.parametrize(
    "change",
    [
        {"number": 2},
        {"rate": 0.5000001},
        {"rate": -0.5},
        {"name": "A"},
        {"name": ""},
        {"flag": True},
        {"nothing": 0},
        {"sizes": [2, 1]},
        {"sizes": [1, 2, 3]},
        {"sizes": []},
        {"options": {"a": {"b": 2}}},
        {"options": {"a": {"c": 1}}},
        {"options": {}},
    ],
    ids=str,
)
def test_any_other_parameter_misses(root, change):
    source, worker = root.work(**change)
    assert source.state is State.CACHED
    assert worker.state is State.COMPLETE
    assert root.work(**change)[1].state is State.CACHED
    # The first one is still known.
    assert root.work()[1].state is State.CACHED


@pytest.mark.parametrize("change", [{"text": "date"}, {"text": "data "}, {"mark": 1}], ids=str)
def test_any_other_input_misses(root, change):
    source, worker = root.work(source=change)
    assert source.state is worker.state is State.COMPLETE


def test_inputs_that_come_out_equal_are_reused(root):
    # Another execution of Source makes the same bytes.
    done = root.run(Source(), enable_cache=False)
    assert done["Source"].state is State.COMPLETE
    source, worker = root.work()
    assert source.outputs["data"][0].id == done["Source"].outputs["data"][0].id
    assert worker.state is State.CACHED


def test_order_and_number_of_a_list_count(root):
    gens = [Source(text=t).with_id(t) for t in ("x", "y")]
    channels = [gen.outputs["data"] for gen in gens]

    def run(more):
        options = {} if more is None else {"more": more}
        worker = Worker(data=channels[0], **options)
        return root.run(*gens, worker)["Worker"].state

    for more in (None, [], channels, channels[::-1], channels[:1]):
        assert run(more) is State.COMPLETE
        assert run(more) is State.CACHED


def test_the_cache_can_be_turned_off(root):
    for execution in root.work(runner={"enable_cache": False}):
        assert execution.state is State.COMPLETE


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with open(path, "r+b") as file:
        file.write(data)


def _truncate(path):
    os.truncate(path, path.stat().st_size - 1)


def _touch_again(path):
    # The same size and the same mtime, but another file.
    old = path.stat()
    data = path.read_bytes()
    path.rename(path.with_name("old"))
    path.write_bytes(data[::-1])
    path.with_name("old").unlink()
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))


_FILES = [
    "Source/data/1/part/one",
    "Source/data/1/two",
    "Worker/result/2/sum",
    "Worker/extra/2/deep/file",
]
_DAMAGES = {
    "flipped": (_flip, "other bytes"),
    "truncated": (_truncate, "bytes instead of"),
    "deleted": (lambda path: path.unlink(), "is missing"),
    "replaced": (_touch_again, "other bytes"),
    "folder deleted": (lambda path: shutil.rmtree(path.parent), "is missing"),
    "added": (lambda path: path.with_name("more").write_text(""), "was added"),
}


@pytest.mark.parametrize("damage", _DAMAGES)
@pytest.mark.parametrize("name", _FILES)
def test_damage_is_reported_and_repaired(root, name, damage):
    harm, says = _DAMAGES[damage]
    harm(root.path / name)
    done = dict(zip(("Source", "Worker"), root.work(), strict=True))
    hurt = name.split("/")[0]
    for node, execution in done.items():
        expected = State.COMPLETE if node == hurt else State.CACHED
        assert execution.state is expected, node
    (message,) = root.kinds("damaged")
    assert says in message and str(root.path / hurt) in message
    if damage in ("flipped", "truncated", "replaced", "deleted"):
        assert str(root.path / name) in message
    marked = Metadata(root.path / "metadata.sqlite").find_artifact(
        root.path / "/".join(name.split("/")[:3])
    )
    assert marked.state is not ArtifactState.LIVE
    assert all(e.state is State.CACHED for e in root.work())
    assert not root.kinds("damaged")


def test_a_folder_deleted_or_added_is_damage(root):
    (root.path / "Source/data/1/empty").rmdir()
    assert root.work()[0].state is State.COMPLETE
    assert "empty is missing" in root.kinds("damaged")[0]


def test_only_full_verification_reads_unchanged_files(root):
    time.sleep(0.1)  # Files of a tick ago would be hashed once more.
    root.work()
    path = root.path / _FILES[0]
    old = path.stat()
    _flip(path)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert root.work()[0].state is State.CACHED
    full = {"verify": "full"}
    assert root.work(runner=full)[0].state is State.COMPLETE
    assert str(path) in root.kinds("damaged")[0]


def test_an_older_intact_result_is_found(root):
    source, _ = root.work(runner={"enable_cache": False})
    _flip(source.outputs["data"][0].path / "two")
    source, worker = root.work()
    assert source.state is worker.state is State.CACHED
    assert source.outputs["data"][0].path.name == "1"


def test_a_root_may_move(root, tmp_path):
    root.path = root.path.rename(tmp_path / "moved")
    assert all(e.state is State.CACHED for e in root.work())
    shutil.copytree(root.path, tmp_path / "copied")
    root.path = tmp_path / "copied"
    source, worker = root.work()
    assert source.state is worker.state is State.CACHED
    assert source.outputs["data"][0].path.is_relative_to(root.path)


def test_steps_without_outputs_are_never_reused(tmp_path):
    calls = []

    @component
    def Effect(*, number: int = 1) -> None:
        calls.append(number)

    root = Root(tmp_path / "root")
    for _ in range(2):
        assert root.run(Effect())["Effect"].state is State.COMPLETE
    assert calls == [1, 1]


def test_equal_components_of_different_names_are_distinguished(tmp_path):
    @component
    def One(data: Out[Data]) -> None: ...

    @component
    def Two(data: Out[Data]) -> None: ...

    done = Root(tmp_path / "root").run(One(), Two(), One().with_id("Three"))
    assert [execution.state for execution in done.values()] == [
        State.COMPLETE,
        State.COMPLETE,
        State.CACHED,
    ]


def test_a_change_within_a_tick_of_the_clock_is_seen(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    times = path.stat()
    manifest = artifacts.create_manifest(path)
    with open(path, "r+") as file:
        file.write("two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "other bytes" in artifacts.find_damage(path, manifest)[0]


def test_output_that_is_not_a_file_is_rejected(tmp_path):
    @component
    def Odd(out: Out[Data]) -> None:
        os.mkfifo(out.path / "pipe")

    root = Root(tmp_path / "root")
    with pytest.raises(StorageError):
        root.run(Odd())
    assert not list((root.path / "Odd/out").glob("*"))


def test_component_without_source_is_rejected(tmp_path):
    names = {"Out": Out, "Data": Data}
    exec("def Made(out: Out[Data]) -> None: ...", names)
    with pytest.raises(PipelineError, match="Made is not in a file"):
        Root(tmp_path / "root").run(component(names["Made"])())


def test_digests_know_names_sizes_and_bytes_only(tmp_path):
    def tree(name, files):
        for path, data in files.items():
            path = tmp_path / name / path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return hash_tree(tmp_path / name)

    one = tree("one", {"a": b"1", "b/c": b"2"})
    assert tree("two", {"b/c": b"2", "a": b"1"}) == one
    assert tree("three", {"a": b"1", "b/d": b"2"}) != one
    assert tree("four", {"a": b"12", "b/c": b""}) != one
    assert tree("five", {"a": b"1", "b/c": b"2", "d/e": b""}) != one
    assert hash_tree(tmp_path / "one/a") == hash_tree(tmp_path / "two/a")
    manifest = artifacts.create_manifest(tmp_path / "one")
    assert artifacts.find_damage(tmp_path / "two", manifest)[0] == ""


def test_component_that_is_not_cached_runs_every_time(tmp_path):
    root, ran = Root(tmp_path), []

    @component(cached=False)
    def Pusher(result: In[Result], pushed: Out[Data]) -> None:
        ran.append(result.id)

    source = Source()
    worker = Worker(data=source.outputs["data"])
    pusher = Pusher(result=worker.outputs["result"])
    for _ in range(2):
        done = root.run(source, worker, pusher)
    assert done["Worker"].state is State.CACHED
    assert done["Pusher"].state is State.COMPLETE and len(ran) == 2


def test_other_nodes_run_after_a_failure(tmp_path):
    @component
    def Breaker(data: In[Data], result: Out[Result]) -> None:
        raise ValueError("broken")

    @component
    def Reader(result: In[Result], more: Out[Result]) -> None:
        (more.path / "x").touch()

    source = Source()
    data = source.outputs["data"]
    breaker = Breaker(data=data)
    behind = Reader(result=breaker.outputs["result"])
    beside = Worker(data=data)
    metadata = Metadata(tmp_path / "metadata.sqlite")
    runner = LocalRunner(tmp_path, metadata)
    nodes, told = [source, breaker, behind, beside], []
    with pytest.raises(ValueError, match="broken"):
        runner.run(nodes)
    done = runner.run(nodes, on_failure=lambda node, error: told.append((node.id, str(error))))
    assert set(done) == {"Source", "Worker"}
    assert told == [("Breaker", "broken")]
    assert done["Worker"].state is State.COMPLETE
    (failed, *_) = [run for run in metadata.list_runs() if run.id] or [None]
    assert failed.state is State.FAILED


def test_what_would_be_reused_is_found_without_a_run(root):
    gen = Source()
    worker = Worker(data=gen.outputs["data"])

    def find(*nodes, **options):
        metadata = Metadata(root.path / "metadata.sqlite")
        return LocalRunner(root.path, metadata, **options).find_reusable(nodes)

    found = find(worker, gen)
    assert {node: execution.id for node, execution in found.items()} == {"Source": 1, "Worker": 2}
    assert isinstance(found["Worker"].outputs["extra"][0], Result)
    assert find(worker, gen, enable_cache=False) == {}
    shutil.rmtree(found["Source"].outputs["data"][0].path)
    assert find(worker, gen) == {}
