"""70000 handwritten digits, 28x28: the paper's first dataset."""

import os

from qup import datasets
from qup.datasets import source, tfds_source


@datasets.register
def mnist(
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    scratch_dir: str | os.PathLike | None = None,
) -> source.Source:
    """Returns mnist as tensorflow-datasets prepares it.

    The arguments and errors are those of `tfds_source.load`.

    Reference:
      LeCun, Cortes and Burges, The MNIST database, 1998.
    """
    return tfds_source.load_prepared(
        "mnist",
        origin="MNIST, LeCun, Cortes and Burges (CC BY-SA 3.0)",
        data_dir=data_dir,
        manual_dir=manual_dir,
        scratch_dir=scratch_dir,
    )
