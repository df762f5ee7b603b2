"""The attacked networks, which are trained before, and their images."""

import dataclasses
import functools

import keras
import numpy as np

from qup import datasets, models, training
from qup.core import compilation, errors
from qup.datasets import dataset as datasets_dataset

# Title, dataset, and a budget at which the attack fails for some images.
_SETTINGS = {
    "convnet": ("ConvNet", "mnist", 0.1),
    "ygcnn": ("YGCNN", "mnist", 0.1),
    "resnet20": ("ResNet-20", "cifar10", 2 / 255),
}
NAMES = tuple(_SETTINGS)
_TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}


@dataclasses.dataclass(frozen=True, eq=False)
class AttackedNetwork:
    """A network and the images to attack.

    Attributes:
      name: The name of the network, one of `NAMES`.
      model: Trained Keras model, image to logits.
      images: float32 [n, height, width, channels] in [0, 1].
      labels: int64 [n], the dtype of TensorFlow's argmax. foolbox compares the two, and its
        conversion needs a function that NumPy 2 has removed.
      epsilon: The budget.
      targets: int64 [n]; None for any wrong class.
    """

    name: str
    dataset_name: str
    model: keras.Model
    images: np.ndarray
    labels: np.ndarray
    epsilon: float
    targets: np.ndarray | None = None

    @property
    def title(self) -> str:
        """The network and its dataset as text."""
        data = _TITLES.get(self.dataset_name, self.dataset_name)
        return f"{_SETTINGS[self.name][0]} on {data}"

    def take(self, count: int) -> "AttackedNetwork":
        """Returns the network with `count` images, repeated if there are fewer."""
        rows = np.arange(count) % len(self.labels)
        return dataclasses.replace(self, images=self.images[rows], labels=self.labels[rows])

    def with_targets(self, targets: np.ndarray) -> "AttackedNetwork":
        """Returns the network with targets, int [n]."""
        return dataclasses.replace(self, targets=targets)

    def compute_success_rate(self, attacked: np.ndarray) -> float:
        """Returns the percentage of attacked images for which the attack succeeds."""
        return 100 * float(np.mean(self.is_adversarial(attacked)))

    def is_adversarial(self, attacked: np.ndarray) -> np.ndarray:
        """Returns bool [n]: misclassified, or classified as the target."""
        logits = [
            compilation.predict(self.model, attacked[i : i + 1000]).numpy()
            for i in range(0, len(attacked), 1000)
        ]
        predicted = np.concatenate(logits).argmax(1)
        if self.targets is not None:
            return predicted == self.targets
        return predicted != self.labels


@functools.cache
def train_network(name: str, train_size: int) -> AttackedNetwork:
    """Returns a network trained for one epoch, with the test images.

    Args:
      name: One of `NAMES`.
      train_size: The number of training images.
    """
    _, dataset, epsilon = _SETTINGS[name]
    data = _load_dataset(dataset, train_size)
    kind = name.rstrip("0123456789")
    depth = {"depth": int(name[len(kind) :])} if name != kind else {}
    model = models.build(kind, data.info, seed=0, **depth)
    epochs = -(-train_size // data.info.sizes["train"])
    training.fit_classifier(model, data, epochs=epochs, recipe=models.get_recipe(kind))
    images, labels, _ = data.get_arrays("test")
    return AttackedNetwork(
        name,
        data.info.name,
        model,
        images.astype(np.float32) / 255,
        labels.astype(np.int64),
        epsilon,
    )


def _load_dataset(name: str, train_size: int) -> datasets.Dataset:
    try:
        full_size = datasets.load(name).info.sizes["train"]
        return datasets.load(name, train_size=min(train_size, full_size))
    except errors.InputError:
        digits = datasets.load("digits")
    return digits if name == "mnist" else _pad_to_cifar10_shape(digits)


def _pad_to_cifar10_shape(digits: datasets.Dataset) -> datasets.Dataset:
    """Returns the digits in the shape of the images of CIFAR-10."""
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
