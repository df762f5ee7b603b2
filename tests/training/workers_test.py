"""Two replicas train the network of one: in one process, and in two."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_SETTINGS = """
import contextlib, json, os, pathlib, sys
import keras, numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
if os.environ["STRATEGY"] == "mirrored":
    device = tf.config.LogicalDeviceConfiguration()
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [device] * 2)
from qup import datasets, models, training
from qup.augmentation.translator import fit_translator
from qup.augmentation.deltas import DeltaDataset
from qup.core.types import Recipe

folder = pathlib.Path(sys.argv[1])
if os.environ["STRATEGY"] == "mirrored":
    strategy, index = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]), 0
else:
    strategy = training.build_strategy(os.environ["STRATEGY"])
    index = json.loads(os.environ.get("TF_CONFIG") or '{"task": {"index": 0}}')["task"]["index"]
data = datasets.load("digits", train_size=int(sys.argv[2]))


def scope():
    return strategy.scope() if strategy else contextlib.nullcontext()


def build(name, **options):
    with scope():
        return models.build(name, data.info, seed=0, width=0.25, **options)


def save(name, model):
    weights = model.get_weights()
    np.savez(folder / f"{name}-{index}.npz", *weights)


def fit(name, method, epochs=1, model="convnet", **options):
    classifier = build(model)
    history = training.fit(
        classifier, data, method, epsilon=0.1, epochs=epochs, batch_size=32, validation_size=16,
        num_robust_images=32, strategy=strategy, **options)
    save(name, classifier)
    return history
"""
_TRAININGS = """
for optimizer, rate in (("sgd", 0.05), ("adam", 0.001)):
    classifier = build("convnet")
    recipe = Recipe(optimizer=optimizer, learning_rate=rate, batch_size=32)
    training.fit_classifier(classifier, data, epochs=2, recipe=recipe, strategy=strategy)
    save(optimizer, classifier)
options = {"optimizer": "sgd", "learning_rate": 0.01, "augment": True}
fit("pgd_at", "pgd_at", **options)
fit("free", "free", num_replays=3, **options)
classifier = build("resnet", depth=20)
training.fit_classifier(
    classifier, data, epochs=1, recipe=Recipe(optimizer="sgd", batch_size=32), strategy=strategy)
save("resnet", classifier)
assert not any(getattr(layer, "synchronized", False) for layer in classifier.layers)
pairs = DeltaDataset.open(folder / "pairs")
data = datasets.load("digits", train_size=48)
for method in ("standard", "pgd_at", "trades", "mart", "fast"):
    fit(f"step-{method}", method, **options)
save("translator", fit_translator(pairs, epochs=1, width=2, batch_size=32, strategy=strategy))
"""
# The largest difference of a weight: after six steps of SGD and Adam, three of the next ones, and
# one of the last ones. The attack takes the sign of gradients, which rounding may turn where a
# gradient is nearly zero, and batch normalisation divides by deviations that may be small.
_BOUNDS = {
    **{"sgd": 1e-6, "adam": 1e-5, "pgd_at": 1e-4, "free": 1e-4},
    **{"resnet": 2e-3, "translator": 2e-3},
    **{f"step-{m}": 1e-6 for m in ("standard", "pgd_at", "trades", "mart", "fast")},
}


def _get_environment(strategy, task=None):
    environment = {**os.environ, "STRATEGY": strategy, "PYTHONPATH": str(_ROOT)}
    environment.pop("TF_CONFIG", None)
    if task is not None:
        environment["TF_CONFIG"] = json.dumps(task)
    return environment


def build_tasks():
    """Returns TF_CONFIG of two workers at free ports of this machine."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
    return [
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        for index in range(2)
    ]


def _run(code, folder, strategy, num_images=112):
    """Runs a script in one process, or in two for "multi_worker"."""
    tasks = build_tasks() if strategy == "multi_worker" else [None]
    arguments = [sys.executable, "-c", _SETTINGS + code, str(folder), str(num_images)]
    processes = [
        subprocess.Popen(
            arguments,
            cwd=_ROOT,
            env=_get_environment(strategy, task),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for task in tasks
    ]
    try:
        outputs = [process.communicate(timeout=400) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, stderr) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, stderr[-3000:]
    return [stdout for stdout, _ in outputs]


def _load(folder, name, index=0):
    with np.load(folder / f"{name}-{index}.npz") as arrays:
        return [arrays[key] for key in arrays.files]


def _compute_difference(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Returns the folder of the networks of one process without a strategy, and of pairs."""
    folder = tmp_path_factory.mktemp("one")
    _run(
        """
from qup.augmentation import generation
shards = generation.compute_deltas(
    build("convnet"), data, folder / "shards", num_steps=2, step_size=0.02, points=(0,),
    batch_size=48, num_images=96)
(folder / "pairs").mkdir()
shards.link(folder / "pairs")
"""
        + _TRAININGS,
        folder,
        "none",
    )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["mirrored", "multi_worker"])
def test_two_replicas_train_the_network_of_one(reference, tmp_path, strategy):
    (tmp_path / "pairs").symlink_to(reference / "pairs")
    _run(_TRAININGS, tmp_path, strategy)
    differences = {
        name: _compute_difference(_load(reference, name), _load(tmp_path, name)) for name in _BOUNDS
    }
    for name, bound in _BOUNDS.items():
        assert differences[name] < bound, (name, differences[name])
        if strategy == "multi_worker":
            assert _compute_difference(_load(tmp_path, name), _load(tmp_path, name, 1)) == 0


_DROPOUT = """
import keras


def probe(seed, num_replicas):
    images = keras.Input((8, 8, 1))
    outputs = keras.layers.Dropout(0.5, seed=seed)(keras.layers.Flatten()(images))
    return keras.Model(images, outputs)


from qup.training import strategies
group = strategies.ReplicaGroup(strategy)
with group.scope():
    model = probe(3, 2)
states = strategies.find_seed_states([model])


@tf.function
def run(step):
    def replica():
        group.seed_generators(states, step)
        return model(tf.ones((1, 8, 8, 1)), training=True)
    return strategy.experimental_local_results(strategy.run(replica))

masks = [[m.numpy().ravel() > 0 for m in run(tf.constant(i, tf.int64))] for i in (0, 1, 0)]
print(json.dumps([[mask.tolist() for mask in row] for row in masks]))
"""


@pytest.mark.slow
def test_each_replica_and_step_drops_other_units(tmp_path):
    (output,) = _run(_DROPOUT, tmp_path, "mirrored")
    first, second, again = json.loads(output.splitlines()[-1])
    assert first == again
    masks = [*first, *second]
    assert len({tuple(mask) for mask in masks}) == 4
    assert all(16 < sum(mask) < 48 for mask in masks)


_RESUME = """
options = dict(num_replays=2, augment=True, checkpoint_dir=folder / "checkpoints")
if (folder / "whole").exists():
    options["checkpoint_dir"] = None
fit("free", "free", 3, model="ygcnn", **options)
"""


@pytest.mark.slow
def test_a_mirrored_training_resumes_with_the_state_of_each_replica(tmp_path):
    (tmp_path / "whole").touch()
    _run(_RESUME, tmp_path, "mirrored")
    whole = _load(tmp_path, "free")
    (tmp_path / "whole").unlink()
    _run(_RESUME.replace('"free", 3', '"free", 1'), tmp_path, "mirrored")
    part = _load(tmp_path, "free")
    _run(_RESUME, tmp_path, "mirrored")
    assert _compute_difference(part, whole) > 0
    assert _compute_difference(_load(tmp_path, "free"), whole) == 0


_REFUSED = """
from qup.core import errors
for batch_size, model, optimizer in (
    (33, build("convnet"), "sgd"),
    (32, models.build("convnet", data.info), "sgd"),
    (32, build("convnet"), keras.optimizers.SGD(clipnorm=1.0)),
):
    try:
        training.fit(model, data, "standard", epochs=1, batch_size=batch_size, optimizer=optimizer,
                     validation_size=0, strategy=strategy)
    except errors.InputError as error:
        print(f"refused: {error}")
"""


@pytest.mark.slow
def test_what_two_replicas_cannot_do_is_refused(tmp_path):
    (output,) = _run(_REFUSED, tmp_path, "mirrored")
    batch, model, optimizer = [x for x in output.splitlines() if x.startswith("refused: ")]
    assert "A batch of 33 cannot be divided among 2 replicas" in batch and "32" in batch
    assert "was not built for this strategy" in model
    assert "clipnorm applies to the gradient of each of 2 replicas" in optimizer


_OTHER_DATA = """
from qup.core import errors
data = datasets.load("digits", train_size=96 + index)
try:
    fit("free", "standard")
except errors.InputError as error:
    print(f"refused: {error}")
"""


@pytest.mark.slow
def test_workers_with_other_images_are_refused(tmp_path):
    outputs = _run(_OTHER_DATA, tmp_path, "multi_worker")
    for index, output in enumerate(outputs):
        assert "refused: Worker 1 has other settings or data than worker 0" in output
        assert ("data is" in output) == (index == 1)
