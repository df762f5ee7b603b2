"""Exact distances to the boundaries of linear classifiers, by bisection."""

import numpy as np
import tensorflow as tf

ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}


class LinearClassifier:
    """logits = x W, and random images with the classes that it predicts.

    Attributes:
      weights: float64 [size, classes].
      images: float32 [count, *shape] in [0, 1].
      labels: int64 [count], the predicted classes.
    """

    def __init__(self, shape, classes, count=8, seed=0):
        rng = np.random.default_rng(seed)
        self.size = int(np.prod(shape))
        self.weights = rng.normal(size=(self.size, classes)) / self.size**0.5
        self.images = rng.random((count, *shape)).astype(np.float32)
        self.labels = np.argmax(self.logits(), -1)
        self._tensor = tf.constant(self.weights, tf.float32)

    def __call__(self, images):
        return tf.reshape(images, (-1, self.size)) @ self._tensor

    def logits(self):
        return np.reshape(self.images, (-1, self.size)) @ self.weights

    def compute_distances(self, norm, bounds):
        """Returns the distance to each other class inside the box, float64 [count, classes]."""
        distances = np.full((len(self.labels), self.weights.shape[1]), np.inf)
        rows = np.reshape(self.images, (-1, self.size)).astype(float)
        for i, (y, z) in enumerate(zip(self.labels, self.logits(), strict=True)):
            for t in set(range(len(z))) - {y}:
                gradient = self.weights[:, t] - self.weights[:, y]
                d = solve_smallest_perturbation(rows[i], gradient, z[t] - z[y], norm, bounds)
                distances[i, t] = np.linalg.norm(d, ORDERS[norm])
        return distances


def solve_smallest_perturbation(x, gradient, value, norm, bounds):
    """Returns the smallest d with gradient d = -value and x + d in the box.

    Without such a d, returns the one to the corner of the box that comes closest. It bisects the
    level t of d_i = min(t, room_i) (L-inf) or min(t |w_i|, room_i) (L2); in L1 it fills the
    steepest elements one by one.
    """
    direction = -np.sign(value) * np.sign(gradient)
    w, required = np.abs(gradient), abs(value)
    room = np.full(x.shape, np.inf)
    if bounds is not None:
        room = np.where(direction > 0, bounds[1] - x, x - bounds[0])
    room = np.where(w > 0, room, 0.0)
    if norm == "l1":
        return direction * _fill_steepest(w, room, required)
    rate = np.ones_like(w) if norm == "linf" else w

    def compute_sizes(level):
        return np.minimum(level * rate, room)

    low, high = 0.0, 1e12
    for _ in range(300):
        middle = (low * high) ** 0.5 if low > 1e-12 else (low + high) / 2
        is_enough = w @ compute_sizes(middle) >= required
        low, high = (low, middle) if is_enough else (middle, high)
    return direction * compute_sizes(high)


def _fill_steepest(w, room, required):
    sizes = np.zeros_like(w)
    for i in np.argsort(-w):
        if required <= 0 or not w[i]:
            break
        sizes[i] = min(room[i], required / w[i])
        required -= w[i] * sizes[i]
    return sizes
