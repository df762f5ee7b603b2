"""70000 pictures of clothes in the format of MNIST."""

import os

from qup import datasets
from qup.datasets import source, tfds_source


@datasets.register
def fashion_mnist(
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    scratch_dir: str | os.PathLike | None = None,
) -> source.Source:
    """Returns fashion_mnist as tensorflow-datasets prepares it.

    The arguments and errors are those of `tfds_source.load`.

    Reference:
      Xiao, Rasul and Vollgraf, arXiv:1708.07747, 2017.
    """
    return tfds_source.load_prepared(
        "fashion_mnist",
        origin="Fashion-MNIST, Zalando SE 2017 (MIT)",
        data_dir=data_dir,
        manual_dir=manual_dir,
        scratch_dir=scratch_dir,
    )
