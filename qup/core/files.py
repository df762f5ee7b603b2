"""Files that are complete or absent, however the process ends; locks and processes.

This module does not import TensorFlow, so that a command line can use it before TensorFlow loads.
"""

import contextlib
import os
import pathlib
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator

from qup.core import errors, extras

# The clocks of psutil agree within this many seconds.
_START_TIME_TOLERANCE = 1.0
# Temporary paths that this process is writing.
_active_temporaries: set[pathlib.Path] = set()
# "gs://bucket"; a path object has one slash. A single letter is a drive.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def _get_write_errors() -> tuple[type[BaseException], ...]:
    tensorflow = sys.modules.get("tensorflow")
    return (OSError, tensorflow.errors.OpError) if tensorflow else (OSError,)


@contextlib.contextmanager
def wrap_os_errors(path: pathlib.Path) -> Iterator[None]:
    """Turns an error of the file system, or of TensorFlow's, into an `InputError`.

    Args:
      path: The file or folder that is being written.
    """
    try:
        yield
    except _get_write_errors() as error:
        reason = getattr(error, "strerror", None) or str(error)
        # TensorFlow writes its operation before and after the reason.
        reason = re.sub(r"\{\{.*?\}\} | \[Op:.*", "", reason).split("\n")[0]
        if re.search("space|quota", reason):
            remedy = "Free some space, then run the same command to resume."
        else:
            remedy = "Choose a folder that you can write to, or remove what is at this path."
        raise errors.InputError(f"Cannot write {path}: {reason}. {remedy}") from error


def check_local(name: str, path: str | os.PathLike) -> None:
    """Raises an InputError for an address of another machine, such as gs://bucket/folder.

    Args:
      name: The setting, for the message.
      path: Its value.
    """
    match = _ADDRESS.match(os.fspath(path))
    if match:
        raise errors.InputError(
            f"{name}={os.fspath(path)} is an address ({match[1]}), and qup reads and writes files "
            "of this machine only. Name a local folder, or one in which the store is mounted; copy "
            "the results afterwards."
        )


def check_not_link(path: str | os.PathLike) -> None:
    """Raises an InputError for a link: its target may be a file of the user.

    Args:
      path: A file that is to be created, replaced or renamed.
    """
    if os.path.islink(path):
        raise errors.InputError(
            f"{path} is a symbolic link to {os.path.realpath(path)}, which was not touched. qup "
            "writes a file of its own at this path: remove the link, or name another folder."
        )


@contextlib.contextmanager
def atomic_write(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path with the same suffix, flushes it to disk, then renames it to `path`.

    Args:
      path: The final path of a file or a folder. Its parent folder is created.
        An existing folder at `path` is replaced.

    Yields:
      The path to write to. If the block raises, it is removed and `path` stays as it is.

    Raises:
      InputError: The disk is full, the folder cannot be written, or `path` is a symbolic link.
    """
    path = pathlib.Path(path)
    check_not_link(path)
    temporary = path.with_name(f"{get_temporary_prefix()}{path.name}")
    with wrap_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(path.parent)
        _active_temporaries.add(temporary)
        try:
            yield temporary
            _flush_to_disk(temporary)
            if path.is_dir():
                if not temporary.is_dir():
                    raise IsADirectoryError(None, "a folder has this path")
                shutil.rmtree(path)
            os.replace(temporary, path)
        finally:
            remove_path(temporary)
            _active_temporaries.discard(temporary)


def _flush_to_disk(path: pathlib.Path) -> None:
    """Flushes a file, or every file below a folder."""
    file_paths = [p for p in path.rglob("*") if p.is_file()] or [path]
    for file_path in file_paths:
        descriptor = os.open(file_path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def get_temporary_prefix() -> str:
    """Returns the first characters of the names of this process's temporary files."""
    return f".{platform.node()}-{os.getpid()}-"


def remove_stale_temporaries(folder: pathlib.Path) -> None:
    """Removes temporary files of processes of this host that no longer run."""
    host = re.escape(platform.node())
    for path in folder.iterdir():
        match = re.match(rf"\.{host}-(\d+)-", path.name)
        if not match or path in _active_temporaries:
            continue
        # A container gives a new process the number of the one before: a file with our number
        # that we are not writing is stale.
        pid = int(match[1])
        if pid == os.getpid() or not is_process_alive(pid):
            # Another process may remove the same file.
            with contextlib.suppress(FileNotFoundError):
                remove_path(path)


def is_process_alive(pid: int, create_time: float | None = None) -> bool:
    """Returns whether a process of this host runs.

    Args:
      pid: Its number.
      create_time: Its start, as `psutil.Process(pid).create_time()` in seconds. A process with
        the same number and another start is a different one, and a zombie does not run. None
        compares the number alone and does not need psutil.
    """
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    if create_time is None:
        return True
    with extras.explain_missing("The start of a process"):
        import psutil

    try:
        process = psutil.Process(pid)
        is_same = abs(process.create_time() - create_time) <= _START_TIME_TOLERANCE
        return is_same and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


@contextlib.contextmanager
def lock_file(path: pathlib.Path, on_wait: Callable[[], None] | None = None) -> Iterator[bool]:
    """Holds an exclusive lock between processes; the system releases it when the process ends.

    Args:
      path: The lock file. It is created, and stays.
      on_wait: Called once if another process holds the lock; then the call waits. None: the
        call does not wait.

    Yields:
      Whether the lock is held; always True with `on_wait`.

    Raises:
      InputError: The lock file cannot be created, or is a symbolic link.
    """
    # A lock file is emptied.
    check_not_link(path)
    with extras.explain_missing("A file lock"):
        import filelock

    lock = filelock.FileLock(path)
    with wrap_os_errors(path):
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            if on_wait is not None:
                on_wait()
                lock.acquire()
    try:
        yield lock.is_locked
    finally:
        lock.release()


def create_folder(path: pathlib.Path) -> list[pathlib.Path]:
    """Creates a folder with its parents; returns those that did not exist, the deepest first.

    Raises:
      OSError: It cannot be created.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    return missing


def remove_empty_folders(folders: Iterable[pathlib.Path]) -> None:
    """Removes folders, up to the first that is not empty or cannot be removed."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def remove_path(path: pathlib.Path) -> None:
    """Removes a file or a folder, if it exists; of a symbolic link, the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes a file by `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a UTF-8 file by `atomic_write`."""
    write_bytes(path, text.encode())


def link_or_copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Makes a hard link `target` to the file `source`, or a copy where links are not possible."""
    check_not_link(target)
    with wrap_os_errors(target):
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)
