"""Classifiers to attack, trained on the spot, and the images."""

import dataclasses
import functools

import keras
import numpy as np

from qup import datasets, models, training
from qup.core import compilation, errors
from qup.datasets import dataset as datasets_dataset

# Title, dataset, and the budget that leaves some images whole.
_SETTINGS = {
    "convnet": ("ConvNet", "mnist", 0.1),
    "ygcnn": ("YGCNN", "mnist", 0.1),
    "resnet20": ("ResNet-20", "cifar10", 2 / 255),
}
NAMES = tuple(_SETTINGS)
_TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """Who is attacked, on what.

    Attributes:
      name: Of the network.
      data: Name of the dataset.
      model: Keras, image to logits, trained.
      images: float32 [n, height, width, channels] in [0, 1].
      labels: int64 [n]: foolbox compares them with what TensorFlow's argmax
        gives, and its conversion needs a function that NumPy 2 has not.
      epsilon: The budget.
      targets: int64 [n], what success is; None for any wrong class.
    """

    name: str
    data: str
    model: keras.Model
    images: np.ndarray
    labels: np.ndarray
    epsilon: float
    targets: np.ndarray | None = None

    @property
    def title(self) -> str:
        """The network and its dataset, as one writes them."""
        data = _TITLES.get(self.data, self.data)
        return f"{_SETTINGS[self.name][0]} on {data}"

    def first(self, count: int) -> "Subject":
        """Returns the subject with `count` images, repeated if too few."""
        rows = np.arange(count) % len(self.labels)
        return dataclasses.replace(self, images=self.images[rows], labels=self.labels[rows])

    def aimed(self, targets: np.ndarray) -> "Subject":
        """Returns the subject whose attacks aim at classes, int [n]."""
        return dataclasses.replace(self, targets=targets)

    def success(self, attacked: np.ndarray) -> float:
        """Returns of how many percent of attacked images the attack won."""
        return 100 * float(np.mean(self.won(attacked)))

    def won(self, attacked: np.ndarray) -> np.ndarray:
        """Marks images that are misclassified, or as the targets: bool [n]."""
        logits = [
            compilation.predict(self.model, attacked[i : i + 1000]).numpy()
            for i in range(0, len(attacked), 1000)
        ]
        found = np.concatenate(logits).argmax(1)
        if self.targets is not None:
            return found == self.targets
        return found != self.labels


@functools.cache
def trained(name: str, train_size: int) -> Subject:
    """Returns a network after an epoch, with its test images.

    Args:
      name: One of `NAMES`.
      train_size: The number of training images.
    """
    _, dataset, epsilon = _SETTINGS[name]
    data = _loaded(dataset, train_size)
    kind = name.rstrip("0123456789")
    depth = {"depth": int(name[len(kind) :])} if name != kind else {}
    model = models.build(kind, data.info, seed=0, **depth)
    epochs = -(-train_size // data.info.sizes["train"])
    training.fit_classifier(model, data, epochs=epochs, recipe=models.get_recipe(kind))
    images, labels, _ = data.get_arrays("test")
    return Subject(
        name,
        data.info.name,
        model,
        images.astype(np.float32) / 255,
        labels.astype(np.int64),
        epsilon,
    )


def _loaded(name: str, train_size: int) -> datasets.Dataset:
    try:
        whole = datasets.load(name)
        return datasets.load(name, train_size=min(train_size, whole.info.sizes["train"]))
    except errors.InputError:
        digits = datasets.load("digits")
    return digits if name == "mnist" else _framed(digits)


def _framed(digits: datasets.Dataset) -> datasets.Dataset:
    """Returns the digits in the shape of CIFAR-10's images."""
    splits = {}
    for split in ("train", "test"):
        images, labels, _ = digits.get_arrays(split)
        images = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
        splits[split] = datasets_dataset.build_split(images.repeat(3, -1), labels)
    return datasets.Dataset(
        "framed digits",
        datasets.Source(
            image_shape=(32, 32, 3),
            class_names=digits.info.class_names,
            origin=digits.info.origin,
            splits=splits,
        ),
    )
