"""99289 house numbers cut to one digit, 32x32 in colour."""

import os

from qup import datasets
from qup.datasets import source, tfds_source


@datasets.register
def svhn_cropped(
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    scratch_dir: str | os.PathLike | None = None,
) -> source.Source:
    """Returns svhn_cropped as tensorflow-datasets prepares it.

    The 1.3 GB of extra training images that come with it are left unread.

    The arguments and errors are those of `tfds_source.load`.

    Reference:
      Netzer et al., Reading digits in natural images, 2011.
    """
    return tfds_source.load_prepared(
        "svhn_cropped",
        origin="SVHN, Netzer et al. 2011 (non-commercial use only)",
        data_dir=data_dir,
        manual_dir=manual_dir,
        scratch_dir=scratch_dir,
    )
