"""What a run needs before its first step: folders and data."""

import contextlib
import dataclasses
import fcntl
import json
import logging
import os
import pathlib
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any

import tensorflow as tf

import qup
from qup import datasets, models
from qup.core import errors, files, measurements
from qup.core.measurements import Row
from qup.core.tensorboard import SummaryWriter
from qup.orchestration import Code, Execution, LocalRunner, Metadata, Node, NodeEvent
from qup.pipelines import config as pipeline_config

# Versions of all that shapes a number.


def collect_versions() -> dict[str, str]:
    """Returns the versions of all that shapes a number."""
    packages = (
        "tensorflow",
        "keras",
        "numpy",
        "tensorflow-datasets",
        "scikit-learn",
        "pillow",
        "scipy",
        "tensorflow-probability",
    )
    return {
        "qup": qup.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "unset"),
        "device": "GPU" if tf.config.list_physical_devices("GPU") else "CPU",
        **{name: metadata.version(name) for name in packages},
    }


# The working directory of runs: what the newest one was, and on what.
#
# Another configuration in the same folder is a new run; what earlier runs
# made stays in the pipeline root. A folder that holds something else is
# refused.


_CONFIG_FILE, _LOCK_FILE = "config.json", ".qup.lock"
_GLOB_CHARACTERS = "[]*?\\"


class Workdir:
    """An opened working directory.

    Attributes:
      path: The folder.
    """

    def __init__(self, path: pathlib.Path, *other_folders: pathlib.Path):
        """Opens or makes the folder.

        Args:
          path: The folder.
          *other_folders: Further folders in which a run will write.

        Raises:
          InputError: The folder cannot be written, or was not written by
            qup.
        """
        self.path = pathlib.Path(path)
        for folder in (self.path, *other_folders):
            if set(_GLOB_CHARACTERS) & {*str(folder.absolute()), *_resolve_path(folder)}:
                raise errors.InputError(
                    f"The path {folder.absolute()} has one of "
                    f"{' '.join(_GLOB_CHARACTERS)} in it, which TensorFlow's "
                    "checkpoints take for patterns. Name another folder."
                )
        with files.wrap_os_errors(self.path):
            self._check_owner()
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / _LOCK_FILE).touch()

    def _check_owner(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise errors.InputError(f"The workdir {self.path} is a file. Name a folder.")
        entries = {e.name for e in self.path.iterdir()} if self.path.exists() else ()
        if entries and not {_CONFIG_FILE, _LOCK_FILE} & set(entries):
            raise errors.InputError(
                f"The workdir {self.path} holds files that qup did not "
                f"write ({sorted(entries)[0]}, ...). Name an empty or a "
                "new folder."
            )
        path = self.path / _CONFIG_FILE
        if path.exists() and "qup" not in _read_json(path):
            raise errors.InputError(
                f"{path} is no configuration that qup wrote. Name an empty or a new folder."
            )

    @contextlib.contextmanager
    def lock(self, purpose: str) -> Iterator[None]:
        """Waits until no other process is in such a block, and enters it.

        Args:
          purpose: What the block is for, for whoever waits.
        """
        path = self.path / _LOCK_FILE
        with contextlib.ExitStack() as stack:
            with files.wrap_os_errors(path):
                lock = stack.enter_context(path.open("a", encoding="utf-8"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.info("waiting for another process %s", purpose)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Keeps the configuration and the versions of the newest run.

        Args:
          config: JSON values.

        Raises:
          InputError: The folder cannot be written.
        """
        record = {"qup": qup.__version__, **config}
        files.write_text(self.path / _CONFIG_FILE, _format_json(record))
        files.write_text(self.path / "versions.json", _format_json(collect_versions()))


def _resolve_path(folder: pathlib.Path) -> str:
    try:
        return str(folder.resolve())
    except (OSError, RuntimeError) as error:
        raise errors.InputError(
            f"{folder} cannot be used: {error}. Name another folder."
        ) from error


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    """Returns the object in a file; an empty one if it holds none."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _format_json(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, indent=2, sort_keys=True) + "\n"


_FIGURE_NAME = re.compile(r"(images|trajectory)-epoch-\d+\.png")


@dataclasses.dataclass(frozen=True)
class RunContext:
    """One run.

    Attributes:
      config: The settings, resolved.
      workdir: Where everything is written.
      data: The dataset; its images are not read yet.
      source: Digest of the files that they are read from.
      imported: Name and digest of the user's own model, the one that is
        looked at; None for those that the settings name.
    """

    config: pipeline_config.Config
    workdir: Workdir
    data: datasets.Dataset
    source: str
    imported: tuple[str, str] | None = None

    def get_identity(self) -> dict[str, Any]:
        """Returns the settings, and which model is looked at."""
        identity = pipeline_config.get_config_identity(self.config)
        if self.imported:
            name, content = self.imported
            identity["model"] = {"name": name, "imported": content[:16]}
        return identity

    def get_path(self, *parts: str) -> pathlib.Path:
        """Returns a path within the working directory."""
        return self.workdir.path.joinpath(*parts)

    def save_report(self, report: pathlib.Path) -> None:
        """Puts a report and what it is of into the working directory.

        Args:
          report: Folder of measurements.csv and the figures.

        Raises:
          InputError: The folder cannot be written.
        """
        figures = {path.name: path for path in report.glob("*.png")}
        for name, path in figures.items():
            files.write_bytes(self.get_path("figures", name), path.read_bytes())
        for path in self.get_path("figures").iterdir():
            # Of other epochs, and by their names ours.
            if _FIGURE_NAME.fullmatch(path.name) and path.name not in figures:
                files.remove_path(path)
        rows = measurements.read_rows(report / "measurements.csv")
        others = []
        with contextlib.suppress(errors.InputError):
            # Of run_attack and run_uncertainty, which name their evaluation.
            others = [r for r in self._read_measurements() if "evaluation" in r.parameters]
        self._write_measurements([*rows, *others])

    def append_measurements(self, rows: Iterable[Row]) -> None:
        """Adds rows to those that the working directory holds.

        Raises:
          InputError: The folder cannot be written, or what it holds cannot
            be read.
        """
        rows_by_key = {row.key(): row for row in self._read_measurements()}
        self._write_measurements(list((rows_by_key | {row.key(): row for row in rows}).values()))

    def _read_measurements(self) -> list[Row]:
        path = self.get_path("measurements.csv")
        return measurements.read_rows(path) if path.exists() else []

    def _write_measurements(self, rows: list[Row]) -> None:
        measurements.write_rows(self.get_path("measurements.csv"), rows)
        classes = list(self.data.info.class_names)
        self.workdir.write_config({**self.get_identity(), "data": self.source, "classes": classes})

    @property
    def pipeline_root(self) -> pathlib.Path:
        """The folder of the artifacts."""
        return pipeline_config.get_pipeline_root(self.config)

    @property
    def log_dir(self) -> pathlib.Path:
        """TensorBoard's folder of these settings."""
        config_hash = pipeline_config.compute_config_hash(self.config)
        if self.imported:
            # The settings' model has no part in it.
            name, content = self.imported
            config_hash = f"{name}-{content[:8]}-{config_hash.rpartition('-')[2]}"
        return self.get_path("tensorboard", config_hash).absolute()

    @property
    def summaries(self) -> SummaryWriter:
        """TensorBoard's writers."""
        return SummaryWriter(self.log_dir)


def open_run(config: pipeline_config.Config) -> RunContext:
    """Opens the working directory and finds the data.

    Args:
      config: The settings, checked.

    Returns:
      The run.

    Raises:
      InputError: The folder or the data cannot be used.
    """
    workdir = Workdir(
        pipeline_config.get_workdir(config), pipeline_config.get_pipeline_root(config)
    )
    options = pipeline_config.get_dataset_options(config)
    with workdir.lock("to find or prepare the data"):
        # Preparing data is the one thing that happens outside of the root.
        data = datasets.load(config.dataset.name, scratch_dir=workdir.path / "data", **options)
        source = data.compute_source_digest()
    # Options that do not fit the data are told before anything is kept.
    models.build(config.model.name, data.info, **pipeline_config.get_model_options(config))
    return RunContext(config, workdir, data, source)


# The runner of the pipelines: what code counts, and what is told.


_log = logging.getLogger("qup")

CODE = Code(packages=("qup",), distributions=("tensorflow", "keras", "numpy"))


def log_event(event: NodeEvent) -> None:
    """Logs what happens to a node."""
    level = logging.INFO
    if event.kind in ("damaged", "failed", "changed", "abandoned"):
        level = logging.WARNING
    _log.log(level, "%s", event)


def create_runner(
    run: RunContext, on_event: Callable[[NodeEvent], None] = log_event
) -> LocalRunner:
    """Returns the runner of a run's pipeline root.

    Args:
      run: The run.
      on_event: Told of all that happens.

    Raises:
      OrchestrationError: The root or its database cannot be used.
    """
    return LocalRunner(
        run.pipeline_root,
        Metadata(run.pipeline_root / "metadata.sqlite", rename_if_damaged=True),
        enable_cache=run.config.enable_cache,
        verify=run.config.verify,
        on_event=on_event,
        code=CODE,
    )


def run_nodes(
    run: RunContext,
    nodes: list[Node],
    pipeline: str,
    run_parameters: Mapping[str, Any],
    *,
    on_event: Callable[[NodeEvent], None] = log_event,
    on_failure: Callable[[Node, Exception], None] | None = None,
    on_success: Callable[[Node, Execution], None] | None = None,
) -> dict[str, Execution]:
    """Runs nodes whose results are not known yet.

    Args:
      run: The run.
      nodes: Its nodes.
      pipeline: Name of the pipeline.
      run_parameters: What is noted of the run.
      on_event: Told of all that happens.
      on_failure: See `LocalRunner.run`.
      on_success: The same.

    Returns:
      Each node's execution.

    Raises:
      InputError: The disk is full, or a folder is closed to us.
      OrchestrationError: The pipeline root cannot be used.
    """
    try:
        return create_runner(run, on_event).run(
            nodes,
            pipeline=pipeline,
            parameters=run_parameters,
            on_failure=on_failure,
            on_success=on_success,
        )
    except OSError as error:
        # Components write their files without further ado.
        raise errors.InputError(
            f"Cannot use {error.filename or run.pipeline_root}: "
            f"{error.strerror or error}. Make room or give access; the same "
            "command goes on from here."
        ) from error
