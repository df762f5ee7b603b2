"""Content of files and folders: digests, and whether it is still the same.

```python
manifest = snapshot(folder)
digest(manifest)  # the same for the same names and bytes, anywhere
damage, manifest = compare(folder, manifest)  # "" if intact
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

# A change within one tick of the file system's clock leaves no other mtime.
_TICK_NS = 50_000_000


class Entry(NamedTuple):
    """One file as it was last hashed; a folder has only zeros."""

    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    sha256: str = ""


# Relative name ("" for a lone file, "x/" for a folder) -> entry.
Manifest = dict[str, Entry]


def snapshot(path: str | os.PathLike) -> Manifest:
    """Hashes a file or every file of a folder.

    Args:
      path: The file or folder; links are followed.

    Returns:
      The manifest.

    Raises:
      OSError: Something cannot be read, or is neither file nor folder.
    """
    return {
        name: _entry(pathlib.Path(path, name), status)
        for name, status in hashing.list_tree(str(path))
    }


def digest(manifest: Manifest) -> str:
    """Returns the sha256 over names, sizes and bytes, in hexadecimal."""
    return hashing.hash_file_table(
        (name, entry.size, entry.sha256) for name, entry in manifest.items()
    )


def compare(
    path: str | os.PathLike, manifest: Manifest, *, full: bool = False
) -> tuple[str, Manifest]:
    """Looks whether a file or folder still holds what it held.

    Args:
      path: The file or folder.
      manifest: What it held.
      full: Hash every file; otherwise those whose size, mtime and inode are
        unchanged are believed.

    Returns:
      (damage, manifest): what differs first and in which file, or ""; and
      the manifest with the files as they lie now.
    """
    fresh = {}
    try:
        found = dict(hashing.list_tree(str(path)))
        for name in sorted(manifest.keys() | found.keys()):
            part = pathlib.Path(path, name)
            if name not in found:
                return f"{part} is missing", manifest
            if name not in manifest:
                return f"{part} was added", manifest
            fresh[name] = _current(part, found[name], manifest[name], full)
            if fresh[name].size != manifest[name].size:
                return (
                    f"{part} has {fresh[name].size} bytes instead of {manifest[name].size}"
                ), manifest
            if fresh[name].sha256 != manifest[name].sha256:
                return f"{part} has other bytes than before", manifest
    except FileNotFoundError as error:
        return f"{error.filename} is missing", manifest
    except OSError as error:
        reason = error.strerror or error
        return f"{error.filename or path} is unreadable: {reason}", manifest
    return "", fresh


def _current(path: pathlib.Path, status: os.stat_result | None, old: Entry, full: bool) -> Entry:
    if status is not None:
        now = (status.st_size, status.st_mtime_ns, status.st_ino)
        if now == old[:3] and not full:
            return old
        if status.st_size != old.size:
            return Entry(*now)
    return _entry(path, status)


def _entry(path: pathlib.Path, status: os.stat_result | None) -> Entry:
    if status is None:
        return Entry()
    young = time.time_ns() - status.st_mtime_ns < _TICK_NS
    sha256 = hashing.hash_file(path)
    mtime_ns = 0 if young else status.st_mtime_ns
    return Entry(status.st_size, mtime_ns, status.st_ino, sha256)


# Artifacts, what components give each other, and channels, their promises.
#
# ```python
# class Model(Artifact):
#     TYPE_NAME = "Model"
# ```


Value = bool | int | float | str
_VALUE_TYPES = (bool, int, float, str)


class ArtifactState(enum.IntEnum):
    """ML Metadata's numbers; only what is LIVE is reused."""

    UNKNOWN = 0
    PENDING = 1
    LIVE = 2
    MARKED_FOR_DELETION = 3
    DELETED = 4
    ABANDONED = 5
    REFERENCE = 6


@dataclasses.dataclass(kw_only=True)
class Artifact:
    """A folder of files, unchanging once published; subclass it per type.

    Attributes:
      uri: Where the files lie; for an output, first where to make them.
      properties: Facts that the producer states; numbers, strings, bools.
        Components behind it see them, so they enter their fingerprints.
      id: Number in the metadata; 0 before publication.
      type_name: Name of the type in the metadata.
      digest: sha256 over the names, sizes and bytes of the files.
      manifest: The files as they were published.
      state: Whether the files are still what was published.
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
        """The folder that holds the files."""
        return pathlib.Path(self.uri)

    def cast(self, kind: type["Artifact"]) -> "Artifact":
        """Returns the same artifact as an instance of another class."""
        return kind(**vars(self))

    def mark_damaged(self) -> None:
        """Notes that the files are no longer what was published."""
        self.state = ArtifactState.DELETED
        if self.path.exists():
            self.state = ArtifactState.MARKED_FOR_DELETION

    def check_properties(self, label: str) -> None:
        """Raises a PipelineError if a property cannot be kept.

        Args:
          label: What the artifact is, for the message.
        """
        for name, value in self.properties.items():
            value_type = next((k for k in _VALUE_TYPES if isinstance(value, k)), None)
            too_large = value_type is int and abs(value) >= 2**63
            not_finite = value_type is float and not math.isfinite(value)
            if value_type is None or too_large or not_finite:
                raise errors.PipelineError(
                    f"Property {name!r} of {label} must be a finite number "
                    f"of 64 bits, a string or a bool; got {value!r}. Write "
                    "other things into a file of the artifact."
                )
            self.properties[name] = value_type(value)

    def get_identity(self) -> list[Any]:
        """Returns all that a component can read of it, as a JSON value."""
        return [self.type_name, self.digest, self.properties]


@dataclasses.dataclass(frozen=True, eq=False)
class Channel:
    """The promise of one output of one node.

    Attributes:
      type: What it will hold.
      producer: The node that makes it.
      key: The name of the output.
    """

    type: type[Artifact]
    producer: Any
    key: str

    def __str__(self) -> str:
        return f"{self.producer.id}.outputs[{self.key!r}]"
