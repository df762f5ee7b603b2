"""What a run needs before its first step: folders and data."""

import contextlib
import dataclasses
import pathlib
import re
from collections.abc import Iterable
from typing import Any

from qup import datasets, errors, files, measurements, models
from qup.measurements import Row
from qup.pipelines import settings
from qup.summaries import SummaryWriter
from qup.workdir import Workdir

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

    config: settings.Config
    workdir: Workdir
    data: datasets.Dataset
    source: str
    imported: tuple[str, str] | None = None

    def get_identity(self) -> dict[str, Any]:
        """Returns the settings, and which model is looked at."""
        identity = settings.get_config_identity(self.config)
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
        return settings.get_pipeline_root(self.config)

    @property
    def log_dir(self) -> pathlib.Path:
        """TensorBoard's folder of these settings."""
        config_hash = settings.compute_config_hash(self.config)
        if self.imported:
            # The settings' model has no part in it.
            name, content = self.imported
            config_hash = f"{name}-{content[:8]}-{config_hash.rpartition('-')[2]}"
        return self.get_path("tensorboard", config_hash).absolute()

    @property
    def summaries(self) -> SummaryWriter:
        """TensorBoard's writers."""
        return SummaryWriter(self.log_dir)


def open_run(config: settings.Config) -> RunContext:
    """Opens the working directory and finds the data.

    Args:
      config: The settings, checked.

    Returns:
      The run.

    Raises:
      InputError: The folder or the data cannot be used.
    """
    workdir = Workdir(settings.get_workdir(config), settings.get_pipeline_root(config))
    options = settings.get_dataset_options(config)
    with workdir.lock("to find or prepare the data"):
        # Preparing data is the one thing that happens outside of the root.
        data = datasets.load(config.dataset.name, scratch_dir=workdir.path / "data", **options)
        source = data.compute_source_digest()
    # Options that do not fit the data are told before anything is kept.
    models.build(config.model.name, data.info, **settings.get_model_options(config))
    return RunContext(config, workdir, data, source)
