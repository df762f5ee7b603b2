"""Large files that several working directories share: one copy on the disk, by hard links.

A folder of the user's cache has a link to each file, under its hash. `QUP_CACHE_DIR` names the
folder; empty, it turns the sharing off. The default is `qup` in `XDG_CACHE_HOME`, else in
`~/.cache`. A file system without hard links, or another one than the cache's, keeps its own copy.

```python
share_file(folder / "images.npy")  # True: the same bytes in another folder take no space
```
"""

import os
import pathlib
import re
import stat
from collections.abc import Iterator

from qup.core import files, hashing

VARIABLE = "QUP_CACHE_DIR"
# Smaller files are not worth the links.
_MIN_BYTES = 4 * 2**20
_FOLDER = "files"
_DIGEST = re.compile("[0-9a-f]{64}")


def get_cache_dir() -> pathlib.Path | None:
    """Returns the cache's folder, which need not exist; None if it is turned off or not known."""
    folder = os.environ.get(VARIABLE)
    if folder is None:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        folder = os.path.join(base, "qup")
    if not folder:
        return None
    try:
        return pathlib.Path(folder).expanduser().absolute()
    except RuntimeError:
        return None  # A user without a home.


def share_file(path: pathlib.Path) -> bool:
    """Replaces a complete file by a link to the cache's copy, or makes it the cache's copy.

    The file becomes read-only: a change would be one in every folder. The cache's copy is hashed
    first, and replaced if it is damaged.

    Args:
      path: A file that is not changed any more.

    Returns:
      Whether the cache has the file. False, and the file stays as it is, if it is small or if links
      are not possible.
    """
    folder = get_cache_dir()
    if folder is None or path.stat().st_size < _MIN_BYTES:
        return False
    entry = folder / _FOLDER / hashing.hash_file(path)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        if _is_intact(entry):
            _replace_by_link(path, entry)
        else:
            _replace_by_link(entry, path)
            os.chmod(entry, 0o444)
    except OSError:
        return False
    return True


def find_unused() -> Iterator[pathlib.Path]:
    """Returns the files of the cache that no other folder has a link to."""
    for entry, status in _list_entries():
        if status.st_nlink == 1:
            yield entry


def count_cache_links() -> dict[tuple[int, int], pathlib.Path]:
    """Returns the files of the cache by (device, inode)."""
    return {(status.st_dev, status.st_ino): entry for entry, status in _list_entries()}


def _list_entries() -> Iterator[tuple[pathlib.Path, os.stat_result]]:
    folder = get_cache_dir()
    try:
        names = sorted(os.listdir(folder / _FOLDER)) if folder else []
    except OSError:
        return
    for name in names:
        entry = folder / _FOLDER / name
        try:
            status = os.lstat(entry)
        except OSError:
            continue
        if _DIGEST.fullmatch(name) and stat.S_ISREG(status.st_mode):
            yield entry, status


def _is_intact(entry: pathlib.Path) -> bool:
    """Returns whether an entry is a file with the bytes of its name; OSError if unreadable."""
    if not entry.exists() or entry.is_symlink() or not entry.is_file():
        return False
    return hashing.hash_file(entry) == entry.name


def _replace_by_link(target: pathlib.Path, source: pathlib.Path) -> None:
    """Makes `target` a link to `source`; there is always a complete file at `target`."""
    files.remove_stale_temporaries(target.parent)
    temporary = target.with_name(f"{files.get_temporary_prefix()}{target.name}")
    try:
        os.link(source, temporary)
        os.replace(temporary, target)
    finally:
        # Of two links to one file, os.replace leaves both.
        temporary.unlink(missing_ok=True)
