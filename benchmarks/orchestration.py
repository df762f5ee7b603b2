"""Time of the orchestration in a new run, in a cached run, and in a look-up.

    python -m benchmarks.orchestration --dataset=digits --workdir=runs/orchestration

Flags are those of `python -m bin.run_ifa`; the working directory must be new. The pipeline runs
twice in one process. The time outside of components is that of the orchestration: fingerprints,
hashing, flushing, the database.
"""

import contextlib
import functools
import pathlib
import tempfile
import time

from absl import flags

from benchmarks import timing
from qup import orchestration
from qup.cli import settings
from qup.core import code, errors

_EXECUTIONS = 10_000


class _Stopwatch:
    """Adds up the seconds in the functions that it wraps."""

    def __init__(self):
        self.seconds = 0.0

    def wrap(self, function):
        @functools.wraps(function)
        def run_timed(*args, **options):
            start = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds += time.perf_counter() - start

        return run_timed


def main(config) -> str:
    """Runs the pipeline twice; returns the times as text."""
    from qup.pipelines import ifa
    from qup.pipelines.run import open_run

    whole, components = _Stopwatch(), _Stopwatch()
    orchestration.LocalRunner.run = whole.wrap(orchestration.LocalRunner.run)
    nodes = ifa.build_nodes(open_run(config))
    for component in {node.component for node in nodes}:
        component.fn = components.wrap(component.fn)
    lines = [timing.describe_machine()]
    if pathlib.Path(config.workdir or "", "pipeline").exists():
        raise errors.InputError(f"The workdir {config.workdir} has been used. Name a new one.")
    for title in ("fresh", "cached"):
        # Sources are read again, as in a new process.
        code.clear_cache()
        whole.seconds = components.seconds = 0.0
        start = time.perf_counter()
        ifa.run(config)
        total = time.perf_counter() - start
        overhead = whole.seconds - components.seconds
        lines.append(
            f"{title}: {total:.2f} s; orchestration: {overhead:.2f} s, "
            f"{100 * overhead / total:.2f} %"
        )
    lines.append(f"a look-up among {_EXECUTIONS:,} executions: {_time_look_up():.2f} ms")
    return "\n".join(lines)


def _time_look_up() -> float:
    """Returns the milliseconds of a look-up in a large database."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "metadata.sqlite"
        metadata = orchestration.Metadata(path)
        run = metadata.begin("pipeline", {})
        with metadata.transaction() as cursor:
            # One transaction: committing each takes minutes.
            begin = metadata.transaction
            metadata.transaction = lambda: contextlib.nullcontext(cursor)
            for value in range(_EXECUTIONS):
                execution = orchestration.Execution(
                    component="Writer",
                    node="Writer",
                    fingerprint=str(value),
                    code="",
                    parameters={"value": value},
                    inputs={},
                )
                metadata.register(execution, run)
                metadata.publish(execution, run)
            metadata.transaction = begin
        start = time.perf_counter()
        for value in range(0, _EXECUTIONS, 100):
            metadata.find_executions(str(value), orchestration.State.COMPLETE)
        return 1e3 * (time.perf_counter() - start) / (_EXECUTIONS / 100)


if __name__ == "__main__":
    settings.define_flags()
    flags.adopt_module_key_flags(settings)
    settings.run(main)
