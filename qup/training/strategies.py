"""Training on several devices or workers: the replicas of a `tf.distribute` strategy.

```python
strategy = build_strategy("mirrored")
with strategy.scope():
    classifier = models.build("convnet", data.info)
fit_classifier(classifier, data, epochs=1, strategy=strategy)
```

Each step takes the same batch as a training without a strategy. Replica r of R takes its r-th part,
and the gradients are summed: the loss is the mean over the whole batch. So the images of a step do
not depend on the number of replicas.

Every worker is a process with one or more replicas; worker 0 is the chief. All workers agree on
what decides about the training: a signal, a checkpoint, the metrics of an epoch. A worker that
decides alone leaves the others waiting in a collective operation.
"""

import contextlib
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from qup.core import errors, hashing, prng
from qup.training import cluster

STRATEGIES = ("none", "mirrored", "multi_worker")
# An object is sent in multiples of this number of bytes, so that few programs are compiled.
_CHUNK_SIZE = 1024
_SUM = tf.distribute.ReduceOp.SUM
# The worker that a message of TensorFlow is about.
_REMOTE_TASK = re.compile(r"remote target /job:worker/replica:0/task:(\d+)")
# What TensorFlow raises when a worker has ended or does not answer.
_LOST_WORKER_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)


def build_strategy(name: str) -> tf.distribute.Strategy | None:
    """Returns a strategy of TensorFlow; None for "none".

    Args:
      name: "none"; "mirrored", all GPUs of this machine; "multi_worker", the processes that the
        environment variable TF_CONFIG lists. The last one waits for all processes, and must be
        built before TensorFlow runs its first operation.

    Raises:
      InputError: The name is unknown, TF_CONFIG is invalid, or the workers cannot be connected.
    """
    if name not in STRATEGIES:
        raise errors.make_unknown_error("strategy", name, STRATEGIES)
    if name == "none":
        return None
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    cluster.read_cluster()
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, ValueError, tf.errors.OpError) as error:
        raise errors.InputError(
            f"The workers of TF_CONFIG cannot be connected: {errors.format_first_line(error)}. "
            "Build the strategy before anything else runs, and start all workers."
        ) from error


class LostWorkerError(errors.InputError):
    """Another worker has ended or does not answer; all have to be started again."""


class ReplicaGroup:
    """The replicas of a strategy, and the workers that they belong to.

    Without a strategy it is one replica of one worker.

    Attributes:
      strategy: The strategy, or None.
      num_replicas: Replicas of all workers.
      num_workers: Processes.
      worker_index: The number of this process, from 0.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None):
        """Runs no operation.

        Raises:
          InputError: It is no strategy, or one with asynchronous replicas.
        """
        supported = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
        if strategy is not None and not isinstance(strategy, supported):
            raise errors.InputError(
                "strategy must be a MirroredStrategy or a MultiWorkerMirroredStrategy, see "
                f"training.build_strategy; received {type(strategy).__name__}."
            )
        self.strategy = strategy
        self.num_replicas, self.num_workers, self.worker_index = 1, 1, 0
        if strategy is not None:
            self.num_replicas = strategy.num_replicas_in_sync
            resolver = strategy.cluster_resolver
            if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
                workers = resolver.cluster_spec().as_dict()
                num_chiefs = len(workers.get("chief", ()))
                self.num_workers = num_chiefs + len(workers.get("worker", ()))
                is_first = resolver.task_type == "chief"
                self.worker_index = resolver.task_id + (0 if is_first else num_chiefs)
            self._sum = self.compile(self._sum_workers)

    @property
    def is_chief(self) -> bool:
        """Whether this is worker 0, which writes the results."""
        return self.worker_index == 0

    def scope(self) -> contextlib.AbstractContextManager:
        """Returns the scope in which variables of all replicas are created."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def get_directory(self, directory: pathlib.Path) -> pathlib.Path:
        """Returns the folder of this worker: that of the chief, or worker-1/ in it and so on."""
        return directory if self.is_chief else directory / f"worker-{self.worker_index}"

    def check_model(self, model: keras.Model) -> None:
        """Raises an InputError for a model that was built outside the scope of the strategy."""
        if self.strategy is None:
            return
        owners = (getattr(w.value, "distribute_strategy", None) for w in model.weights)
        if any(owner is not self.strategy for owner in owners):
            raise errors.InputError(
                f"The model {model.name!r} was not built for this strategy. Build or load it in "
                "`with strategy.scope():`."
            )

    def copy_model(self, model: keras.Model) -> keras.Model:
        """Returns a model without a strategy, to be saved; without one the model itself."""
        if self.strategy is None:
            return model
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        return copy

    def check_optimizer(self, optimizer: keras.Optimizer) -> None:
        """Raises an InputError for an option that Keras applies to each replica's gradient."""
        if self.num_replicas == 1:
            return
        names = ("clipnorm", "clipvalue", "global_clipnorm", "gradient_accumulation_steps")
        for name in names:
            if getattr(optimizer, name, None) is not None:
                raise errors.InputError(
                    f"The optimizer's {name} applies to the gradient of each of "
                    f"{self.num_replicas} replicas, not to their sum. Omit it, or train without a "
                    "strategy."
                )
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            raise errors.InputError(
                "float16 scales the loss of each replica by itself. Use "
                "mixed_precision='mixed_bfloat16', or train without a strategy."
            )

    def divide_batch(self, batch_size: int) -> int:
        """Returns the number of rows of a replica.

        Raises:
          InputError: The replicas would have different numbers of rows.
        """
        rows, rest = divmod(batch_size, self.num_replicas)
        if rest:
            smaller = batch_size - rest
            raise errors.InputError(
                f"A batch of {batch_size} cannot be divided among {self.num_replicas} replicas. "
                f"Use a multiple of {self.num_replicas}, such as "
                f"{smaller or self.num_replicas}."
            )
        return rows

    # Within a step

    def compile(self, function: Callable) -> Callable:
        """Returns a program that calls a function in every replica.

        XLA does not compile it as a whole: it has no collective operations on CPUs, and cannot use
        the variables of several devices.

        Args:
          function: A function of tensors. Its result is the same in every replica, see `sum`.
        """
        strategy = self.strategy

        def run(*args):
            return strategy.experimental_local_results(strategy.run(function, args))[0]

        return tf.function(run, autograph=False)

    def take_rows(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the rows of the current replica; its size is `divide_batch`."""
        if self.num_replicas == 1:
            return dict(batch)
        index = _get_replica_index()
        parts = {}
        for name, tensor in batch.items():
            rows = self.divide_batch(tensor.shape[0])
            parts[name] = tf.reshape(tensor, (self.num_replicas, rows, *tensor.shape[1:]))[index]
        return parts

    def sum(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns the sum over all replicas; called in every replica."""
        if self.strategy is None or self.num_replicas == 1:
            return tensor
        return tf.distribute.get_replica_context().all_reduce(_SUM, tensor)

    def seed_generators(self, generators: Sequence["SeedState"], step: tf.Tensor) -> None:
        """Gives generators a state of their own in this replica and step; does nothing for one.

        Otherwise all replicas would drop the same units of different images.
        """
        if self.num_replicas == 1:
            return
        for number, generator in enumerate(generators):
            keys = prng.make_keys(
                generator.seed, tf.constant([number], tf.int64), step, _get_replica_index()
            )
            upper = tf.bitwise.right_shift(keys[0], tf.constant(32, tf.uint64))
            halves = tf.cast(tf.stack([keys[0], upper]), tf.uint32)
            generator.variable.assign(tf.cast(halves, generator.variable.dtype))

    def list_replica_variables(self, variable: tf.Variable) -> Any:
        """Returns what a checkpoint stores of a variable that differs between replicas."""
        if self.strategy is None:
            return variable
        return list(self.strategy.experimental_local_results(variable))

    # Between workers

    def _sum_workers(self, values: tf.Tensor) -> tf.Tensor:
        replicas_per_worker = self.num_replicas // self.num_workers
        is_first = tf.cast(_get_replica_index() % replicas_per_worker == 0, values.dtype)
        return self.sum(values * is_first)

    def gather(self, values: Sequence[int]) -> np.ndarray:
        """Returns the integers of all workers, int64 [workers, len(values)]."""
        rows = np.zeros((self.num_workers, len(values)), np.int64)
        rows[self.worker_index] = values
        if self.num_workers == 1:
            return rows
        with self.explain_lost_worker():
            return self._sum(tf.constant(rows)).numpy()

    def wait_for_all(self) -> None:
        """Waits until all workers have finished; does nothing if one of them has ended."""
        with contextlib.suppress(LostWorkerError):
            self.gather([0])

    def broadcast(self, value: Any) -> Any:
        """Returns the chief's JSON value on every worker; floats are the same bit for bit."""
        if self.num_workers == 1:
            return value
        content = json.dumps(value).encode() if self.is_chief else b""
        size = int(self.gather([len(content)])[0, 0])
        padded = np.zeros(-(-size // _CHUNK_SIZE) * _CHUNK_SIZE, np.int64)
        padded[: len(content)] = list(content)
        with self.explain_lost_worker():
            received = self._sum(tf.constant(padded)).numpy()
        return json.loads(bytes(received[:size].tolist()))

    def run_on_chief(self, function: Callable[[], Any]) -> Any:
        """Returns the chief's result, a JSON value, on every worker; an InputError also."""
        if self.num_workers == 1:
            return function()
        result, message = None, None
        if self.is_chief:
            try:
                result = function()
            except errors.InputError as error:
                message = str(error)
        result, message = self.broadcast([result, message])
        if message is not None:
            raise errors.InputError(message)
        return result

    def check_equal(self, settings: Mapping[str, Any]) -> None:
        """Raises an InputError on every worker if one has other settings than the chief.

        Args:
          settings: JSON values; the keys are the same on all workers.
        """
        if self.num_workers == 1:
            return
        digests = {key: hashing.hash_json(value) for key, value in settings.items()}
        expected = self.broadcast(digests)
        different = [key for key in digests if digests[key] != expected.get(key)]
        counts = self.gather([len(different)])[:, 0]
        if not counts.any():
            return
        worker = int(counts.argmax())
        name = f": {different[0]} is {errors.shorten(settings[different[0]])}" if different else ""
        raise errors.InputError(
            f"Worker {worker} has other settings or data than worker 0"
            f"{f' (this is worker {self.worker_index}{name})' if name else ''}. Start all workers "
            "with the same command and the same files."
        )

    @contextlib.contextmanager
    def explain_lost_worker(self) -> Iterator[None]:
        """Raises an InputError in place of what TensorFlow raises when a worker is lost."""
        try:
            yield
        except _LOST_WORKER_ERRORS as error:
            if self.num_workers == 1:
                raise
            lost = _REMOTE_TASK.search(str(error))
            name = f"Worker {lost[1]}" if lost else "A worker"
            raise LostWorkerError(
                f"{name} has ended or does not answer (this is worker {self.worker_index}; "
                f"{type(error).__name__}). Start the same command again on every worker to resume "
                "from the last checkpoint."
            ) from error


SINGLE = ReplicaGroup()


class SeedState:
    """The state of a random generator of Keras.

    Attributes:
      variable: Integers [2].
      seed: What identifies the generator: the first number of its state.
    """

    def __init__(self, variable: tf.Variable):
        self.variable, self.seed = variable, int(variable.numpy()[0])


def find_seed_states(layers: Sequence[keras.Layer]) -> list[SeedState]:
    """Returns the states of the random generators of layers."""
    return [
        SeedState(variable.value)
        for layer in layers
        for variable in layer.variables
        if "seed_generator" in variable.path
    ]


def find_batch_norms(layers: Sequence[keras.Layer]) -> list[keras.layers.BatchNormalization]:
    """Returns the layers of batch normalisation in networks."""
    return [
        layer
        for network in layers
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


@contextlib.contextmanager
def synchronize_batch_norm(layers: Sequence[keras.Layer], group: ReplicaGroup) -> Iterator[None]:
    """Normalises by the images of all replicas until the block ends.

    Args:
      layers: Networks, with layers of batch normalisation in them.
      group: The replicas; with one of them nothing changes.
    """
    norms = find_batch_norms(layers) if group.num_replicas > 1 else []
    previous = [layer.synchronized for layer in norms]
    for layer in norms:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer, value in zip(norms, previous, strict=True):
            layer.synchronized = value


def _get_replica_index() -> tf.Tensor:
    """Returns the number of the current replica, int64."""
    context = tf.distribute.get_replica_context()
    return tf.cast(context.replica_id_in_sync_group, tf.int64)
