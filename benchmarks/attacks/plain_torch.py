"""PGD in plain PyTorch, on the same networks and weights.

The networks equal those of `qup.models` layer by layer. The memory format is `channels_last`, the
fastest one of PyTorch on a CPU.
"""

import itertools
from collections.abc import Callable

import keras
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.attacks.networks import AttackedNetwork


def _build_convnet(channels: int = 1) -> nn.Module:
    # 28 x 28 pixels are padded, 32 x 32 are not.
    return nn.Sequential(
        *_build_pooled_layers(nn.Conv2d(channels, 6, 5, padding=2 if channels == 1 else 0)),
        *_build_pooled_layers(nn.Conv2d(6, 16, 5)),
        nn.Flatten(),
        *(nn.Linear(400, 120), nn.ReLU(inplace=True)),
        *(nn.Linear(120, 84), nn.ReLU(inplace=True)),
        nn.Linear(84, 10),
    )


def _build_ygcnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(inplace=True)),
        *_build_pooled_layers(nn.Conv2d(32, 32, 5, padding=2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(inplace=True)),
        *_build_pooled_layers(nn.Conv2d(64, 64, 3, padding=1)),
        nn.Flatten(),
        *(nn.Linear(3136, 256), nn.ReLU(inplace=True)),
        nn.Linear(256, 10),
    )


def _build_pooled_layers(convolution: nn.Module) -> tuple[nn.Module, ...]:
    return convolution, nn.ReLU(inplace=True), nn.MaxPool2d(2)


class _Block(nn.Module):
    """Two convolutions and a shortcut without parameters."""

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


_NETWORKS = {"convnet": _build_convnet, "ygcnn": _build_ygcnn, "resnet20": _ResNet20}


def _copy_weights(model: keras.Model, network: nn.Module) -> nn.Module:
    """Copies the weights of a Keras model into a network."""
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
        for weight, parameter in zip(weights, state, strict=False):
            parameter.copy_(weight)
    network.requires_grad_(False)
    return network.eval().to(memory_format=torch.channels_last)


def build_network(kind: str, model: keras.Model) -> nn.Module:
    """Returns the PyTorch network of a Keras model, in PyTorch's default memory format."""
    channels = model.input_shape[-1]
    network = _build_convnet(channels) if kind == "convnet" else _NETWORKS[kind]()
    return _copy_weights(model, network).to(memory_format=torch.contiguous_format)


def build_pgd(network: AttackedNetwork, steps: int) -> Callable[[], np.ndarray]:
    """Returns the attack with step size epsilon / steps.

    Raises:
      ValueError: The logits differ from those of the Keras model.
    """
    torch_network = _copy_weights(network.model, _NETWORKS[network.name]())
    images = torch.from_numpy(network.images).permute(0, 3, 1, 2)
    labels = torch.from_numpy(network.labels)
    theirs = torch_network(images).numpy()
    ours = network.model(network.images, training=False).numpy()
    if np.abs(theirs - ours).max() > 1e-3 * np.abs(ours).max():
        raise ValueError("The logits of the PyTorch network differ from those of the Keras model.")

    def attack() -> np.ndarray:
        low = (images - network.epsilon).clamp(min=0)
        high = (images + network.epsilon).clamp(max=1)
        perturbed = images
        for _ in range(steps):
            perturbed = perturbed.detach().requires_grad_()
            loss = functional.cross_entropy(torch_network(perturbed), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, perturbed)
            perturbed = perturbed.detach() + network.epsilon / steps * gradient.sign()
            perturbed = perturbed.clamp(low, high)
        return perturbed.permute(0, 2, 3, 1).numpy()

    return attack
