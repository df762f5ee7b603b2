"""Several processes or parts share the work of one pipeline."""

import os
import pathlib
import pickle
import subprocess
import sys
import time

import pytest

from qup.core.parts import WHOLE, Part
from qup.orchestration import (
    Artifact,
    DoPart,
    In,
    LocalRunner,
    Location,
    Metadata,
    Node,
    Out,
    State,
    StatefulDir,
    component,
)

_ROOT = pathlib.Path(__file__).parents[2]
_NUM_SHARDS = 7


class Data(Artifact):
    pass


@component
def Source(data: Out[Data]) -> None:
    (data.path / "text").write_text("x")


@component
def Shards(
    data: In[Data],
    joined: Out[Data],
    state: StatefulDir,
    part: DoPart = WHOLE,
    *,
    pause: Location[float] = 0.0,
    fails: Location[list[int]] = (),
) -> None:
    text = (data.path / "text").read_text()
    for shard in filter(part.owns, range(_NUM_SHARDS)):
        path = state / f"shard-{shard}"
        if path.exists():
            continue
        time.sleep(pause)
        if shard in fails:
            raise OSError(f"shard {shard} fails")
        with open(state.parents[3] / "computed", "a") as file:
            file.write(f"{shard}\n")
        path.write_text(f"{text}{shard}")
    if not part.is_whole:
        return
    whole = " ".join((state / f"shard-{shard}").read_text() for shard in range(_NUM_SHARDS))
    (joined.path / "text").write_text(whole)


@component
def Sink(data: In[Data], copy: Out[Data]) -> None:
    (copy.path / "text").write_text((data.path / "text").read_text())


@component
def Slow(data: Out[Data], *, n: int) -> None:
    time.sleep(1.0)
    (data.path / "n").write_text(str(n))


def _build_nodes(**parameters) -> list[Node]:
    source = Source()
    shards = Shards(data=source.outputs["data"], **parameters)
    return [source, shards, Sink(data=shards.outputs["joined"])]


def _run(root, part=WHOLE, nodes=None, **options):
    events = []
    runner = LocalRunner(
        root, Metadata(root / "metadata.sqlite"), on_event=events.append, part=part, **options
    )
    return runner.run(nodes or _build_nodes()), events


def _read_computed(root):
    return sorted(map(int, (root / "computed").read_text().split()))


_EXPECTED = " ".join(f"x{shard}" for shard in range(_NUM_SHARDS))


@pytest.mark.parametrize("count", [2, 3, 10])
def test_parts_in_any_order_give_the_result_of_the_whole(tmp_path, count):
    for number in reversed(range(1, count + 1)):
        executions, events = _run(tmp_path, Part(number, count))
        # Neither the divided node nor what needs it is complete.
        assert set(executions) == {"Source"}
        assert f"part {number}/{count}" in str(next(e for e in events if e.kind == "part"))
    assert _read_computed(tmp_path) == list(range(_NUM_SHARDS))
    executions, _ = _run(tmp_path)
    assert _read_computed(tmp_path) == list(range(_NUM_SHARDS))  # Nothing was computed again.
    assert (executions["Sink"].outputs["copy"][0].path / "text").read_text() == _EXPECTED
    # A part that comes too late reuses the whole.
    executions, events = _run(tmp_path, Part(1, count))
    assert set(executions) == {"Source", "Shards", "Sink"}
    assert {event.kind for event in events} == {"reused"}


def test_the_whole_computes_what_no_part_did(tmp_path):
    _run(tmp_path, Part(2, 3))
    assert _read_computed(tmp_path) == [1, 4]
    executions, _ = _run(tmp_path)
    assert _read_computed(tmp_path) == list(range(_NUM_SHARDS))
    assert executions["Sink"].state is State.COMPLETE


def test_another_cut_goes_on_with_the_shards_of_the_first(tmp_path):
    _run(tmp_path, Part(1, 2))
    _run(tmp_path, Part(1, 3))
    _run(tmp_path, Part(2, 3))
    _run(tmp_path, Part(3, 3))
    assert _read_computed(tmp_path) == list(range(_NUM_SHARDS))


def test_a_part_that_fails_keeps_its_shards_and_does_not_stop_the_others(tmp_path):
    with pytest.raises(OSError, match="shard 2 fails"):
        _run(tmp_path, Part(1, 2), _build_nodes(fails=[2]))
    failures = []
    runner = LocalRunner(tmp_path, Metadata(tmp_path / "metadata.sqlite"), part=Part(1, 2))
    runner.run(_build_nodes(fails=[2]), on_failure=lambda node, error: failures.append(node.id))
    assert failures == ["Shards"]
    _run(tmp_path, Part(2, 2))
    assert _read_computed(tmp_path) == [0, 1, 3, 5]
    _run(tmp_path)
    assert _read_computed(tmp_path) == list(range(_NUM_SHARDS))


def test_parts_with_other_parameters_share_nothing(tmp_path):
    @component
    def Other(joined: Out[Data], state: StatefulDir, part: DoPart = WHOLE, *, n: int) -> None:
        (state / f"{part.number}").write_text("")
        if part.is_whole:
            (joined.path / "files").write_text(" ".join(sorted(p.name for p in state.iterdir())))

    _run(tmp_path, Part(2, 2), [Other(n=1)])
    executions, _ = _run(tmp_path, nodes=[Other(n=2)])
    assert (executions["Other"].outputs["joined"][0].path / "files").read_text() == "1"
    executions, _ = _run(tmp_path, nodes=[Other(n=1)])
    assert (executions["Other"].outputs["joined"][0].path / "files").read_text() == "1 2"


class _Engine:
    """Computes parts here, after a trip through pickle, in reverse."""

    def __init__(self, count, fails=()):
        self.count, self.fails = count, fails

    def compute(self, work):
        content = pickle.dumps(work)
        for number in reversed(range(1, self.count + 1)):
            if number in self.fails:
                raise RuntimeError(f"part {number} failed")
            pickle.loads(content).compute(Part(number, self.count))


def test_an_engine_computes_the_parts_and_the_whole_joins_them(tmp_path):
    executions, _ = _run(tmp_path, engine=_Engine(4))
    order = list(map(int, (tmp_path / "computed").read_text().split()))
    assert order == [3, 2, 6, 1, 5, 0, 4]
    assert (executions["Sink"].outputs["copy"][0].path / "text").read_text() == _EXPECTED


def test_a_failed_engine_keeps_the_shards(tmp_path):
    with pytest.raises(RuntimeError, match="part 2 failed"):
        _run(tmp_path, engine=_Engine(4, fails=[2]))
    assert _read_computed(tmp_path) == [2, 3, 6]
    executions, _ = _run(tmp_path)
    assert _read_computed(tmp_path) == list(range(_NUM_SHARDS))
    assert executions["Sink"].state is State.COMPLETE


_SCRIPT = """
import pathlib, sys
from qup.core.parts import Part
from qup.orchestration import LocalRunner, Metadata
from tests.orchestration import parts_test as p

root = pathlib.Path(sys.argv[1])
nodes = [p.Slow(n=n).with_id(f"Slow.{n}") for n in range(4)]
if sys.argv[3] != "independent":
    nodes = p._build_nodes(pause=float(sys.argv[3]))
LocalRunner(root, Metadata(root / "metadata.sqlite"), part=Part.parse(sys.argv[2]),
            on_event=lambda event: print(event, flush=True)).run(nodes)
"""


def _start(root, part, pause):
    return subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(root), part, str(pause)],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def _read_until(process, text):
    lines = []
    while not lines or text not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], lines


@pytest.mark.slow
def test_the_whole_waits_for_parts_that_run_and_takes_over_killed_ones(tmp_path):
    first, second = _start(tmp_path, "1/2", 0.3), _start(tmp_path, "2/2", 30)
    try:
        _read_until(first, "part 1/2")
        _read_until(second, "part 2/2")
        second.kill()
        second.wait()
        executions, events = _run(tmp_path)
        assert any("waiting for part 1/2" in str(event) for event in events)
        assert _read_computed(tmp_path) == list(range(_NUM_SHARDS))
        assert (executions["Sink"].outputs["copy"][0].path / "text").read_text() == _EXPECTED
        assert first.wait(timeout=30) == 0
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()


@pytest.mark.slow
def test_processes_take_different_nodes_of_a_shared_pipeline(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, str(tmp_path), f"{number}/2", "independent"],
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in (1, 2)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    run = [output.count("complete in") for output in outputs]
    assert sum(run) == 4 and min(run) >= 1, outputs
