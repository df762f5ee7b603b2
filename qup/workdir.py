"""The working directory of runs: what the newest one was, and on what.

Another configuration in the same folder is a new run; what earlier runs
made stays in the pipeline root. A folder that holds something else is
refused.
"""

import contextlib
import fcntl
import json
import logging
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import qup
from qup import errors, files, versions

_log = logging.getLogger("qup")
_CONFIG_FILE, _LOCK_FILE = "config.json", ".qup.lock"
_GLOB_CHARACTERS = "[]*?\\"


class Workdir:
    """An opened working directory.

    Attributes:
      path: The folder.
    """

    def __init__(self, path: pathlib.Path, *other_folders: pathlib.Path):
        """Opens or makes the folder.

        Args:
          path: The folder.
          *other_folders: Further folders in which a run will write.

        Raises:
          InputError: The folder cannot be written, or was not written by
            qup.
        """
        self.path = pathlib.Path(path)
        for folder in (self.path, *other_folders):
            if set(_GLOB_CHARACTERS) & {*str(folder.absolute()), *_resolve_path(folder)}:
                raise errors.InputError(
                    f"The path {folder.absolute()} has one of "
                    f"{' '.join(_GLOB_CHARACTERS)} in it, which TensorFlow's "
                    "checkpoints take for patterns. Name another folder."
                )
        with files.wrap_os_errors(self.path):
            self._check_owner()
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / _LOCK_FILE).touch()

    def _check_owner(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise errors.InputError(f"The workdir {self.path} is a file. Name a folder.")
        entries = {e.name for e in self.path.iterdir()} if self.path.exists() else ()
        if entries and not {_CONFIG_FILE, _LOCK_FILE} & set(entries):
            raise errors.InputError(
                f"The workdir {self.path} holds files that qup did not "
                f"write ({sorted(entries)[0]}, ...). Name an empty or a "
                "new folder."
            )
        path = self.path / _CONFIG_FILE
        if path.exists() and "qup" not in _read_json(path):
            raise errors.InputError(
                f"{path} is no configuration that qup wrote. Name an empty or a new folder."
            )

    @contextlib.contextmanager
    def lock(self, purpose: str) -> Iterator[None]:
        """Waits until no other process is in such a block, and enters it.

        Args:
          purpose: What the block is for, for whoever waits.
        """
        path = self.path / _LOCK_FILE
        with contextlib.ExitStack() as stack:
            with files.wrap_os_errors(path):
                lock = stack.enter_context(path.open("a", encoding="utf-8"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.info("waiting for another process %s", purpose)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Keeps the configuration and the versions of the newest run.

        Args:
          config: JSON values.

        Raises:
          InputError: The folder cannot be written.
        """
        record = {"qup": qup.__version__, **config}
        files.write_text(self.path / _CONFIG_FILE, _format_json(record))
        files.write_text(self.path / "versions.json", _format_json(versions.collect_versions()))


def _resolve_path(folder: pathlib.Path) -> str:
    try:
        return str(folder.resolve())
    except (OSError, RuntimeError) as error:
        raise errors.InputError(
            f"{folder} cannot be used: {error}. Name another folder."
        ) from error


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    """Returns the object in a file; an empty one if it holds none."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _format_json(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, indent=2, sort_keys=True) + "\n"
