"""The accuracies of the paper, to compare with.

Zhang, Zhang, Chen, Pang, Meng 2022, arXiv 2205.01493 v3: Tables 2 and 3 of
the main text and Table 1 of the supplement, in percent, from single runs
without error bars, with PGD of 4 steps (epsilon 0.1 on MNIST, 8/255 on
CIFAR-10).
"""

from typing import NamedTuple


class PublishedAccuracy(NamedTuple):
    """Test and robust accuracy in percent."""

    test_accuracy: float
    robust_accuracy: float


# Radius of its attacks, in the L-inf norm.
EPSILON = {"mnist": 0.1, "cifar10": 8 / 255}

# (dataset, model, classifier) -> {epochs: (TA, RA)}.
_TABLES = {
    ("mnist", "convnet", "CL"): {1: (97.31, 41.44), 30: (98.71, 50.98), 50: (98.72, 53.74)},
    ("mnist", "convnet", "ACL"): {1: (99.04, 89.53), 30: (98.87, 93.90), 50: (99.25, 98.00)},
    ("mnist", "resnet", "CL"): {1: (98.65, 90.88), 30: (99.50, 98.22), 50: (99.57, 98.27)},
    ("mnist", "resnet", "ACL"): {1: (99.32, 95.44), 30: (99.15, 52.96), 50: (89.85, 51.03)},
    ("mnist", "ygcnn", "CL"): {1: (97.35, 59.84), 30: (99.15, 49.06), 50: (99.19, 45.68)},
    ("mnist", "ygcnn", "ACL"): {1: (98.96, 95.43), 30: (99.08, 89.95), 50: (98.29, 67.73)},
    ("cifar10", "convnet", "CL"): {1: (45.71, 12.49), 5: (60.46, 6.62), 50: (63.07, 2.88)},
    ("cifar10", "resnet", "CL"): {1: (70.42, 10.67), 5: (82.97, 14.17), 50: (86.86, 1.45)},
    ("cifar10", "googlenet", "CL"): {1: (67.71, 10.64), 5: (81.18, 8.44), 50: (86.61, 0.08)},
}


def find_published_accuracy(
    dataset: str, model: str, classifier: str, epochs: int
) -> PublishedAccuracy | None:
    """Returns the paper's pair of accuracies, or None if it has none.

    Args:
      dataset: "mnist" or "cifar10".
      model: "convnet", "resnet", "ygcnn" or "googlenet".
      classifier: "CL" or "ACL".
      epochs: Epochs of the classifier.
    """
    table = _TABLES.get((dataset, model, classifier), {})
    return PublishedAccuracy(*table[epochs]) if epochs in table else None
