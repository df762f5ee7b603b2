"""The pipeline root: TFX's folders, and files that survive a power failure.

NODE/KEY/EXECUTION/ has a published artifact. NODE/.system/ has unfinished work:
executor_execution/EXECUTION/KEY/ the outputs of a running execution,
stateful_working_dir/FINGERPRINT/ the checkpoints of an unfinished one. .system/locks/ has the locks
of running executions.
"""

import contextlib
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator

from qup.core import files
from qup.core.errors import InputError
from qup.orchestration import errors

# An environment variable: the pipeline root of all working directories.
ROOT_VARIABLE = "QUP_PIPELINE_ROOT"


@contextlib.contextmanager
def hold_lock(path: pathlib.Path, on_wait: Callable[[], None] | None = None) -> Iterator[bool]:
    """Holds a lock file, and removes it at the end; see `qup.core.files.lock_file`.

    Raises:
      StorageError: The lock file cannot be created.
    """
    with contextlib.ExitStack() as stack:
        try:
            is_locked = stack.enter_context(files.lock_file(path, on_wait))
        except InputError as error:
            raise errors.StorageError(str(error)) from error
        try:
            yield is_locked
        finally:
            # Still locked: another process that has opened this file notices that it is removed.
            if is_locked:
                with contextlib.suppress(OSError):
                    path.unlink()


class PipelineRoot:
    """The folder of a pipeline's artifacts.

    Attributes:
      path: The folder; it is created when something is written.
    """

    TEMPORARY = "executor_execution"

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path).resolve()

    def get_output_dir(self, node: str, key: str, execution: int) -> pathlib.Path:
        """Returns the folder of a published artifact."""
        return self.path / node / key / str(execution)

    def get_temporary_dir(self, node: str, execution: int) -> pathlib.Path:
        """Returns the folder of the outputs of a running execution."""
        return self.path / node / ".system" / self.TEMPORARY / str(execution)

    def get_stateful_dir(self, node: str, fingerprint: str) -> pathlib.Path:
        """Returns the folder of a component's checkpoints."""
        return self.path / node / ".system" / "stateful_working_dir" / fingerprint

    def hold_lock(
        self, fingerprint: str, on_wait: Callable[[], None] | None = None
    ) -> contextlib.AbstractContextManager[bool]:
        """Holds the lock of a fingerprint; see `hold_lock`."""
        return hold_lock(self.make_dir(self.path / ".system" / "locks") / fingerprint, on_wait)

    def list_locks(self, prefix: str) -> list[str]:
        """Returns the names of lock files, held or not, that begin with a prefix."""
        folder = self.make_dir(self.path / ".system" / "locks")
        with errors.wrap_os_errors(folder):
            return sorted(name for name in os.listdir(folder) if name.startswith(prefix))

    def make_dir(self, path: pathlib.Path) -> pathlib.Path:
        """Creates a folder if it does not exist, and returns it.

        Raises:
          StorageError: It cannot be created, or is reached by a link out of the root.
        """
        self._check_inside(path)
        with errors.wrap_os_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def publish(self, source: pathlib.Path, target: pathlib.Path) -> None:
        """Flushes a finished folder to the disk, and moves it to its place.

        Raises:
          StorageError: The disk is full, or the root cannot be written.
        """
        self._check_inside(target)
        with errors.wrap_os_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            for folder, _, names in os.walk(source):
                for name in names:
                    _flush(os.path.join(folder, name))
                _flush(folder)
            os.rename(source, target)
            for folder in (target.parent, *target.parent.parents[:2]):
                _flush(folder)

    def discard(self, node: str, execution: int) -> None:
        """Removes the files of an execution that did not complete."""
        self.remove(self.get_temporary_dir(node, execution))
        for path in (self.path / node).glob(f"*/{execution}"):
            self.remove(path)

    def remove(self, path: pathlib.Path) -> None:
        """Removes a folder as far as possible; the next run removes the rest.

        What a link reaches out of the root stays.
        """
        if self._is_inside(path):
            shutil.rmtree(path, ignore_errors=True)

    def _is_inside(self, path: pathlib.Path) -> bool:
        return pathlib.Path(os.path.realpath(path)).is_relative_to(self.path)

    def _check_inside(self, path: pathlib.Path) -> None:
        if not self._is_inside(path):
            raise errors.StorageError(
                f"{path} is reached by a symbolic link out of the pipeline root {self.path}, and "
                "was not touched. Remove the link, or link the whole root."
            )

    def list_execution_dirs(self) -> list[tuple[str, int, pathlib.Path]]:
        """Returns (node, execution, folder) of every execution's folders."""
        return [
            (system.parent.name, int(path.name), path)
            for system in self.path.glob("*/.system")
            for pattern in ("*/*", f".system/{self.TEMPORARY}/*")
            for path in system.parent.glob(pattern)
            if re.fullmatch("[1-9][0-9]{0,15}", path.name)
        ]


def _flush(path: str | os.PathLike) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
