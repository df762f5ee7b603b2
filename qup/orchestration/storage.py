"""The pipeline root: TFX's folders, and files that outlive a power cut.

NODE/KEY/EXECUTION/ holds a published artifact, NODE/.system/ what is being
made: executor_execution/EXECUTION/KEY/ the outputs of a running execution,
stateful_working_dir/FINGERPRINT/ the checkpoints of an unfinished one.
"""

import os
import pathlib
import re
import shutil

from qup.orchestration import errors


class PipelineRoot:
    """The folder of a pipeline's artifacts.

    Attributes:
      path: The folder.
    """

    TEMPORARY = "executor_execution"

    def __init__(self, path: str | os.PathLike):
        """Names the folder; it is made when something is written."""
        self.path = pathlib.Path(path).resolve()

    def get_output_dir(self, node: str, key: str, execution: int) -> pathlib.Path:
        """Returns where an artifact is published."""
        return self.path / node / key / str(execution)

    def get_temporary_dir(self, node: str, execution: int) -> pathlib.Path:
        """Returns where a running execution makes its artifacts."""
        system = self.path / node / ".system"
        return system / self.TEMPORARY / str(execution)

    def get_stateful_dir(self, node: str, fingerprint: str) -> pathlib.Path:
        """Returns where a component keeps its checkpoints."""
        system = self.path / node / ".system"
        return system / "stateful_working_dir" / fingerprint

    def get_lock_path(self, fingerprint: str) -> pathlib.Path:
        """Returns the lock file of a fingerprint; its folder is made."""
        return self.make_dir(self.path / ".system" / "locks") / fingerprint

    def make_dir(self, path: pathlib.Path) -> pathlib.Path:
        """Makes a folder, if it is not there, and returns it.

        Raises:
          StorageError: It cannot be made.
        """
        with errors.wrap_os_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def publish(self, source: pathlib.Path, target: pathlib.Path) -> None:
        """Moves a finished folder to its place, everything on the disk.

        Raises:
          StorageError: The disk is full or the root forbidden.
        """
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
        """Removes what an execution that did not complete has left."""
        self.remove(self.get_temporary_dir(node, execution))
        for path in (self.path / node).glob(f"*/{execution}"):
            self.remove(path)

    def remove(self, path: pathlib.Path) -> None:
        """Removes a folder as far as possible; the next start does the rest."""
        shutil.rmtree(path, ignore_errors=True)

    def list_execution_dirs(self) -> list[tuple[str, int, pathlib.Path]]:
        """Returns (node, execution, folder) of every execution's folders."""
        folders = []
        for system in self.path.glob("*/.system"):
            node = system.parent
            for pattern in ("*/*", f".system/{self.TEMPORARY}/*"):
                for path in node.glob(pattern):
                    if re.fullmatch("[1-9][0-9]{0,15}", path.name):
                        folders.append((node.name, int(path.name), path))
        return folders


def _flush(path: str | os.PathLike) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
