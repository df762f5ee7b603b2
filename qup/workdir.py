"""The working directory of one run: its configuration, lock and memory.

A second start with the same configuration goes on where the first ended;
one with another configuration is refused, and so is a folder that holds
something else.
"""

import fcntl
import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qup
from qup import errors, files, measurements, nesting, versions

_log = logging.getLogger("qup")
_CONFIG, _LOCK = "config.json", ".qup.lock"
_OF_DATA = ("data", "classes")


class Workdir:
    """An opened working directory, ours until the process ends.

    Attributes:
      path: The folder.
    """

    def __init__(self, path: pathlib.Path, config: Mapping[str, Any]):
        """Opens or makes the folder, and locks it.

        Args:
          path: The folder.
          config: What identifies the run; JSON values. It is compared with
            what the folder holds, and kept there by `commit`.

        Raises:
          InputError: The folder cannot be written, was not written by qup,
            holds a run of another configuration, or is in use.
        """
        self.path = pathlib.Path(path)
        # As JSON gives it back: tuples are lists.
        self._config = json.loads(
            json.dumps({"qup": qup.__version__, **config})
        )
        if set("[]*?\\") & set(str(self.path.absolute())):
            raise errors.InputError(
                f"The workdir {self.path} has one of [ ] * ? \\ in its path, "
                "which TensorFlow's checkpoints take for patterns. Name "
                "another folder."
            )
        with files.explained(self.path):
            self._check_owner()
        self._compare(self._config)
        self._claim()

    def commit(self, data: str, classes: Sequence[str]) -> None:
        """Keeps the configuration: what cannot be run is never committed.

        Args:
          data: Fingerprint of the data.
          classes: Names of the classes, in the order of the logits.

        Raises:
          InputError: An earlier start here saw other data.
        """
        config = {**self._config, "data": data, "classes": list(classes)}
        self._compare(config)
        files.write_text(self.path / _CONFIG, _json(config))
        path, now = self.path / "versions.json", versions.installed()
        before = _read_json(path) or now
        changed = {k: v for k, v in before.items() if now.get(k, v) != v}
        if changed:
            _log.warning(
                "%s was begun under %s; what it holds is kept and may differ "
                "from what this start would make.", self.path, changed,
            )  # fmt: skip
            now["earlier"] = [before]
        elif "earlier" in before:
            now["earlier"] = before["earlier"]
        files.write_text(path, _json(now))

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

    def _claim(self) -> None:
        with files.explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            # Held open, and so locked, until the process ends.
            self._lock = open(  # noqa: SIM115
                self.path / _LOCK, "a+", encoding="utf-8"
            )
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self._lock.seek(0)
                raise errors.InputError(
                    f"The workdir {self.path} is in use by process "
                    f"{self._lock.read().strip() or '?'}. Wait for it, or "
                    "name another folder."
                ) from error
            self._lock.truncate(0)
            self._lock.write(f"{os.getpid()}\n")
            self._lock.flush()

    def _compare(self, config: Mapping[str, Any]) -> None:
        path = self.path / _CONFIG
        if not path.exists():
            return
        old = _read_json(path)
        if "qup" not in old:
            raise errors.InputError(
                f"{path} is no configuration that qup wrote. Name an empty "
                "or a new folder."
            )
        if "data" not in config:
            old = {k: v for k, v in old.items() if k not in _OF_DATA}
        changed = nesting.changes(old, config)
        if changed:
            raise errors.InputError(
                f"The workdir {self.path} holds a run with another "
                f"configuration: {', '.join(changed)}. Name another folder, "
                "or give the old settings to go on."
            )

    def remember(
        self,
        name: str,
        compute: Callable[[], list[measurements.Row]],
    ) -> list[measurements.Row]:
        """Returns the rows kept as `name`, computing them at first.

        Args:
          name: Path within the folder, ending in .csv.
          compute: Makes the rows.

        Returns:
          The rows, read back from the file.

        Raises:
          InputError: The file was changed since.
        """
        path = self.path / name
        mark = path.with_name(path.name + ".sha256")
        if not (path.exists() and mark.exists()):
            measurements.write(path, compute())
            files.write_text(mark, _digest(path))
        if mark.read_bytes() != _digest(path).encode():
            raise errors.InputError(
                f"{path} is not what was measured: it was changed since. "
                "Remove it, and the next start measures it again."
            )
        return measurements.read(path)


def _digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    """Returns the object in a file; an empty one if it holds none."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _json(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, indent=2, sort_keys=True) + "\n"
