"""Files that are whole or absent, however the process ends.

Written beside their final place, flushed to the disk, then renamed.
"""

import contextlib
import os
import pathlib
import platform
import re
import shutil
from collections.abc import Iterator

import tensorflow as tf

from qup import errors


@contextlib.contextmanager
def explained(path: pathlib.Path) -> Iterator[None]:
    """Turns a full disk or a folder closed to us into an `InputError`.

    Args:
      path: What is being written, for the message.
    """
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        # TensorFlow names its operation before and after the reason.
        reason = re.sub(r"\{\{.*?\}\} | \[Op:.*", "", reason).split("\n")[0]
        if re.search("space|quota", reason):
            cure = "Free some space; a second start goes on from here."
        else:
            cure = "Choose a folder that you may write to, or clear the place."
        raise errors.InputError(
            f"Cannot write {path}: {reason}. {cure}"
        ) from error


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path of the same suffix, then renames it.

    Args:
      path: The final path of a file or a folder; its folder is made. A
        folder that is already there is replaced.

    Yields:
      The path to write to. If the block fails, it is removed and whatever
      stood at `path` stays.

    Raises:
      InputError: The disk is full or the folder forbidden.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f"{temporary_prefix()}{path.name}")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        _in_use.add(partial)
        try:
            yield partial
            _flush(partial)
            if path.is_dir():
                if not partial.is_dir():
                    raise IsADirectoryError(None, "a folder stands there")
                shutil.rmtree(path)
            os.replace(partial, path)
        finally:
            remove(partial)
            _in_use.discard(partial)


def _flush(path: pathlib.Path) -> None:
    """Forces a file, or every file below a folder, onto the disk."""
    parts = [p for p in path.rglob("*") if p.is_file()] or [path]
    for part in parts:
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# Temporary paths that this very process is writing.
_in_use: set[pathlib.Path] = set()


def temporary_prefix() -> str:
    """Returns how names of this process's temporary files begin."""
    return f".{platform.node()}-{os.getpid()}-"


def sweep(folder: pathlib.Path) -> None:
    """Removes what killed processes of this host left unfinished."""
    host = re.escape(platform.node())
    for path in folder.iterdir():
        match = re.match(rf"\.{host}-(\d+)-", path.name)
        if match and path not in _in_use and not _alive(int(match[1])):
            # Another process may be sweeping the same.
            with contextlib.suppress(FileNotFoundError):
                remove(path)


def _alive(process: int) -> bool:
    """Says whether another process of that number runs.

    One with our own number is gone: we are its successor, as happens in
    containers.
    """
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def remove(path: pathlib.Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes `content` to `path`, whole or not at all."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes `text` to `path` in UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def link(source: pathlib.Path, target: pathlib.Path) -> None:
    """Makes `target` another name of a file; a copy where that cannot be."""
    with explained(target):
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)
