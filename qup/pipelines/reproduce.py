"""Every table and figure of the paper, over the components of the road.

Each experiment is a pipeline of its own in one pipeline root, so that what
several need is made once, and what is known is not computed again. One that
fails does not stop the others.

```python
print(run(Request(pathlib.Path("runs/reproduction")), load=settings_of))
```
"""

import functools
import logging
import shlex
import time
from collections.abc import Mapping
from typing import Any

from qup import errors, scales, versions
from qup.orchestration import (
    Execution,
    MetadataReader,
    Node,
    Notice,
    State,
)
from qup.pipelines import boards, experiments, reproduce_request, spine
from qup.pipelines.benches import Benches, Load
from qup.pipelines.collecting import Gathered
from qup.pipelines.lab import Lab
from qup.pipelines.remaining import Remaining, duration
from qup.report import stamp, writing
from qup.report.material import ABOUT, Material, read_about
from qup.workdir import Workdir

Request = reproduce_request.Request
_log = logging.getLogger("qup")
_PROGRAM = "reproduce"


def run(request: Request, load: Load, places: Mapping[str, Any]) -> str:
    """Runs the experiments asked for, and writes the report.

    Args:
      request: Which experiments, how large, where.
      load: Returns the settings of a dataset, by its name.
      places: Settings by their names, the same for all datasets.

    Returns:
      Where everything lies, as text.

    Raises:
      InputError: Something given cannot be used, or an experiment failed;
        what was measured is kept, and a second start goes on.
      OrchestrationError: The pipeline root cannot be used.
    """
    request.check()
    workdir = Workdir(request.workdir)
    request.check_workdir(_PROGRAM)
    with workdir.locked("to begin"):
        workdir.commit({"program": _PROGRAM, "scale": request.scale})
    return _Reproduction(request, workdir, load, places).run()


class _Reproduction:
    """One run: its laboratory, what it gathers, what failed."""

    def __init__(
        self,
        request: Request,
        workdir: Workdir,
        load: Load,
        places: Mapping[str, Any],
    ):
        """Plans nothing yet."""
        self._request = request
        self._scale = scales.get(request.scale)
        root = {"workdir": str(request.workdir)}
        self._benches = Benches(load, {**places, **root})
        self._workdir = workdir
        self._gathered = Gathered(request.workdir)
        self._failed: dict[str, str] = {}
        self._start = time.time()
        # Whether anything was computed, not only looked up.
        self._worked = False

    def run(self) -> str:
        plans = self._plans()
        every = {node.id for nodes in plans.values() for node in nodes}
        remaining = Remaining(every)
        _log.info(
            "%s, scale %s, seeds %s: %d steps",
            ", ".join(plans) or "nothing", self._scale.name,
            self._request.numbers(), len(every),
        )  # fmt: skip
        for name, nodes in plans.items():
            try:
                self._experiment(name, nodes, remaining)
            finally:
                # Of an experiment that is stopped, what it has so far.
                self._write()
        return self._report()

    def _write(self) -> None:
        """Adds to the folder what was measured."""
        with self._workdir.locked("to write its results"):
            self._gathered.write(self._about())

    def _plans(self) -> dict[str, list[Node]]:
        """Returns the nodes of each experiment that can be planned."""
        plans: dict[str, list[Node]] = {}
        shared: dict[str, Node] = {}
        for name in self._request.chosen():
            lab = Lab(
                self._scale, self._benches, shared=shared,
                places=self._request.places(),
                models=self._request.kept_models(),
                epochs=self._request.kept_epochs(),
            )  # fmt: skip
            try:
                experiments.get(name)(lab, self._request.seeds_of(name))
            except errors.InputError as error:
                self._fail(name, str(error))
                continue
            if lab.nodes:
                plans[name] = list(lab.nodes.values())
        return plans

    def _experiment(
        self, name: str, nodes: list[Node], remaining: Remaining
    ) -> None:
        _log.info("== %s", name)
        began: dict[str, float] = {}

        def tell(notice: Notice) -> None:
            spine.tell(notice)
            if notice.kind == "running":
                began[notice.node] = time.monotonic()
            self._worked |= notice.kind in ("complete", "failed")

        def succeeded(node: Node, execution: Execution) -> None:
            maker = self._maker(execution)
            self._gathered.add(node, execution, maker)
            if maker is execution:
                remaining.done(node.id, time.monotonic() - began[node.id])
                _log.info("%s", remaining)
            else:
                seconds = (maker.updated - maker.created) / 1000
                remaining.done(node.id, seconds)

        def failed(node: Node, error: Exception) -> None:
            _log.debug("%s", node.id, exc_info=error)
            self._fail(node.id, f"{type(error).__name__}: {error}")
            remaining.done(node.id, None)

        this = self._benches.any()
        told = {"experiment": name, "scale": self._scale.name,
                "versions": versions.installed()}  # fmt: skip
        spine.run(
            this, nodes, f"{_PROGRAM}-{name}", told,
            on_event=tell, on_failure=failed, on_success=succeeded,
        )  # fmt: skip
        for node in nodes:
            remaining.done(node.id, None)

    @functools.cached_property
    def _metadata(self) -> MetadataReader:
        root = self._benches.any().pipeline_root
        return MetadataReader(root / "metadata.sqlite")

    def _maker(self, execution: Execution) -> Execution:
        """Returns the execution that made the outputs of this one."""
        if execution.state is not State.CACHED:
            return execution
        found = next(iter(execution.outputs.values()))[0]
        return self._metadata.producer(found.id)

    def _fail(self, what: str, why: str) -> None:
        _log.warning("%s failed: %s", what, why)
        self._failed[what] = " ".join(why.split())

    def _about(self) -> dict[str, Any]:
        """Returns what the report tells of the run beside its rows."""
        path = self._request.workdir / ABOUT
        held = read_about(path) if path.exists() else {}
        seconds = held.get("seconds", 0)
        if self._worked:
            seconds += time.time() - self._start
            self._start = time.time()
        return {
            "scale": self._scale.name,
            "seeds": sorted({r.seed for r in self._gathered.rows.values()}),
            "seconds": round(seconds, 1),
            "versions": versions.installed(),
            "class_names": held.get("class_names", {})
            | self._benches.class_names(),
            # Messages name folders.
            "failed": {
                what: "failed" if self._request.anonymous else why
                for what, why in self._failed.items()
            },
            "anonymous": self._request.anonymous,
        }

    def _report(self) -> str:
        folder = self._request.workdir
        self._write()
        board = folder / "tensorboard"
        with self._workdir.locked("to write its report"):
            material = Material.read(folder)
            boards.draw(material, board)
            pages = [folder / "report" / name for name in writing.PAGES]
            if not stamp.current(material, folder / "report"):
                writing.write(material, folder / "report")
                stamp.leave(material, folder / "report")
        text = "\n".join([
            f"{len(self._gathered.rows)} measurements in "
            f"{duration(self._about()['seconds'])} of all runs here",
            f"Measurements  {folder / 'measurements.csv'}",
            *(f"Report        {page}" for page in pages),
            f"TensorBoard   tensorboard --logdir {shlex.quote(str(board))}",
        ])  # fmt: skip
        if not self._failed:
            return text
        told = "; ".join(f"{k}: {v}" for k, v in self._failed.items())
        raise errors.InputError(
            f"{len(self._failed)} steps failed, and the report says so: "
            f"{told} All else is kept: {folder / 'report'}. The same command "
            "tries them again."
        )
