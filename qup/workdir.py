"""The working directory of one run: its configuration, lock and memory.

A second start with the same configuration goes on where the first ended;
one with another configuration is refused, and so is a folder that holds
something else.
"""

import fcntl
import json
import os
import pathlib
import platform
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import qup
from qup import errors, files, measurements, nesting

_CONFIG = "config.json"


class Workdir:
    """An opened working directory, ours until the process ends.

    Attributes:
      path: The folder.
    """

    def __init__(self, path: pathlib.Path, config: Mapping[str, Any]):
        """Opens or makes the folder, and locks it.

        Args:
          path: The folder.
          config: What identifies the run; JSON values.

        Raises:
          InputError: The folder cannot be written, was not written by qup,
            holds a run of another configuration, or is in use.
        """
        self.path = pathlib.Path(path)
        self._claim()
        # As JSON gives it back: tuples are lists.
        config = json.loads(json.dumps({"qup": qup.__version__, **config}))
        if (self.path / _CONFIG).exists():
            self._compare(config)
        else:
            files.write_text(
                self.path / _CONFIG,
                json.dumps(config, indent=2, sort_keys=True) + "\n",
            )
        files.write_text(
            self.path / "versions.json",
            json.dumps(versions(), indent=2, sort_keys=True) + "\n",
        )

    def _claim(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise errors.InputError(
                f"The workdir {self.path} is a file. Name a folder."
            )
        known = {_CONFIG, ".lock"}
        if self.path.is_dir():
            held = {entry.name for entry in self.path.iterdir()}
            if held and not held & known:
                raise errors.InputError(
                    f"The workdir {self.path} holds files that qup did not "
                    f"write ({sorted(held)[0]}, ...). Name an empty or a "
                    "new folder."
                )
        with files.explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            # Held open, and so locked, until the process ends.
            self._lock = open(  # noqa: SIM115
                self.path / ".lock", "a+", encoding="utf-8"
            )
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.seek(0)
            raise errors.InputError(
                f"The workdir {self.path} is in use by process "
                f"{self._lock.read().strip() or '?'}. Wait for it, or name "
                "another folder."
            ) from error
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    def _compare(self, config: Mapping[str, Any]) -> None:
        path = self.path / _CONFIG
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
            qup_wrote = "qup" in old
        except (ValueError, TypeError):
            qup_wrote = False
        if not qup_wrote:
            raise errors.InputError(
                f"{path} is no configuration that qup wrote. Name an empty "
                "or a new folder."
            )
        was, now = nesting.flatten(old), nesting.flatten(config)
        changed = [
            f"{key} (was {was.get(key)!r}, now {now.get(key)!r})"
            for key in sorted(was.keys() | now.keys())
            if was.get(key) != now.get(key)
        ]
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
        """
        path = self.path / name
        if not path.exists():
            measurements.write(path, compute())
        return measurements.read(path)


def versions() -> dict[str, str]:
    """Returns the versions of all that shapes a number."""
    packages = (
        "tensorflow", "keras", "numpy", "tensorflow-datasets",
        "scikit-learn", "pillow",
    )  # fmt: skip
    return {
        "qup": qup.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        **{name: metadata.version(name) for name in packages},
    }
