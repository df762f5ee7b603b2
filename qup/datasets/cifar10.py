"""60000 colour photographs of 10 classes, 32x32: the paper's second."""

import os

from qup import datasets
from qup.datasets import source, tfds_source


@datasets.register
def cifar10(
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    scratch_dir: str | os.PathLike | None = None,
) -> source.Source:
    """Returns cifar10 as tensorflow-datasets prepares it.

    The arguments and errors are those of `tfds_source.load`.

    Reference:
      Krizhevsky, Learning multiple layers of features, 2009.
    """
    return tfds_source.load_prepared(
        "cifar10",
        origin="CIFAR-10, Krizhevsky 2009 (no licence stated)",
        data_dir=data_dir,
        manual_dir=manual_dir,
        scratch_dir=scratch_dir,
    )
