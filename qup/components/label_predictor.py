"""A control: the same images, with the labels that a classifier gives."""

import shutil

import numpy as np
import tensorflow as tf

from qup import compilation
from qup.components import artifacts
from qup.components.artifacts import Examples, Model
from qup.datasets import examples as files_of_examples
from qup.orchestration import In, Out, component

_PREDICTION_BATCH_SIZE = 500


@component
def LabelPredictor(examples: In[Examples], model: In[Model], predicted: Out[Examples]) -> None:
    """Replaces the labels of the training images by predicted ones.

    What is walked with them knows nothing of the true labels but what the
    classifier learnt.

    Args:
      examples: The images.
      model: The classifier.
      predicted: The same images; the other splits keep their labels.
    """
    classifier = artifacts.load_network(model.path)
    data = files_of_examples.read(examples.path)
    classes = np.concatenate(
        [
            tf.argmax(compilation.predict(classifier, batch["image"]), -1)
            for batch in data.evaluation_batches("train", _PREDICTION_BATCH_SIZE)
        ]
    )
    shutil.copytree(examples.path, predicted.path, dirs_exist_ok=True)
    path = predicted.path / "Split-train" / "labels.npy"
    np.save(path, classes[: data.info.sizes["train"]].astype(np.int32))
    predicted.properties.update(examples.properties)
