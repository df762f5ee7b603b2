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
from qup.summaries import Summaries
from qup.workdir import Workdir

_FIGURE = re.compile(r"(images|trajectory)-epoch-\d+\.png")


@dataclasses.dataclass(frozen=True)
class Run:
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

    def identity(self) -> dict[str, Any]:
        """Returns the settings, and which model is looked at."""
        told = settings.identity(self.config)
        if self.imported:
            name, content = self.imported
            told["model"] = {"name": name, "imported": content[:16]}
        return told

    def path(self, *parts: str) -> pathlib.Path:
        """Returns a path within the working directory."""
        return self.workdir.path.joinpath(*parts)

    def keep(self, report: pathlib.Path) -> None:
        """Puts a report and what it is of into the working directory.

        Args:
          report: Folder of measurements.csv and the figures.

        Raises:
          InputError: The folder cannot be written.
        """
        figures = {path.name: path for path in report.glob("*.png")}
        for name, path in figures.items():
            files.write_bytes(self.path("figures", name), path.read_bytes())
        for path in self.path("figures").iterdir():
            # Of other epochs, and by their names ours.
            if _FIGURE.fullmatch(path.name) and path.name not in figures:
                files.remove(path)
        rows = measurements.read(report / "measurements.csv")
        others = []
        with contextlib.suppress(errors.InputError):
            # Of run_attack and run_uncertainty, which name their evaluation.
            others = [r for r in self._rows() if "evaluation" in r.parameters]
        self._write([*rows, *others])

    def keep_rows(self, rows: Iterable[Row]) -> None:
        """Adds rows to those that the working directory holds.

        Raises:
          InputError: The folder cannot be written, or what it holds cannot
            be read.
        """
        held = {row.key(): row for row in self._rows()}
        self._write(list((held | {row.key(): row for row in rows}).values()))

    def _rows(self) -> list[Row]:
        path = self.path("measurements.csv")
        return measurements.read(path) if path.exists() else []

    def _write(self, rows: list[Row]) -> None:
        measurements.write(self.path("measurements.csv"), rows)
        classes = list(self.data.info.class_names)
        self.workdir.commit(
            {**self.identity(), "data": self.source, "classes": classes}
        )

    @property
    def pipeline_root(self) -> pathlib.Path:
        """The folder of the artifacts."""
        return settings.pipeline_root(self.config)

    @property
    def log_dir(self) -> pathlib.Path:
        """TensorBoard's folder of these settings."""
        mark = settings.mark(self.config)
        if self.imported:
            # The settings' model has no part in it.
            name, content = self.imported
            mark = f"{name}-{content[:8]}-{mark.rpartition('-')[2]}"
        return self.path("tensorboard", mark).absolute()

    @property
    def board(self) -> Summaries:
        """TensorBoard's writers."""
        return Summaries(self.log_dir)


def opened(config: settings.Config) -> Run:
    """Opens the working directory and finds the data.

    Args:
      config: The settings, checked.

    Returns:
      The run.

    Raises:
      InputError: The folder or the data cannot be used.
    """
    workdir = Workdir(settings.workdir(config), settings.pipeline_root(config))
    options = settings.examples(config)
    with workdir.locked("to find or prepare the data"):
        # Preparing data is the one thing that happens outside of the root.
        data = datasets.load(
            config.dataset.name, scratch_dir=workdir.path / "data", **options
        )
        source = data.source_digest()
    # Options that do not fit the data are told before anything is kept.
    models.build(config.model.name, data.info, **settings.model_options(config))
    return Run(config, workdir, data, source)
