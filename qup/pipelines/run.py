"""A run of a pipeline: its working directory, its data, and the execution of its nodes."""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import platform
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import qup
from qup import datasets, models
from qup.core import environment, errors, files, measurements
from qup.core.measurements import Row
from qup.core.parts import WHOLE, Part
from qup.core.tensorboard import SummaryWriter
from qup.orchestration import (
    Channel,
    Code,
    Execution,
    LocalRunner,
    Metadata,
    Node,
    NodeEvent,
    OrchestrationError,
    PartEngine,
    Run,
)
from qup.orchestration.lineage import graph
from qup.orchestration.storage import ROOT_VARIABLE
from qup.pipelines.components.trainer import Trainer
from qup.pipelines.config import (
    Config,
    NodeArguments,
    compute_config_hash,
    get_config_identity,
    get_dataset_options,
    get_model_options,
    get_pipeline_root,
    get_workdir,
)
from qup.pipelines.engines import LOCAL, Engine

# Packages whose versions can change a result.
_PACKAGES = (
    "tensorflow",
    "keras",
    "numpy",
    "tensorflow-datasets",
    "scikit-learn",
    "pillow",
    "scipy",
    "tensorflow-probability",
)
CODE = Code(
    packages=("qup",),
    distributions=("tensorflow", "keras", "numpy"),
    describe_environment=environment.get_counted_environment,
)
_log = logging.getLogger("qup")
PARTS_FILE = "parts.json"
# Variables with folders that a part reads and writes.
_PATH_VARIABLES = (ROOT_VARIABLE, "TFDS_DATA_DIR")
# Steps that a part names at its end.
_NUM_LISTED_NODES = 5
_CONFIG_FILE, _LOCK_FILE, _DATABASE = "config.json", ".qup.lock", "metadata.sqlite"
_OUTPUT_FILES = (_LOCK_FILE, _CONFIG_FILE, "versions.json", "measurements.csv")
# What a run records in addition to the settings of config.json; REQUEST is what it was asked to do.
REQUEST = "request"
_RECORD_KEYS = ("versions", REQUEST, "part")
# How messages of failed nodes begin, and continue if the metadata do not have them.
_INPUT_ERROR, _NOT_RECORDED = "failed: InputError: ", "; not recorded: "
_GLOB_CHARACTERS = "[]*?\\"
_FIGURE_NAME = re.compile(r"(images|trajectory)-epoch-\d+\.png")


def collect_versions() -> dict[str, str]:
    """Returns the versions and the settings of everything that can change a result."""
    return {
        "qup": qup.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        **environment.describe_environment(),
        **environment.get_package_versions(_PACKAGES),
    }


class Workdir:
    """The folder of a run's results, with the configuration of its newest run.

    Runs of other configurations may use the same folder. A folder with files
    that qup did not write is refused.

    Attributes:
      path: The folder.
      is_new: Whether no run has used it before.
    """

    def __init__(self, path: pathlib.Path, *other_folders: pathlib.Path):
        """Opens or creates the folder.

        Args:
          path: The folder.
          *other_folders: Further folders that the run will write to.

        Raises:
          InputError: The folder cannot be written, or has files of other programs.
        """
        self.path = pathlib.Path(path)
        for folder in (self.path, *other_folders):
            files.check_local("workdir", folder)
            if set(_GLOB_CHARACTERS) & {*str(folder.absolute()), *_resolve_path(folder)}:
                raise errors.InputError(
                    f"The path {folder.absolute()} contains one of the characters "
                    f"{' '.join(_GLOB_CHARACTERS)}, which TensorFlow's checkpoints "
                    "read as patterns. Name another folder."
                )
        with files.wrap_os_errors(self.path):
            self._check_owner(*other_folders)
            self._created_folders = files.create_folder(self.path)
            try:
                self._check_outputs(*other_folders)
                self.is_new = not (self.path / _LOCK_FILE).exists()
                (self.path / _LOCK_FILE).touch()
            except BaseException:
                files.remove_empty_folders(self._created_folders)
                raise

    @contextlib.contextmanager
    def removed_if_refused(self) -> Iterator[None]:
        """Removes what this object created, if the block fails and has left nothing else."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                if self.is_new and [entry.name for entry in self.path.iterdir()] == [_LOCK_FILE]:
                    (self.path / _LOCK_FILE).unlink()
                    files.remove_empty_folders(self._created_folders)
            raise

    def _check_owner(self, *other_folders: pathlib.Path) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise errors.InputError(f"The workdir {self.path} is a file. Name a folder.")
        entries = {e.name for e in self.path.iterdir()} if self.path.exists() else set()
        if entries and not {_CONFIG_FILE, _LOCK_FILE} & entries:
            raise errors.InputError(
                f"The workdir {self.path} contains files that qup did not write "
                f"({sorted(entries)[0]}, ...). Name an empty or a new folder."
            )
        path = self.path / _CONFIG_FILE
        _check_file(path)
        if not path.exists() or "qup" in _read_json(path):
            return
        if not self._restore_config(_LOCK_FILE in entries, *other_folders):
            raise errors.InputError(
                f"{path} is not a configuration that qup wrote. Name an empty or a new folder; if "
                f"it is one of qup that was damaged, remove this file: rm {shlex.quote(str(path))}"
            )

    def _restore_config(self, is_own: bool, *other_folders: pathlib.Path) -> bool:
        """Writes a damaged config.json again, from the newest run in the metadata.

        Args:
          is_own: Whether qup has used the folder before.
          *other_folders: Where the metadata may be, besides the default.

        Returns:
          Whether config.json is now that of the run, or removed because there was no run yet.
        """
        path = self.path / _CONFIG_FILE
        if _has_content(path):
            return False
        folders = (self.path / "pipeline", *(other_folders if is_own else ()))
        for database in (folder / _DATABASE for folder in folders):
            run = _find_newest_run(database)
            if run is not None:
                self._write_json(_CONFIG_FILE, {"qup": qup.__version__, **_get_run_config(run)})
                _log.warning("%s was damaged; it is restored from the run %s.", path, run.id)
                return True
        if is_own:
            files.remove_path(path)
        return is_own

    def _check_outputs(self, *other_folders: pathlib.Path) -> None:
        """Raises an InputError if a result could not be written at the end."""
        for name in _OUTPUT_FILES:
            _check_file(self.path / name)
        figures = self.path / "figures"
        files.check_not_link(figures)
        if figures.exists() and not figures.is_dir():
            raise errors.InputError(
                f"{figures} is not a folder, and figures are written there. Move it away."
            )
        for folder in (self.path, figures, *other_folders):
            _check_writable(folder)

    @contextlib.contextmanager
    def lock(self, purpose: str) -> Iterator[None]:
        """Holds the folder's lock; waits while another process holds it.

        Args:
          purpose: What the block does, for the log line of a waiting process.
        """
        with files.lock_file(
            self.path / _LOCK_FILE, lambda: _log.info("Waiting for another process %s.", purpose)
        ):
            yield

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Writes the configuration (JSON values) and the versions of the newest run."""
        record = {"qup": qup.__version__, **config}
        self._write_json(_CONFIG_FILE, record)
        self._write_json("versions.json", collect_versions())

    def _write_json(self, name: str, tree: Mapping[str, Any]) -> None:
        files.write_text(self.path / name, _format_json(tree))


def _resolve_path(folder: pathlib.Path) -> str:
    try:
        return str(folder.resolve())
    except (OSError, RuntimeError) as error:
        raise errors.InputError(
            f"{folder} cannot be used: {error}. Name another folder."
        ) from error


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    """Returns the JSON object in a file, or an empty one."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _check_file(path: pathlib.Path) -> None:
    """Raises an InputError for a path that is not a regular file, if there is anything."""
    files.check_not_link(path)
    if path.exists() and not path.is_file():
        raise errors.InputError(
            f"{path} is not a file, and a result is written there. Move it away."
        )


def _has_content(path: pathlib.Path) -> bool:
    """Returns whether a file holds more than nothing, spaces, or an empty JSON value."""
    try:
        text = path.read_text(encoding="utf-8").strip("\0 \t\r\n")
    except UnicodeDecodeError:
        return True
    return text not in ("", "{}", "[]", "null")


def _find_newest_run(database: pathlib.Path) -> Run | None:
    """Returns the newest run of this program in a database; None if there is none."""
    if not database.is_file():
        return None
    with contextlib.suppress(OrchestrationError):
        runs = graph.ReadOnlyMetadata(database).list_runs()
        return next((run for run in reversed(runs) if "versions" in run.parameters), None)
    return None


def _get_run_config(run: Run) -> dict[str, Any]:
    """Returns what a run has written, or would have written, into config.json."""
    parameters = {key: value for key, value in run.parameters.items() if key not in _RECORD_KEYS}
    if "experiment" in parameters:
        program = run.pipeline.removesuffix(f"-{parameters['experiment']}")
        return {"program": program, "scale": parameters["scale"]}
    return parameters


def _get_program(command: str, file: str) -> str:
    """Returns how the user starts a command: installed, or from a checkout by a file of bin/."""
    in_checkout = pathlib.Path(qup.__file__).parents[1].joinpath("bin", f"{file}.py").exists()
    return f"python -m bin.{file}" if in_checkout else f"qup {command}"


def _check_writable(folder: pathlib.Path) -> None:
    """Raises an InputError if nothing can be created in a folder, which need not exist yet."""
    existing = next((f for f in (folder, *folder.absolute().parents) if f.exists()), None)
    if existing is not None and not os.access(existing, os.W_OK | os.X_OK):
        raise errors.InputError(
            f"Cannot write {folder}: no permission to create files in {existing}. Choose a folder "
            "that you can write to."
        )


def _format_json(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, indent=2, sort_keys=True) + "\n"


@dataclasses.dataclass(frozen=True)
class RunContext:
    """One run.

    Attributes:
      config: The settings, resolved and checked.
      workdir: The folder of the results.
      data: The dataset; its images are not read yet.
      source: Digest of the dataset's files.
      imported: Name and digest of the user's model; None for the model of the
        settings.
      class_names: Names of the classes that the user gave; empty for those of the data.
    """

    config: Config
    workdir: Workdir
    data: datasets.Dataset
    source: str
    imported: tuple[str, str] | None = None
    class_names: tuple[str, ...] = ()

    def get_identity(self) -> dict[str, Any]:
        """Returns the settings that results depend on, with the imported model if any."""
        identity = get_config_identity(self.config)
        if self.imported:
            name, content = self.imported
            identity["model"] = {"name": name, "imported": content[:16]}
        return identity

    def get_path(self, *parts: str) -> pathlib.Path:
        """Returns a path within the working directory."""
        return self.workdir.path.joinpath(*parts)

    def save_report(self, report: pathlib.Path) -> None:
        """Copies measurements.csv and the figures of the folder `report` to the workdir.

        Raises:
          InputError: The workdir cannot be written.
        """
        figures = {path.name: path for path in report.glob("*.png")}
        for name, path in figures.items():
            files.write_bytes(self.get_path("figures", name), path.read_bytes())
        for path in self.get_path("figures").glob("*.png"):
            # Figures of an earlier run with other epochs.
            if _FIGURE_NAME.fullmatch(path.name) and path.name not in figures:
                files.remove_path(path)
        rows = measurements.read_rows(report / "measurements.csv")
        others = []
        with contextlib.suppress(errors.InputError):
            # Rows of run_attack and run_uncertainty have the parameter "evaluation".
            others = [r for r in self._read_measurements() if "evaluation" in r.parameters]
        self._write_measurements([*rows, *others])

    def append_measurements(self, rows: Iterable[Row]) -> None:
        """Adds rows to measurements.csv; rows with the same key are replaced.

        Raises:
          InputError: The file cannot be written, or the existing one cannot be read.
        """
        rows_by_key = {row.key(): row for row in self._read_measurements()}
        self._write_measurements(list((rows_by_key | {row.key(): row for row in rows}).values()))

    def _read_measurements(self) -> list[Row]:
        path = self.get_path("measurements.csv")
        return measurements.read_rows(path) if path.exists() else []

    def _write_measurements(self, rows: list[Row]) -> None:
        measurements.write_rows(self.get_path("measurements.csv"), rows)
        classes = list(self.class_names or self.data.info.class_names)
        self.workdir.write_config({**self.get_identity(), "data": self.source, "classes": classes})

    @property
    def pipeline_root(self) -> pathlib.Path:
        """The folder of the artifacts."""
        return get_pipeline_root(self.config)

    @property
    def log_dir(self) -> pathlib.Path:
        """TensorBoard's folder for these settings."""
        config_hash = compute_config_hash(self.config)
        if self.imported:
            # The model of the settings is not used.
            name, content = self.imported
            config_hash = f"{name}-{content[:8]}-{config_hash.rpartition('-')[2]}"
        return self.get_path("tensorboard", config_hash).absolute()

    @property
    def arguments(self) -> NodeArguments:
        """The arguments of the run's nodes."""
        return NodeArguments(self.config, self.data.info, self.log_dir)

    def format_locations(self, engine: Engine = LOCAL) -> list[str]:
        """Returns the commands that show the lineage and the curves, as lines of a report."""
        program = _get_program("lineage", "show_lineage")
        root = engine.get_root(self.pipeline_root)
        return [
            f"Lineage       {program} {shlex.quote(str(root))}",
            f"TensorBoard   tensorboard --logdir {shlex.quote(str(self.get_path('tensorboard')))}",
        ]

    @property
    def summaries(self) -> SummaryWriter:
        """TensorBoard's writers."""
        return SummaryWriter(self.log_dir)


def open_run(config: Config, *, keeps_rows: bool = True) -> RunContext:
    """Opens the working directory and the data of checked settings.

    Args:
      config: The settings.
      keeps_rows: Whether the run adds its measurements to those of earlier runs, so that they must
        be readable.

    Raises:
      InputError: The folder or the data cannot be used.
    """
    workdir = Workdir(get_workdir(config), get_pipeline_root(config))
    if keeps_rows and (table := workdir.path / "measurements.csv").exists():
        # At the end, after hours of work, it would be too late.
        measurements.read_rows(table)
    with workdir.removed_if_refused():
        options = get_dataset_options(config)
        with workdir.lock("to find or prepare the data"):
            # Data is prepared outside of the pipeline root.
            data = datasets.load(config.dataset.name, scratch_dir=workdir.path / "data", **options)
            source = data.compute_source_digest()
        # Raises an error for options that do not fit the data, before the first step.
        models.build(config.model.name, data.info, **get_model_options(config))
    return RunContext(config, workdir, data, source)


def build_trainers(run: RunContext, examples: Channel) -> dict[int, Node]:
    """Returns one Trainer per number of epochs; each continues the one before."""
    trainers, previous = {}, None
    for epochs in sorted(set(run.config.training.epochs)):
        trainers[epochs] = Trainer(
            examples=examples, previous=previous, **run.arguments.build_trainer_kwargs(epochs)
        ).with_id(f"Trainer.epoch-{epochs}")
        previous = trainers[epochs].outputs["run"]
    return trainers


def log_event(event: NodeEvent) -> None:
    """Logs an event of a node, problems as warnings.

    The text of an InputError is left out: the caller of `run_nodes` reports it.
    """
    is_problem = event.kind in ("damaged", "failed", "changed", "abandoned")
    text = str(event)
    if event.message.startswith(_INPUT_ERROR) and _NOT_RECORDED not in event.message:
        text = f"{event.node}: failed"
    _log.log(logging.WARNING if is_problem else logging.INFO, "%s", text)


def create_runner(
    run: RunContext,
    on_event: Callable[[NodeEvent], None] = log_event,
    *,
    part: Part = WHOLE,
    part_engine: PartEngine | None = None,
) -> LocalRunner:
    """Returns the runner of a run's pipeline root.

    Args:
      run: The run.
      on_event: Called with every event.
      part: See `LocalRunner`.
      part_engine: The `engine` of `LocalRunner`.

    Raises:
      OrchestrationError: The root or its database cannot be used.
    """
    return LocalRunner(
        run.pipeline_root,
        Metadata(run.pipeline_root / _DATABASE, rename_if_damaged=True),
        enable_cache=run.config.enable_cache,
        verify=run.config.verify,
        on_event=on_event,
        code=CODE,
        part=part,
        engine=part_engine,
    )


def record_command(workdir: Workdir, engine: Engine) -> None:
    """Adds the command that completes the parts to those that `qup merge` knows."""
    record = {
        "command": engine.options.get("command", ""),
        "folder": os.getcwd(),
        "environment": {name: os.environ[name] for name in _PATH_VARIABLES if name in os.environ},
    }
    path = workdir.path / PARTS_FILE
    with workdir.lock("to record its parts"):
        records = _read_json(path).get("commands", [])
        if record not in records:
            files.write_text(path, _format_json({"commands": [*records, record]}))


def format_part(
    run: RunContext, engine: Engine, nodes: Sequence[Node], executions: Mapping[str, Execution]
) -> str | None:
    """Returns what a part has left to others, as text; None if every node is complete."""
    missing = [node.id for node in nodes if node.id not in executions]
    if engine.part.is_whole or not missing:
        return None
    names = ", ".join(missing[:_NUM_LISTED_NODES])
    if len(missing) > _NUM_LISTED_NODES:
        names += f" and {len(missing) - _NUM_LISTED_NODES} more"
    return "\n".join(
        [
            f"Part {engine.part} is complete: {len(executions)} of {len(nodes)} steps have a "
            "result.",
            f"Without one: {names}.",
            "When all parts have ended, write the results, and compute what is missing:",
            f"    {_get_program('merge', 'merge')} {shlex.quote(str(run.workdir.path))}",
        ]
    )


def run_nodes(
    run: RunContext,
    nodes: list[Node],
    pipeline: str,
    run_parameters: Mapping[str, Any],
    *,
    engine: Engine = LOCAL,
    on_event: Callable[[NodeEvent], None] = log_event,
    on_failure: Callable[[Node, Exception], None] | None = None,
    on_success: Callable[[Node, Execution], None] | None = None,
) -> dict[str, Execution]:
    """Runs the nodes that have no result yet.

    Args:
      run: The run.
      nodes: Its nodes.
      pipeline: Name of the pipeline.
      run_parameters: The parameters to record for the run.
      engine: What runs the nodes.
      on_event: Called with every event.
      on_failure: See `LocalRunner.run`.
      on_success: See `LocalRunner.run`.

    Returns:
      The execution of each node, by its id; of a part, only of the complete ones.

    Raises:
      InputError: The disk is full, or a folder cannot be written.
      OrchestrationError: The pipeline root cannot be used.
    """
    if engine.is_divided and not run.config.enable_cache:
        raise errors.InputError(
            "Parts use the results of each other, and --enable_cache=false forbids to use any. "
            "Omit it, or name a new workdir."
        )
    try:
        if module := engine.load():
            return module.run_nodes(
                engine,
                run,
                nodes,
                pipeline,
                run_parameters,
                on_event=on_event,
                on_failure=on_failure,
                on_success=on_success,
            )
        if "part" in engine.options:
            record_command(run.workdir, engine)
            run_parameters = {**run_parameters, "part": str(engine.part)}
        return create_runner(run, on_event, part=engine.part).run(
            nodes,
            pipeline=pipeline,
            parameters=run_parameters,
            on_failure=on_failure,
            on_success=on_success,
        )
    except OSError as error:
        # Components do not handle errors of the file system.
        raise errors.InputError(
            # Of a copy, the file that is written.
            f"Cannot use {error.filename2 or error.filename or run.pipeline_root}: "
            f"{error.strerror or error}. Free disk space or give access, then run the "
            "same command to resume."
        ) from error
