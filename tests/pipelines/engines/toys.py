"""A pipeline of small steps on an engine: python -m tests.pipelines.engines.toys ENGINE ROOT ..."""

import argparse
import logging
import pathlib
import sys
import time
import types

from qup.cli import program
from qup.core.errors import InputError
from qup.orchestration import Artifact, In, Location, Out, StatefulDir, component
from qup.pipelines.engines import Engine


class Numbers(Artifact):
    pass


class Model(Artifact):
    pass


class Receipt(Artifact):
    pass


@component
def Source(numbers: Out[Numbers], *, count: int, log_dir: Location[str]) -> None:  # noqa: N802
    (numbers.path / "numbers.txt").write_text(" ".join(map(str, range(count))))
    numbers.properties.update(log_dir=log_dir, even=count % 2 == 0)


@component
def Slow(  # noqa: N802
    numbers: In[Numbers], model: Out[Model], state: StatefulDir, *, num_steps: int
) -> None:
    """Takes 0.2 s per step, and resumes after the last one that is complete."""
    for step in range(len(list(state.iterdir())), num_steps):
        print(f"step {step}", file=sys.stderr, flush=True)
        time.sleep(0.2)
        (state / str(step)).touch()
    model.properties["steps"] = num_steps


@component(cached=False)
def Sender(models: In[list[Model]], receipt: Out[Receipt], *, fail: bool) -> None:  # noqa: N802
    if fail:
        raise InputError("The receiver is closed. Open it.")
    receipt.properties["steps"] = sum(model.properties["steps"] for model in models)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine")
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--log_dir", default="logs")
    parser.add_argument("--fail", action="store_true")
    options = parser.parse_args()
    program.install_signal_handlers()
    program.configure_logging()
    source = Source(count=4, log_dir=options.log_dir)
    numbers = source.outputs["numbers"]
    slow = [Slow(numbers=numbers, num_steps=n).with_id(f"Slow.{n}") for n in (options.steps, 1)]
    sender = Sender(models=[node.outputs["model"] for node in slow], fail=options.fail)
    engine = Engine(options.engine)
    config = types.SimpleNamespace(enable_cache=True, verify="stat")
    run = types.SimpleNamespace(pipeline_root=options.root, config=config)
    try:
        executions = engine.load().run_nodes(
            engine,
            run,
            [source, *slow, sender],
            "toys",
            {"steps": options.steps},
            on_event=lambda event: logging.getLogger("qup").info("%s", event),
        )
    except InputError as error:
        sys.exit(f"Error: {error}")
    for name, execution in executions.items():
        for artifacts in execution.outputs.values():
            print(name, execution.component, execution.state.name, artifacts[0].properties)


if __name__ == "__main__":
    main()
