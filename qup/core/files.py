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

from qup.core import errors


@contextlib.contextmanager
def wrap_os_errors(path: pathlib.Path) -> Iterator[None]:
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
            remedy = "Free some space; a second start goes on from here."
        else:
            remedy = "Choose a folder that you may write to, or clear the place."
        raise errors.InputError(f"Cannot write {path}: {reason}. {remedy}") from error


@contextlib.contextmanager
def atomic_write(path: pathlib.Path) -> Iterator[pathlib.Path]:
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
    partial = path.with_name(f"{get_temporary_prefix()}{path.name}")
    with wrap_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(path.parent)
        _active_temporaries.add(partial)
        try:
            yield partial
            _flush_to_disk(partial)
            if path.is_dir():
                if not partial.is_dir():
                    raise IsADirectoryError(None, "a folder stands there")
                shutil.rmtree(path)
            os.replace(partial, path)
        finally:
            remove_path(partial)
            _active_temporaries.discard(partial)


def _flush_to_disk(path: pathlib.Path) -> None:
    """Forces a file, or every file below a folder, onto the disk."""
    file_paths = [p for p in path.rglob("*") if p.is_file()] or [path]
    for file_path in file_paths:
        descriptor = os.open(file_path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# Temporary paths that this very process is writing.
_active_temporaries: set[pathlib.Path] = set()


def get_temporary_prefix() -> str:
    """Returns how names of this process's temporary files begin."""
    return f".{platform.node()}-{os.getpid()}-"


def remove_stale_temporaries(folder: pathlib.Path) -> None:
    """Removes what killed processes of this host left unfinished."""
    host = re.escape(platform.node())
    for path in folder.iterdir():
        match = re.match(rf"\.{host}-(\d+)-", path.name)
        if match and path not in _active_temporaries and not _is_running(int(match[1])):
            # Another process may be sweeping the same.
            with contextlib.suppress(FileNotFoundError):
                remove_path(path)


def _is_running(process_id: int) -> bool:
    """Says whether another process of that number runs.

    One with our own number is gone: we are its successor, as happens in
    containers.
    """
    if process_id == os.getpid():
        return False
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def remove_path(path: pathlib.Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes `content` to `path`, whole or not at all."""
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes `text` to `path` in UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def link_or_copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Makes `target` another name of a file; a copy where that cannot be."""
    with wrap_os_errors(target):
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)
