"""The binary toy: two classes in the unit square, for Fig. 2 with a trained network.

An "image" is a point of [0, 1]^2, so that quadrature gives every integral of section 3, and every
packet can be plotted.

```python
networks = train_networks(seed=0, epochs=(1, 50))
points, labels = sample_held_out(seed=0, count=2000)
compute_accuracies(networks[50], points, labels, epsilons=(0.05, 0.1), seed=0)
```
"""

from collections.abc import Sequence

import keras
import numpy as np

from qup import attacks
from qup.core import compilation, measurements, prng
from qup.core.measurements import Measurement
from qup.uncertainty import Box, GaussianWindow, SineWindow
from qup.uncertainty.domains import Domain

# The middle of each class's arc, the centre of its window.
CENTRES = np.array([[0.23, 0.375], [0.77, 0.625]])
# Standard deviation of a point from its arc, along each coordinate.
NOISE = 0.05
# Domains of packets: the interval of a Fourier transform, for each coordinate.
SPANS = {"box": (0.0, 1.0), "sine": (0.0, 1.0), "window:0.1": (-0.5, 1.5)}

PGD_OPTIONS = {
    "num_steps": 40,
    "random_start": True,
    "loss": "log_odds",
    "keep": "first_adversarial",
}


def sample_points(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples points around two interlocked half circles.

    Class 0 is on the left and opens to the right; class 1 is class 0 rotated by 180 degrees. Noise
    is normal with standard deviation `NOISE`; points outside the square are clipped to its edge.

    Returns:
      (points, labels): float32 [count, 2] in [0, 1], int32 [count].
    """
    keys = prng.make_keys(seed, np.arange(count))
    coin, angle = prng.uniform(keys, (2,)).numpy().T
    noise = prng.normal(prng.make_keys(seed, np.arange(count), 1), (2,)).numpy()
    labels = (coin < 0.5).astype(np.int32)
    across, along = np.sin(np.pi * angle), np.cos(np.pi * angle)
    arcs = np.stack([0.59 - 0.36 * across, 0.375 + 0.25 * along], 1)
    arcs = np.where(labels[:, None] == 0, arcs, 1.0 - arcs)
    points = np.clip(arcs + NOISE * noise, 0.0, 1.0)
    return points.astype(np.float32), labels


def get_domain(name: str, label: int) -> Domain:
    """Returns a domain of `SPANS`; the centre of the window is on the label's arc."""
    if name == "box":
        return Box()
    if name == "sine":
        return SineWindow()
    return GaussianWindow(CENTRES[label], float(name.partition(":")[2]))


def build_network(seed: int) -> keras.Model:
    """Builds the untrained network: [batch, 2] to logits [batch, 2].

    Two hidden layers of 32 tanh units: a smooth function, so that quadrature converges fast.
    """
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((2,)),
            layers.Rescaling(2.0, -1.0),
            layers.Dense(32, "tanh"),
            layers.Dense(32, "tanh"),
            layers.Dense(2, name="logits"),
        ]
    )


def train_networks(seed: int, epochs: Sequence[int], count: int = 1000) -> dict[int, keras.Model]:
    """Trains one network, and returns copies of it by number of epochs.

    Args:
      seed: Of data, weights and order.
      epochs: Numbers of epochs, ascending.
      count: Number of training points.
    """
    points, labels = sample_points(count, 2 * seed)
    network = build_network(seed)
    network.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    snapshots, last = {}, 0
    for number in epochs:
        network.fit(points, labels, batch_size=50, epochs=number, initial_epoch=last, verbose=0)
        snapshots[number], last = build_network(seed), number
        snapshots[number].set_weights(network.get_weights())
    return snapshots


def sample_held_out(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns test points and labels of `train_networks(seed, ...)`."""
    return sample_points(count, 2 * seed + 1)


def compute_accuracies(
    network: keras.Model,
    points: np.ndarray,
    labels: np.ndarray,
    *,
    epsilons: Sequence[float],
    seed: int,
) -> tuple[Measurement, dict[float, Measurement]]:
    """Returns TA, and RA under PGD (L-inf) at every epsilon.

    PGD takes 40 steps of epsilon / 10 that increase the log odds, from a random start, and keeps
    the first misclassified point: a point is robust if it is classified correctly without
    perturbation and at each of the steps.

    Args:
      network: The classifier.
      points: float32 [n, 2] in [0, 1].
      labels: int32 [n].
      epsilons: Budgets in units of the square's side.
      seed: Of the random starts.
    """
    logits = compilation.predict(network, points).numpy()
    clean = measurements.compute_accuracy(int((logits.argmax(1) == labels).sum()), len(labels))
    robust = {}
    for epsilon in epsilons:
        result = attacks.run(
            "pgd",
            network,
            points,
            labels,
            epsilon=epsilon,
            seed=seed,
            logs_flags=False,
            step_size=epsilon / 10,
            **PGD_OPTIONS,
            batch_size=500,
        )
        robust[epsilon] = measurements.compute_accuracy(int((~result.success).sum()), len(labels))
    return clean, robust
