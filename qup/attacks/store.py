"""Results on disk, so that a killed attack resumes where it was half a minute before.

Results are stored in shards. What is done of the current shard is stored as well: the examples that
are finished, and the batch that runs, in the middle of its steps.

A folder belongs to one classifier, one attack and one set of examples. Digests of these three
refuse any other.
"""

import json
import os
import pathlib
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from qup.attacks.batch_sizes import BatchSizes
from qup.attacks.functional import FunctionAttack
from qup.attacks.inputs import ExampleBatch
from qup.attacks.method import AttackOutputs, Method, StageProgress
from qup.attacks.results import AttackResult, ShardedImages, concatenate_results
from qup.attacks.verification import DISTANCE_NORMS
from qup.core import errors, files, hashing
from qup.core.identity import compute_function_digest

# How much of an unfinished shard an interruption can cost, in seconds; and the largest part of the
# time that is spent on saving, because the batch of large images takes long to write.
_SAVE_INTERVAL_S, _MAX_SAVE_SHARE = 30.0, 0.05
_BATCH_PREFIX = "batch/"


class UnfinishedShard:
    """What is done of an unfinished shard, one file per stage, saved twice a minute."""

    def __init__(self, folder: pathlib.Path, examples_digest: str):
        """Prepares the folder; reads nothing.

        Args:
          folder: Holds the files.
          examples_digest: Identifies the examples; files of others are ignored.
        """
        self._folder, self._digest = folder, examples_digest
        self._path: pathlib.Path | None = None
        self._progress: StageProgress | None = None
        self._last_save, self._save_seconds = time.monotonic(), 0.0

    def load_progress(self, stage: str, images: np.ndarray) -> StageProgress:
        """Returns the finished part of a stage, whose further progress is saved.

        The stage before it is complete. It is saved and leaves the memory.

        Args:
          stage: The name of the stage's file.
          images: float32 [n, ...], its examples.
        """
        if self._progress is not None:
            self._save(self._progress.batch)
        self._path = self._folder / f"{stage}.npz"
        self._progress = self._read(images) or StageProgress.start(images)
        self._progress.save = self._save_if_due
        return self._progress

    def _read(self, images: np.ndarray) -> StageProgress | None:
        try:
            with np.load(self._path, allow_pickle=False) as stored:
                arrays = dict(stored)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile):
            return None
        finished = arrays.pop("finished", None)
        is_same = str(arrays.pop("examples", "")) == self._digest
        if not is_same or finished is None or finished.shape != (len(images),):
            return None
        batch = {
            name.removeprefix(_BATCH_PREFIX): arrays.pop(name)
            for name in list(arrays)
            if name.startswith(_BATCH_PREFIX)
        }
        return StageProgress(AttackOutputs(**arrays), finished, batch)

    def _save_if_due(
        self, capture: Callable[[], Mapping[str, np.ndarray]], is_urgent: bool = False
    ) -> None:
        interval = max(_SAVE_INTERVAL_S, self._save_seconds / _MAX_SAVE_SHARE)
        if is_urgent or time.monotonic() - self._last_save >= interval:
            self._save(capture())

    def _save(self, batch: Mapping[str, np.ndarray]) -> None:
        start = time.monotonic()
        columns = self._progress.outputs._asdict() | {"finished": self._progress.finished}
        columns |= {f"{_BATCH_PREFIX}{name}": array for name, array in batch.items()}
        with files.atomic_write(self._path) as temporary_path:
            np.savez(temporary_path, examples=self._digest, **columns)
        self._last_save = time.monotonic()
        self._save_seconds = self._last_save - start

    def remove(self) -> None:
        """Removes the files, once the whole shard is stored."""
        shutil.rmtree(self._folder, ignore_errors=True)


class ShardStore:
    """A folder of shards."""

    def __init__(self, folder, description: Mapping[str, Any]):
        """Opens or creates the folder.

        Args:
          folder: The folder.
          description: JSON values that describe the classifier and the attack.

        Raises:
          InputError: The folder belongs to another classifier or attack.
        """
        self._folder = pathlib.Path(folder)
        self._num_shards = 0
        text = json.dumps(description, sort_keys=True, indent=1)
        record = self._folder / "attack.json"
        names = set(os.listdir(self._folder)) if self._folder.is_dir() else set()
        # Another process may have just created the folder and be writing the record.
        if record.exists():
            _check_same_attack(record, json.loads(text))
        elif any(not name.startswith(".") for name in names):
            raise errors.InputError(
                f"{self._folder} holds files but no attack.json, so they are not results of an "
                "attack. Choose another folder."
            )
        else:
            files.write_text(record, text)

    def _get_paths(self, shard_number: int) -> tuple[pathlib.Path, pathlib.Path]:
        stem = f"shard-{shard_number:05}"
        return self._folder / f"{stem}.npy", self._folder / f"{stem}.npz"

    def open_unfinished(self, shard_number: int, examples: ExampleBatch) -> UnfinishedShard:
        """Returns what an interrupted run has left of a shard."""
        folder = self._folder / f"unfinished-{shard_number:05}"
        return UnfinishedShard(folder, _compute_examples_digest(examples))

    def read(
        self, shard_number: int, examples: ExampleBatch, sizes: BatchSizes
    ) -> AttackResult | None:
        """Returns a shard if it exists and is complete, else None.

        Args:
          shard_number: The number of the shard.
          examples: The examples to which it must belong.
          sizes: Continues from those after the shard, so that a resumed run computes the next
            shards in the same batches.

        Raises:
          InputError: The shard belongs to other examples.
        """
        self._num_shards = max(self._num_shards, shard_number + 1)
        images_path, columns_path = self._get_paths(shard_number)
        try:
            with np.load(columns_path, allow_pickle=False) as stored:
                arrays = dict(stored)
            pixels = np.load(images_path, mmap_mode="r")
        except (ValueError, OSError, EOFError, zipfile.BadZipFile):
            return None  # It is missing or incomplete.
        if str(arrays.pop("examples")) != _compute_examples_digest(examples):
            raise errors.InputError(
                f"{columns_path} belongs to other images, labels or ids. Name another output "
                "folder, or remove this one."
            )
        if pixels.shape != examples.images.shape or "classes" not in arrays:
            return None
        sizes_text = arrays.pop("sizes", None)
        if sizes_text is not None:
            sizes.load(str(sizes_text))
        return AttackResult(
            images=pixels,
            distances={norm: arrays.pop(norm) for norm in DISTANCE_NORMS},
            stages=tuple(map(str, arrays.pop("stages"))),
            **arrays,
        )

    def write(
        self, shard_number: int, examples: ExampleBatch, result: AttackResult, sizes: BatchSizes
    ) -> None:
        """Stores a shard, and the sizes of batches that it has led to.

        Raises:
          InputError: The disk is full or the folder is not writable.
        """
        images_path, columns_path = self._get_paths(shard_number)
        with files.atomic_write(images_path) as temporary_path:
            np.save(temporary_path, result.images)
        with files.atomic_write(columns_path) as temporary_path:
            np.savez(
                temporary_path,
                examples=_compute_examples_digest(examples),
                stages=np.array(result.stages),
                sizes=np.array(sizes.dump()),
                **result.columns(),
            )
        self.open_unfinished(shard_number, examples).remove()

    def combine(self, shard_results: Sequence[AttackResult]) -> AttackResult:
        """Returns the results of all shards as one result whose images stay on disk."""
        paths = [self._get_paths(shard_number)[0] for shard_number in range(self._num_shards)]
        return concatenate_results(shard_results, ShardedImages(paths))


def _check_same_attack(record: pathlib.Path, expected: Mapping[str, Any]) -> None:
    try:
        stored = json.loads(record.read_text())
    except ValueError as error:
        raise errors.InputError(
            f"{record} cannot be read: {error}. Name another output folder."
        ) from error
    for key in sorted({*stored, *expected}):
        if stored.get(key) != expected.get(key):
            raise errors.InputError(
                f"{record.parent} holds another attack's results: {key} is {stored.get(key)!r} "
                f"there and {expected.get(key)!r} here. Name another output folder."
            )


def _compute_examples_digest(examples: ExampleBatch) -> str:
    return hashing.hash_parts(np.ascontiguousarray(column).tobytes() for column in examples)


def describe_attack(
    attack: Method | FunctionAttack, *, batch_size: int, targets: Any, epsilon: Any
) -> dict[str, Any]:
    """Returns JSON values that describe an attack and its options, for `ShardStore`.

    Raises:
      InputError: The attack is a function that depends on values without a digest.
    """
    is_function = isinstance(attack, FunctionAttack)
    options = attack.options if is_function else vars(attack)
    description = {
        "attack": attack.name,
        "options": {key: _shorten_array(value) for key, value in options.items()},
        "batch_size": batch_size,
        "targets": _shorten_array(targets),
        "epsilon": _shorten_array(epsilon),
    }
    if is_function:
        description["function"] = compute_function_digest(attack.function)
    return json.loads(json.dumps(description, default=repr))


def _shorten_array(value: Any) -> Any:
    """Returns the shape and digest of an array, or the value itself."""
    if isinstance(value, np.ndarray | list) or tf.is_tensor(value):
        content = np.ascontiguousarray(value)
        return f"{content.shape} {hashing.hash_bytes(content)}"
    return value
