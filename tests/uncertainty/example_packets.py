"""Packets whose sigma_x, sigma_p and B are known, and a small network."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup import uncertainty
from qup.uncertainty import Box


class ClosedForm(NamedTuple):
    """A packet on a line with its closed forms; B is 0 on the whole line."""

    log_amplitude: object
    domain: Box
    breaks: tuple
    sigma_x: float
    sigma_p: float
    boundary: float
    # Whether psi vanishes somewhere: then s^4 has no mean.
    zero: bool = False


def _x(points):
    return points[:, 0]


_WIDE, _UNIT = Box(-24.0, 24.0), Box(0.0, 1.0)
CLOSED_FORMS = {
    "gaussian": ClosedForm(lambda p: -(_x(p) ** 2) / 4, Box(-12.0, 12.0), (), 1.0, 0.5, 0.0),
    "sech": ClosedForm(
        lambda p: -tf.math.log(tf.cosh(_x(p))),
        _WIDE,
        (),
        math.pi / math.sqrt(12),
        1 / math.sqrt(3),
        0.0,
    ),
    "triangle": ClosedForm(
        lambda p: tf.math.log(1 - tf.abs(_x(p))),
        Box(-1.0, 1.0),
        (0.0,),
        math.sqrt(0.1),
        math.sqrt(3),
        0.0,
        True,
    ),
    "cosine": ClosedForm(
        lambda p: tf.math.log(tf.cos(math.pi * _x(p) / 2)),
        Box(-1.0, 1.0),
        (),
        math.sqrt(1 / 3 - 2 / math.pi**2),
        math.pi / 2,
        0.0,
        True,
    ),
    "laplace": ClosedForm(lambda p: -tf.abs(_x(p)), _WIDE, (0.0,), 1 / math.sqrt(2), 1.0, 0.0),
    "first_excited": ClosedForm(
        lambda p: tf.math.log(tf.abs(_x(p))) - _x(p) ** 2 / 2,
        Box(-12.0, 12.0),
        (0.0,),
        math.sqrt(1.5),
        math.sqrt(1.5),
        0.0,
        True,
    ),
    "constant": ClosedForm(lambda p: 0.0 * _x(p), _UNIT, (), 1 / math.sqrt(12), 0.0, 1.0),
    "linear": ClosedForm(
        lambda p: tf.math.log(_x(p)), _UNIT, (), math.sqrt(3 / 80), math.sqrt(3) / 2, 0.75, True
    ),
    # sigma_x^2 of rho ~ e^{6x}: 1/36 - e^6 / (e^6 - 1)^2.
    "exponential": ClosedForm(
        lambda p: 3.0 * _x(p),
        _UNIT,
        (),
        math.sqrt(1 / 36 - math.exp(6) / math.expm1(6) ** 2),
        0.0,
        1.0,
    ),
    "truncated_gaussian": ClosedForm(
        lambda p: -4.5 * (_x(p) - 0.3) ** 2, _UNIT, (), 0.196507, 1.768566, 0.304928
    ),
    "truncated_valley": ClosedForm(
        lambda p: 2.0 * (_x(p) - 0.3) ** 2, _UNIT, (), 0.297914, 1.191658, 1.710024
    ),
}


def get_packet(name: str) -> tuple[uncertainty.Packet, ClosedForm]:
    """Returns a packet and its closed forms."""
    closed_form = CLOSED_FORMS[name]
    return uncertainty.of_function(closed_form.log_amplitude, 1), closed_form


def logistic_packet(steepness: float) -> uncertainty.Packet:
    """Returns the logistic loss softplus(-k (x - 1/2)) on a line."""

    def log_amplitude(points):
        return tf.math.log(tf.nn.softplus(-steepness * (_x(points) - 0.5)))

    return uncertainty.of_function(log_amplitude, 1)


def trained_packet(epochs: int = 20, temperature: float = 1.0, kind: str = "loss"):
    """Returns the packet of a network trained on two arcs in the square."""
    return uncertainty.of_classifier(
        get_network(epochs), 0, shape=(2,), kind=kind, temperature=temperature
    )


_networks: dict[int, object] = {}


def get_network(epochs: int):
    """Returns a network of two inputs and two classes, from memory."""
    import keras

    if epochs not in _networks:
        rng = np.random.default_rng(0)
        angle = rng.uniform(0, math.pi, 600)
        label = rng.integers(0, 2, 600)
        arcs = np.stack([np.cos(angle), np.sin(angle)], 1)
        arcs = np.where(label[:, None] == 0, arcs, [1.0, 0.5] - arcs)
        points = (arcs + rng.normal(0, 0.15, arcs.shape)) / 4 + 0.375
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.layers.Input((2,)),
                keras.layers.Dense(24, "tanh"),
                keras.layers.Dense(24, "tanh"),
                keras.layers.Dense(2),
            ]
        )
        model.compile(
            keras.optimizers.Adam(0.01),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        model.fit(points.astype("float32"), label, 64, epochs=epochs, verbose=0)
        _networks[epochs] = model
    return _networks[epochs]
