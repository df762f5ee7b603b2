"""What every stage of one run shares, opened once."""

import dataclasses
import pathlib

from qup import datasets, models
from qup.pipelines import settings
from qup.summaries import Summaries
from qup.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
      config: The settings, resolved.
      workdir: Where everything is written.
      data: The dataset.
      board: TensorBoard's writers.
    """

    config: settings.Config
    workdir: Workdir
    data: datasets.Dataset
    board: Summaries

    def path(self, *parts: str) -> pathlib.Path:
        """Returns a path within the working directory."""
        return self.workdir.path.joinpath(*parts)


def opened(config: settings.Config) -> Run:
    """Opens the working directory and loads the data.

    Args:
      config: The settings, checked.

    Returns:
      The run.

    Raises:
      InputError: The folder or the data cannot be used.
    """
    workdir = Workdir(settings.workdir(config), settings.identity(config))
    data = datasets.load(
        config.dataset.name,
        data_dir=config.dataset.data_dir,
        manual_dir=config.dataset.manual_dir,
        scratch_dir=workdir.path / "data",
        image_size=settings.image_size(config),
        train_size=config.dataset.train_size,
        test_size=config.dataset.test_size,
        validation_size=config.dataset.validation_size,
        seed=config.seed,
    )
    # Options that do not fit the data are told before anything is kept.
    models.build(config.model.name, data.info, **settings.model_options(config))
    workdir.commit(data.fingerprint, data.info.class_names)
    board = Summaries(workdir.path / "tensorboard")
    return Run(config, workdir, data, board)
