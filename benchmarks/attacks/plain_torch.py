"""PGD as one writes it in PyTorch, on the same networks and weights.

The networks are those of `qup.models`, layer for layer; tensors lie in
memory as PyTorch is fastest with on a CPU (`channels_last`).
"""

import itertools
from collections.abc import Callable

import keras
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.attacks.networks import Subject


def _convnet() -> nn.Module:
    return nn.Sequential(
        *_pooled(nn.Conv2d(1, 6, 5, padding=2)),
        *_pooled(nn.Conv2d(6, 16, 5)),
        nn.Flatten(),
        *(nn.Linear(400, 120), nn.ReLU(inplace=True)),
        *(nn.Linear(120, 84), nn.ReLU(inplace=True)),
        nn.Linear(84, 10),
    )


def _ygcnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(inplace=True)),
        *_pooled(nn.Conv2d(32, 32, 5, padding=2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(inplace=True)),
        *_pooled(nn.Conv2d(64, 64, 3, padding=1)),
        nn.Flatten(),
        *(nn.Linear(3136, 256), nn.ReLU(inplace=True)),
        nn.Linear(256, 10),
    )


def _pooled(convolution: nn.Module) -> tuple[nn.Module, ...]:
    return convolution, nn.ReLU(inplace=True), nn.MaxPool2d(2)


class _Block(nn.Module):
    """Two convolutions beside a shortcut without parameters."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.stride, self.missing = width // channels, width - channels
        self.residual = nn.Sequential(
            nn.Conv2d(channels, width, 3, self.stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x):
        shortcut = x
        if self.missing:
            before = self.missing // 2
            after = self.missing - before
            shortcut = functional.pad(
                x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, after)
            )
        return functional.relu(self.residual(x) + shortcut)


class _ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [16, *[16] * 3, *[32] * 3, *[64] * 3]
        pairs = itertools.pairwise(widths)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            *(_Block(*pair) for pair in pairs),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, 10),
        )

    def forward(self, x):
        return self.layers(2 * x - 1)


_NETWORKS = {"convnet": _convnet, "ygcnn": _ygcnn, "resnet20": _ResNet20}


def _copied(model: keras.Model, network: nn.Module) -> nn.Module:
    """Gives a network the weights of a Keras model."""
    ours = [layer for layer in model.layers if layer.weights]
    theirs = [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.Linear)
    ]
    channels = 0
    for source, target in zip(ours, theirs, strict=True):
        weights = [torch.tensor(w) for w in source.get_weights()]
        state = list(target.state_dict().values())
        if isinstance(target, nn.Conv2d):
            weights[0] = weights[0].permute(3, 2, 0, 1)
            channels = target.out_channels
        elif isinstance(target, nn.Linear):
            # Keras flattens [height, width, channels].
            kernel = weights[0].reshape(-1, channels or 1, weights[0].shape[1])
            weights[0] = kernel.permute(2, 1, 0).flatten(1)
            channels = 0
        for weight, place in zip(weights, state, strict=False):
            place.copy_(weight)
    network.requires_grad_(False)
    return network.eval().to(memory_format=torch.channels_last)


def pgd(subject: Subject, steps: int) -> Callable[[], np.ndarray]:
    """Returns the attack, in `steps` of epsilon / steps.

    Raises:
      ValueError: The logits are not those of the Keras model.
    """
    network = _copied(subject.model, _NETWORKS[subject.name]())
    images = torch.from_numpy(subject.images).permute(0, 3, 1, 2)
    labels = torch.from_numpy(subject.labels)
    theirs = network(images).numpy()
    ours = subject.model(subject.images, training=False).numpy()
    if np.abs(theirs - ours).max() > 1e-3 * np.abs(ours).max():
        raise ValueError("The PyTorch network gives other logits.")

    def attack() -> np.ndarray:
        low = (images - subject.epsilon).clamp(min=0)
        high = (images + subject.epsilon).clamp(max=1)
        moved = images
        for _ in range(steps):
            moved = moved.detach().requires_grad_()
            loss = functional.cross_entropy(network(moved), labels, reduction="sum")
            (slope,) = torch.autograd.grad(loss, moved)
            moved = moved.detach() + subject.epsilon / steps * slope.sign()
            moved = moved.clamp(low, high)
        return moved.permute(0, 2, 3, 1).numpy()

    return attack
