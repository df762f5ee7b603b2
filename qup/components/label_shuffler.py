"""A control: the same images, with training labels that mean nothing."""

import shutil

import numpy as np

from qup.components.artifacts import Examples
from qup.orchestration import In, Out, component


@component
def LabelShuffler(examples: In[Examples], shuffled: Out[Examples], *, seed: int = 0) -> None:
    """Permutes the labels of the training images; each class keeps its size.

    Args:
      examples: The images.
      shuffled: The same; the other splits keep their labels.
      seed: Of the permutation.
    """
    shutil.copytree(examples.path, shuffled.path, dirs_exist_ok=True)
    path = shuffled.path / "Split-train" / "labels.npy"
    labels = np.load(path)
    np.save(path, np.random.default_rng([seed, len(labels)]).permutation(labels))
    shuffled.properties.update(examples.properties)
