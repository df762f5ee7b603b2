"""Exact distances to the boundaries of linear classifiers, by bisection."""

import numpy as np
import tensorflow as tf

ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}


class Linear:
    """logits = x W, and random images that it classifies.

    Attributes:
      weights: float64 [size, classes].
      images: float32 [count, *shape] in [0, 1].
      labels: int64 [count], the classifier's own answers.
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

    def distances(self, norm, bounds):
        """float64 [count, classes], to each other class inside the box."""
        found = np.full((len(self.labels), self.weights.shape[1]), np.inf)
        rows = np.reshape(self.images, (-1, self.size)).astype(float)
        for i, (y, z) in enumerate(zip(self.labels, self.logits(), strict=True)):
            for t in set(range(len(z))) - {y}:
                slope = self.weights[:, t] - self.weights[:, y]
                d = move(rows[i], slope, z[t] - z[y], norm, bounds)
                found[i, t] = np.linalg.norm(d, ORDERS[norm])
        return found


def move(x, slope, value, norm, bounds):
    """The shortest d with slope d = -value and x + d in the box.

    The corner nearest to that where there is none. Bisects the level t of
    d_i = min(t, room_i) (L-inf) or min(t |w_i|, room_i) (L2); in L1, fills
    the steepest elements one by one.
    """
    way = -np.sign(value) * np.sign(slope)
    steep, need = np.abs(slope), abs(value)
    room = np.full(x.shape, np.inf)
    if bounds is not None:
        room = np.where(way > 0, bounds[1] - x, x - bounds[0])
    room = np.where(steep > 0, room, 0.0)
    if norm == "l1":
        return way * _filled(steep, room, need)
    rate = np.ones_like(steep) if norm == "linf" else steep

    def moved(level):
        return np.minimum(level * rate, room)

    low, high = 0.0, 1e12
    for _ in range(300):
        middle = (low * high) ** 0.5 if low > 1e-12 else (low + high) / 2
        enough = steep @ moved(middle) >= need
        low, high = (low, middle) if enough else (middle, high)
    return way * moved(high)


def _filled(steep, room, need):
    found = np.zeros_like(steep)
    for i in np.argsort(-steep):
        if need <= 0 or not steep[i]:
            break
        found[i] = min(room[i], need / steep[i])
        need -= steep[i] * found[i]
    return found
