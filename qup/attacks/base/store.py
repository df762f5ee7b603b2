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
from qup.attacks.base.engine import Given
from qup.attacks.base.result import AttackResult, Shards, joined
from qup.attacks.base.verdict import DISTANCES
from qup.core import hashing
from qup.types import LogitsFn


def identity(logits_fn: LogitsFn, images: np.ndarray) -> str:
    """Returns a hash that tells one classifier from another.

    Of a Keras model its weights; of any other function its logits of
    `images`, to three digits.

    Args:
      logits_fn: The classifier.
      images: float32 [batch, ...].
    """
    weights = model_files.digest(logits_fn)
    if weights is not None:
        return weights
    logits = compilation.predict(logits_fn, images).numpy()
    return hashing.bytes_digest(np.round(logits, 3))


class Store:
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
        self._count = 0
        text = json.dumps(description, sort_keys=True, indent=1)
        record = self._folder / "attack.json"
        if record.exists():
            _compare(record, json.loads(text))
        elif self._folder.is_dir() and any(self._folder.iterdir()):
            raise errors.InputError(
                f"{self._folder} holds files but no attack.json: not results "
                "of an attack. Choose another folder."
            )
        else:
            files.write_text(record, text)

    def _paths(self, number: int) -> tuple[pathlib.Path, pathlib.Path]:
        stem = f"shard-{number:05}"
        return self._folder / f"{stem}.npy", self._folder / f"{stem}.npz"

    def read(self, number: int, given: Given) -> AttackResult | None:
        """Returns a shard that is there and whole, else None.

        Args:
          number: Of the shard.
          given: The examples it must belong to.

        Raises:
          InputError: It belongs to other examples.
        """
        self._count = max(self._count, number + 1)
        images, columns = self._paths(number)
        try:
            with np.load(columns, allow_pickle=False) as stored:
                found = dict(stored)
            pixels = np.load(images, mmap_mode="r")
        except FileNotFoundError:
            return None
        except (ValueError, OSError, EOFError, zipfile.BadZipFile):
            return None
        if str(found.pop("examples")) != _digest(given):
            raise errors.InputError(
                f"{columns} belongs to other images, labels or ids. Name "
                "another output folder, or remove this one."
            )
        if pixels.shape != given.images.shape:
            return None
        return AttackResult(
            images=pixels,
            distances={norm: found.pop(norm) for norm in DISTANCES},
            stages=tuple(map(str, found.pop("stages"))),
            **found,
        )

    def write(self, number: int, given: Given, result: AttackResult) -> None:
        """Keeps a shard.

        Raises:
          InputError: The disk is full or the folder forbidden.
        """
        images, columns = self._paths(number)
        with files.replacing(images) as partial:
            np.save(partial, result.images)
        with files.replacing(columns) as partial:
            np.savez(
                partial,
                examples=_digest(given),
                stages=np.array(result.stages),
                **result.columns(),
            )

    def result(self, parts: list[AttackResult]) -> AttackResult:
        """Returns all shards as one result whose images stay on disk."""
        paths = [self._paths(number)[0] for number in range(self._count)]
        return joined(parts, Shards(paths))


def _compare(record: pathlib.Path, wanted: Mapping[str, Any]) -> None:
    try:
        found = json.loads(record.read_text())
    except ValueError as error:
        raise errors.InputError(
            f"{record} cannot be read: {error}. Name another output folder."
        ) from error
    for key in sorted({*found, *wanted}):
        if found.get(key) != wanted.get(key):
            raise errors.InputError(
                f"{record.parent} holds another attack's results: its {key} "
                f"is {found.get(key)!r}, this one's {wanted.get(key)!r}. "
                "Name another output folder."
            )


def _digest(given: Given) -> str:
    return hashing.joined_digest(
        np.ascontiguousarray(column).tobytes() for column in given
    )
