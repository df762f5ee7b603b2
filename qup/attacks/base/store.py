"""Results on disk: a shard at a time, whole or absent.

A killed attack goes on where it stopped. What was kept belongs to one
classifier, one attack and one set of examples; anything else is refused.
"""

import json
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from qup import compilation, errors, files, model_files
from qup.attacks.base.engine import ExampleBatch
from qup.attacks.base.result import AttackResult, ShardedImages, concatenate_results
from qup.attacks.base.verdict import DISTANCE_NORMS
from qup.core import hashing
from qup.types import LogitsFn


def compute_classifier_digest(logits_fn: LogitsFn, images: np.ndarray) -> str:
    """Returns a hash that tells one classifier from another.

    Of a Keras model its weights; of any other function its logits of
    `images`, to three digits.

    Args:
      logits_fn: The classifier.
      images: float32 [batch, ...].
    """
    weights_digest = model_files.hash_weights(logits_fn)
    if weights_digest is not None:
        return weights_digest
    logits = compilation.predict(logits_fn, images).numpy()
    return hashing.bytes_digest(np.round(logits, 3))


class ShardStore:
    """A folder of shards."""

    def __init__(self, folder, description: Mapping[str, Any]):
        """Opens the folder, or makes it.

        Args:
          folder: Where the shards lie.
          description: What they belong to, of JSON values.

        Raises:
          InputError: The folder belongs to something else.
        """
        self._folder = pathlib.Path(folder)
        self._num_shards = 0
        text = json.dumps(description, sort_keys=True, indent=1)
        record = self._folder / "attack.json"
        if record.exists():
            _check_same_attack(record, json.loads(text))
        elif self._folder.is_dir() and any(self._folder.iterdir()):
            raise errors.InputError(
                f"{self._folder} holds files but no attack.json: not results "
                "of an attack. Choose another folder."
            )
        else:
            files.write_text(record, text)

    def _get_paths(self, shard_number: int) -> tuple[pathlib.Path, pathlib.Path]:
        stem = f"shard-{shard_number:05}"
        return self._folder / f"{stem}.npy", self._folder / f"{stem}.npz"

    def read(self, shard_number: int, examples: ExampleBatch) -> AttackResult | None:
        """Returns a shard that is there and whole, else None.

        Args:
          shard_number: Of the shard.
          examples: The examples it must belong to.

        Raises:
          InputError: It belongs to other examples.
        """
        self._num_shards = max(self._num_shards, shard_number + 1)
        images_path, columns_path = self._get_paths(shard_number)
        try:
            with np.load(columns_path, allow_pickle=False) as stored:
                arrays = dict(stored)
            pixels = np.load(images_path, mmap_mode="r")
        except FileNotFoundError:
            return None
        except (ValueError, OSError, EOFError, zipfile.BadZipFile):
            return None
        if str(arrays.pop("examples")) != _compute_examples_digest(examples):
            raise errors.InputError(
                f"{columns_path} belongs to other images, labels or ids. Name "
                "another output folder, or remove this one."
            )
        if pixels.shape != examples.images.shape:
            return None
        return AttackResult(
            images=pixels,
            distances={norm: arrays.pop(norm) for norm in DISTANCE_NORMS},
            stages=tuple(map(str, arrays.pop("stages"))),
            **arrays,
        )

    def write(self, shard_number: int, examples: ExampleBatch, result: AttackResult) -> None:
        """Keeps a shard.

        Raises:
          InputError: The disk is full or the folder forbidden.
        """
        images_path, columns_path = self._get_paths(shard_number)
        with files.atomic_write(images_path) as temporary_path:
            np.save(temporary_path, result.images)
        with files.atomic_write(columns_path) as temporary_path:
            np.savez(
                temporary_path,
                examples=_compute_examples_digest(examples),
                stages=np.array(result.stages),
                **result.columns(),
            )

    def combine(self, shard_results: list[AttackResult]) -> AttackResult:
        """Returns all shards as one result whose images stay on disk."""
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
                f"{record.parent} holds another attack's results: its {key} "
                f"is {stored.get(key)!r}, this one's {expected.get(key)!r}. "
                "Name another output folder."
            )


def _compute_examples_digest(examples: ExampleBatch) -> str:
    return hashing.joined_digest(np.ascontiguousarray(column).tobytes() for column in examples)
