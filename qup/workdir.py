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
_CONFIG, _LOCK = "config.json", ".qup.lock"
_PATTERNS = "[]*?\\"


class Workdir:
    """An opened working directory.

    Attributes:
      path: The folder.
    """

    def __init__(self, path: pathlib.Path, *others: pathlib.Path):
        """Opens or makes the folder.

        Args:
          path: The folder.
          *others: Further folders in which a run will write.

        Raises:
          InputError: The folder cannot be written, or was not written by
            qup.
        """
        self.path = pathlib.Path(path)
        for folder in (self.path, *others):
            if set(_PATTERNS) & {*str(folder.absolute()), *_resolved(folder)}:
                raise errors.InputError(
                    f"The path {folder.absolute()} has one of "
                    f"{' '.join(_PATTERNS)} in it, which TensorFlow's "
                    "checkpoints take for patterns. Name another folder."
                )
        with files.explained(self.path):
            self._check_owner()
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / _LOCK).touch()

    def _check_owner(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise errors.InputError(
                f"The workdir {self.path} is a file. Name a folder."
            )
        held = (
            {e.name for e in self.path.iterdir()} if self.path.exists() else ()
        )
        if held and not {_CONFIG, _LOCK} & set(held):
            raise errors.InputError(
                f"The workdir {self.path} holds files that qup did not "
                f"write ({sorted(held)[0]}, ...). Name an empty or a "
                "new folder."
            )
        path = self.path / _CONFIG
        if path.exists() and "qup" not in _read_json(path):
            raise errors.InputError(
                f"{path} is no configuration that qup wrote. Name an empty "
                "or a new folder."
            )

    @contextlib.contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """Waits until no other process is in such a block, and enters it.

        Args:
          what: What the block is for, for whoever waits.
        """
        path = self.path / _LOCK
        with contextlib.ExitStack() as stack:
            with files.explained(path):
                lock = stack.enter_context(path.open("a", encoding="utf-8"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.info("waiting for another process %s", what)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def commit(self, config: Mapping[str, Any]) -> None:
        """Keeps the configuration and the versions of the newest run.

        Args:
          config: JSON values.

        Raises:
          InputError: The folder cannot be written.
        """
        held = {"qup": qup.__version__, **config}
        files.write_text(self.path / _CONFIG, _json(held))
        files.write_text(
            self.path / "versions.json", _json(versions.installed())
        )


def _resolved(folder: pathlib.Path) -> str:
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


def _json(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, indent=2, sort_keys=True) + "\n"
