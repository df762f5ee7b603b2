"""1797 handwritten digits that come with scikit-learn: nothing to download.

The small stand-in for the paper's MNIST: the same classes and shape.
"""

import numpy as np

from qup import datasets
from qup.datasets import source

_TEST_SIZE = 360
_SPLIT_SEED = 0


@datasets.register
def digits() -> source.Source:
    """Returns the digits, enlarged from 8x8 to 28x28 and rounded.

    The split into 1437 training and 360 test images is fixed and holds each
    class in the same proportion.

    Reference:
      Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI
      Machine Learning Repository, 1998.
    """
    # Imported here: a second that only this dataset has to pay.
    from sklearn import datasets as bundled
    from sklearn import model_selection

    bunch = bundled.load_digits()
    # Pixels are whole numbers from 0 to 16.
    images = source.resize(bunch.images[..., None] * (255 / 16), (28, 28))
    train, test = model_selection.train_test_split(
        np.arange(len(bunch.target)),
        test_size=_TEST_SIZE,
        stratify=bunch.target,
        random_state=_SPLIT_SEED,
    )
    images, labels = images.numpy(), bunch.target
    return source.Source(
        image_shape=(28, 28, 1),
        class_names=tuple(str(name) for name in bunch.target_names),
        origin="UCI Optical Recognition of Handwritten Digits (CC BY 4.0), "
        "as shipped with scikit-learn, resized to 28x28",
        splits={
            "train": source.build_split(images[train], labels[train]),
            "test": source.build_split(images[test], labels[test]),
        },
    )
