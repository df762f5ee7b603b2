"""Artifacts, the files that components exchange, and channels, references to future artifacts.

```python
class Model(Artifact):
    TYPE_NAME = "Model"

manifest = create_manifest(model.path)
hash_manifest(manifest)  # depends on the names and bytes of the files alone
damage, manifest = find_damage(model.path, manifest)  # "" if intact
```
"""

import dataclasses
import enum
import math
import os
import pathlib
import time
from typing import Any, ClassVar, NamedTuple

from qup.core import hashing
from qup.orchestration import errors

# A change within one tick of the file system's clock leaves the same modification time.
_CLOCK_TICK_NS = 50_000_000
_VALUE_TYPES = (bool, int, float, str)
Value = bool | int | float | str


class ManifestEntry(NamedTuple):
    """One file when it was last hashed; a folder has only zeros."""

    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    sha256: str = ""


# Relative name ("" for a single file, "x/" for a folder) -> entry.
Manifest = dict[str, ManifestEntry]


def create_manifest(path: str | os.PathLike) -> Manifest:
    """Hashes a file, or every file of a folder; follows links.

    Raises:
      OSError: Something cannot be read, or is neither a file nor a folder.
    """
    return {
        name: _make_entry(pathlib.Path(path, name), status)
        for name, status in hashing.list_tree(str(path))
    }


def hash_manifest(manifest: Manifest) -> str:
    """Returns the SHA-256 of names, sizes and bytes, in hex."""
    return hashing.hash_file_table(
        (name, entry.size, entry.sha256) for name, entry in manifest.items()
    )


def find_damage(
    path: str | os.PathLike, manifest: Manifest, *, hash_all: bool = False
) -> tuple[str, Manifest]:
    """Compares a file or a folder with its manifest.

    Args:
      path: The file or folder.
      manifest: Its manifest at an earlier time.
      hash_all: Whether files of unchanged size, modification time and inode are hashed as well.

    Returns:
      (damage, manifest): the first difference and its file, or ""; and the current manifest.
    """
    current = {}
    try:
        files = dict(hashing.list_tree(str(path)))
        for name in sorted(manifest.keys() | files.keys()):
            file_path = pathlib.Path(path, name)
            if name not in files:
                return f"{file_path} is missing", manifest
            if name not in manifest:
                return f"{file_path} was added", manifest
            old, status = manifest[name], files[name]
            new = current[name] = _update_entry(file_path, status, old, hash_all)
            if new.size != old.size:
                return f"{file_path} has {new.size} bytes instead of {old.size}", manifest
            if new.sha256 != old.sha256:
                return f"{file_path} has other bytes than before", manifest
    except FileNotFoundError as error:
        return f"{error.filename} is missing", manifest
    except OSError as error:
        return f"{error.filename or path} is unreadable: {error.strerror or error}", manifest
    return "", current


def _update_entry(
    path: pathlib.Path, status: os.stat_result | None, old: ManifestEntry, hash_all: bool
) -> ManifestEntry:
    if status is not None:
        now = (status.st_size, status.st_mtime_ns, status.st_ino)
        if now == old[:3] and not hash_all:
            return old
        if status.st_size != old.size:
            return ManifestEntry(*now)
    return _make_entry(path, status)


def _make_entry(path: pathlib.Path, status: os.stat_result | None) -> ManifestEntry:
    if status is None:
        return ManifestEntry()
    is_recent = time.time_ns() - status.st_mtime_ns < _CLOCK_TICK_NS
    sha256 = hashing.hash_file(path)
    return ManifestEntry(
        status.st_size, 0 if is_recent else status.st_mtime_ns, status.st_ino, sha256
    )


class ArtifactState(enum.IntEnum):
    """State of an artifact, with the numbers of ML Metadata; only LIVE artifacts are reused."""

    UNKNOWN = 0
    PENDING = 1
    LIVE = 2
    MARKED_FOR_DELETION = 3
    DELETED = 4
    ABANDONED = 5
    REFERENCE = 6


@dataclasses.dataclass(kw_only=True)
class Artifact:
    """A folder of files that does not change after its publication; one subclass per type.

    Attributes:
      uri: The folder; for an output, first the folder to fill.
      properties: Values that the producer sets. Consumers can read them, so they are part of the
        consumers' fingerprints.
      id: Number in the metadata; 0 before publication.
      type_name: Name of the type in the metadata.
      digest: SHA-256 of the names, sizes and bytes of the files, in hex.
      manifest: The files when they were published.
      state: Whether the files are those that were published.
    """

    TYPE_NAME: ClassVar[str] = "Artifact"

    uri: str
    properties: dict[str, Value] = dataclasses.field(default_factory=dict)
    id: int = 0
    type_name: str = ""
    digest: str = ""
    manifest: Manifest = dataclasses.field(default_factory=dict, repr=False)
    state: ArtifactState = ArtifactState.LIVE

    def __init_subclass__(cls):
        cls.TYPE_NAME = cls.__dict__.get("TYPE_NAME", cls.__name__)

    def __post_init__(self):
        self.type_name = self.type_name or self.TYPE_NAME

    @property
    def path(self) -> pathlib.Path:
        """The folder of the files."""
        return pathlib.Path(self.uri)

    def cast(self, kind: type["Artifact"]) -> "Artifact":
        """Returns the same artifact as an instance of another class."""
        return kind(**vars(self))

    def mark_damaged(self) -> None:
        """Records that the files differ from those that were published."""
        is_present = self.path.exists()
        self.state = ArtifactState.MARKED_FOR_DELETION if is_present else ArtifactState.DELETED

    def check_properties(self, label: str) -> None:
        """Raises a PipelineError if a property cannot be stored.

        Args:
          label: Name of the artifact, for the message.
        """
        for name, value in self.properties.items():
            value_type = next((k for k in _VALUE_TYPES if isinstance(value, k)), None)
            too_large = value_type is int and abs(value) >= 2**63
            not_finite = value_type is float and not math.isfinite(value)
            if value_type is None or too_large or not_finite:
                raise errors.PipelineError(
                    f"Property {name!r} of {label} must be a finite number of 64 bits, a string "
                    f"or a bool; received {value!r}. Write other values into a file of the "
                    "artifact."
                )
            self.properties[name] = value_type(value)

    def get_identity(self) -> list[Any]:
        """Returns everything that a component can read of it, as a JSON value."""
        return [self.type_name, self.digest, self.properties]


@dataclasses.dataclass(frozen=True, eq=False)
class Channel:
    """A reference to one output of a node.

    Attributes:
      type: Type of the artifact.
      producer: The node.
      key: Name of the output.
    """

    type: type[Artifact]
    producer: Any
    key: str

    def __str__(self) -> str:
        return f"{self.producer.id}.outputs[{self.key!r}]"
