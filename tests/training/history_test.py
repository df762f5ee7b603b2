"""The history of a training: what it prints, and which keys the documentation explains."""

import pathlib
import re

import keras
import numpy as np

from qup import training
from qup.training.history import History

_DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "training.md"


def test_a_history_prints_its_first_best_and_last_epoch():
    history = History()
    for epoch, accuracy in enumerate((20.0, 61.256, 50.0, 40.0), 1):
        history.record(epoch, {"loss": 1 / epoch, "val_accuracy": accuracy})
    history.best_epoch = 2
    assert str(history).splitlines() == [
        "4 epochs; the best is 2",
        "                 epoch 1     epoch 2     epoch 4",
        "loss                   1         0.5        0.25",
        "val_accuracy       20.00       61.26       40.00",
        "Accuracies are in percent.",
    ]
    history.collapsed_epoch = 3
    assert str(history).startswith("4 epochs; the best is 2; catastrophic overfitting in 3\n")
    assert repr(history) == "<History of 4 epochs>"


def test_a_history_of_few_metrics_is_printed_too():
    history = History()
    assert str(history) == "0 epochs"
    history.record(1, {"loss": 2.0})
    assert str(history).splitlines() == ["1 epoch", "         epoch 1", "loss           2"]
    # A metric that an epoch lacks.
    history.record(2, {"loss": 1.5, "gap": 0.1})
    assert str(history).splitlines()[-1] == "gap " + " " * 12 + f"{'0.1':>12}"


def test_the_document_explains_every_key():
    random = np.random.default_rng(0)
    images, labels = random.random((40, 4, 4, 1), np.float32), np.arange(40) % 2
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]
    history = training.fit(
        keras.Sequential(layers), (images, labels), "standard", epsilon=0.1, epochs=1, batch_size=8
    )
    table = _DOCUMENT.read_text("utf-8").partition("| key | value |")[2].partition("\n\n")[0]
    keys = re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table.splitlines()[2:]))
    assert set(keys) == set(history.history)
