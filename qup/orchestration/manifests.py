"""Content of files and folders: digests, and whether it is still the same.

```python
manifest = snapshot(folder)
digest(manifest)  # the same for the same names and bytes, anywhere
damage, manifest = compare(folder, manifest)  # "" if intact
```
"""

import os
import pathlib
import time
from typing import NamedTuple

from qup.core import hashing

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
        name: _entry(pathlib.Path(path, name), status) for name, status in hashing.walk(str(path))
    }


def digest(manifest: Manifest) -> str:
    """Returns the sha256 over names, sizes and bytes, in hexadecimal."""
    return hashing.rows_digest((name, entry.size, entry.sha256) for name, entry in manifest.items())


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
        found = dict(hashing.walk(str(path)))
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
    sha256 = hashing.file_digest(path)
    mtime_ns = 0 if young else status.st_mtime_ns
    return Entry(status.st_size, mtime_ns, status.st_ino, sha256)
