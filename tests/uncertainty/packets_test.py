"""Packets of classifiers and generators, in the domain of logarithms."""

import numpy as np
import pytest
import tensorflow as tf

from qup import uncertainty
from qup.core.errors import InputError
from tests.uncertainty import example_packets


def _evaluate_margins(margins, kind="loss", temperature=1.0):
    """Returns ln l and its slope of a classifier whose margin is its input."""

    def logits(x):
        return tf.concat([x, tf.zeros_like(x)], 1)

    packet = uncertainty.of_classifier(logits, 0, shape=(1,), kind=kind, temperature=temperature)
    return packet.value_and_gradient(np.reshape(margins, (-1, 1)).astype("f4"))


def test_nothing_underflows():
    margins = np.array([-80, -3, 0, 3, 14.9, 15.1, 20, 88, 500, 2000.0])
    values, gradients = _evaluate_margins(margins)
    wide = margins.astype(np.longdouble)
    # ln softplus(-m), in 80 bits; beyond them it is -m
    loss = np.log1p(np.exp(-np.minimum(wide, 1000)))
    expected = np.where(wide > 900, -wide, np.log(loss))
    np.testing.assert_allclose(values, expected.astype(float), rtol=2e-6)
    # -sigmoid(-m) / softplus(-m), which tends to -1
    gradient = -1 / (1 + np.exp(np.minimum(wide, 1000))) / loss
    gradient = np.where(wide > 900, -1, gradient)
    np.testing.assert_allclose(gradients[:, 0], gradient.astype(float), rtol=2e-5)


@pytest.mark.parametrize("kind", ["loss", "prob", "sqrt_prob"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_what_each_packet_is(kind, temperature):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (6, 4))
    packet = uncertainty.of_classifier(
        tf.identity, 2, shape=(4,), kind=kind, temperature=temperature
    )
    scaled = logits / temperature
    p = np.exp(scaled) / np.exp(scaled).sum(1, keepdims=True)
    amplitude = {"loss": -np.log(p[:, 2]), "prob": p[:, 2], "sqrt_prob": np.sqrt(p[:, 2])}[kind]
    np.testing.assert_allclose(packet.compute_values(logits), np.log(amplitude), atol=1e-5)


@pytest.mark.parametrize("kind", ["loss", "prob", "sqrt_prob"])
def test_gradients_equal_finite_differences(kind):
    packet = example_packets.trained_packet(kind=kind)
    points = np.random.default_rng(1).uniform(0, 1, (20, 2))
    _, gradients = packet.value_and_gradient(points)
    step = 1e-3
    for i in range(2):
        move = np.eye(2)[i] * step
        rise = packet.compute_values(points + move) - packet.compute_values(points - move)
        np.testing.assert_allclose(gradients[:, i], rise / (2 * step), atol=2e-3)


def test_labels_and_temperatures_do_not_compile_again():
    traces = []

    def logits(x):
        traces.append(1)
        return x

    for label in (0, 1, 2):
        for temperature in (0.5, 2.0):
            packet = uncertainty.of_classifier(
                logits, label, shape=(3,), temperature=temperature, num_classes=3
            )
            packet.value_and_gradient(np.zeros((4, 3)))
    assert len(traces) == 1


def test_the_loss_of_a_translator():
    target = np.full((4, 5, 1), 0.25)
    packet = uncertainty.of_translator(lambda x: 2.0 * x, target)
    points = np.random.default_rng(0).uniform(0, 1, (3, 20))
    values, gradients = packet.value_and_gradient(points)
    difference = 2 * points - 0.25
    loss = np.abs(difference).mean(1)
    np.testing.assert_allclose(values, np.log(loss), rtol=1e-5)
    # d ln l = sign(far) * 2 / 20 / l
    expected = np.sign(difference) * 0.1 / loss[:, None]
    np.testing.assert_allclose(gradients, expected, rtol=1e-4)


def test_a_slice_is_the_packet_along_it():
    packet = example_packets.trained_packet()
    line = uncertainty.on_slice(packet, [0.2, 0.3], [[0.6, 0.8]])
    along = np.linspace(-0.2, 0.7, 9)[:, None]
    points = [0.2, 0.3] + along * [0.6, 0.8]
    values, gradients = line.value_and_gradient(along)
    full, gradient = packet.value_and_gradient(points)
    np.testing.assert_allclose(values, full, rtol=1e-5)
    np.testing.assert_allclose(gradients[:, 0], gradient @ [0.6, 0.8], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("label", "options", "message"),
    [
        (3, {}, "label must be one of 0 to 2; got 3"),
        (-1, {}, "label must be one of 0 to 2; got -1"),
        (0, {"kind": "los"}, "Did you mean 'loss'"),
        (0, {"temperature": 0.0}, "temperature must be a finite number above"),
    ],
)
def test_bad_input(label, options, message):
    with pytest.raises(InputError, match=message):
        uncertainty.of_classifier(tf.identity, label, shape=(3,), **options)
