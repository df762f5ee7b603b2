"""What a run needs before its first step: folders and data."""

import dataclasses
import pathlib

from qup import datasets, models
from qup.orchestration import content_digest
from qup.pipelines import settings
from qup.summaries import Summaries
from qup.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
      config: The settings, resolved.
      workdir: Where everything is written.
      data: The dataset; its images are not read yet.
      source: Digests of the files that they are read from.
    """

    config: settings.Config
    workdir: Workdir
    data: datasets.Dataset
    source: list[str]

    def path(self, *parts: str) -> pathlib.Path:
        """Returns a path within the working directory."""
        return self.workdir.path.joinpath(*parts)

    @property
    def pipeline_root(self) -> pathlib.Path:
        """The folder of the artifacts."""
        return settings.pipeline_root(self.config)

    @property
    def log_dir(self) -> pathlib.Path:
        """TensorBoard's folder of these settings."""
        return self.path("tensorboard", settings.mark(self.config)).absolute()

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
    with workdir.locked():
        # Preparing data is the one thing that happens outside of the root.
        data = datasets.load(
            config.dataset.name, scratch_dir=workdir.path / "data", **options
        )
        source = [content_digest(folder) for folder in data.folders]
    source = source or [data.fingerprint]
    # Options that do not fit the data are told before anything is kept.
    models.build(config.model.name, data.info, **settings.model_options(config))
    workdir.commit(
        {
            **settings.identity(config),
            "data": source,
            "classes": list(data.info.class_names),
        }
    )
    return Run(config, workdir, data, source)
