"""Environments with further packages, for tests of what conflicts with the others or is large."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import pytest

_ROOT = pathlib.Path(__file__).parents[1]


def create(
    folder: pathlib.Path, *packages: str, options: Sequence[str] = (), with_current: bool = True
) -> str:
    """Creates an environment with packages; returns its Python.

    Where the packages cannot be installed, the test is skipped, or fails where nothing may be left
    out, as in .ci/run.

    Args:
      folder: Of the environment; it exists.
      *packages: Requirements for pip.
      options: Of pip install.
      with_current: Whether the packages of this environment, and qup, are there too.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    if with_current:
        (site,) = folder.glob("lib/python*/site-packages")
        current = next(path for path in sys.path if path.endswith("site-packages"))
        (site / "current.pth").write_text(f"{current}\n{_ROOT}\n")
    python = str(folder / "bin" / "python")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
    done = subprocess.run([*pip, *options, *packages], capture_output=True, text=True)
    if done.returncode:
        reason = f"{', '.join(packages)} cannot be installed: {done.stderr.splitlines()[-1:]}"
        (pytest.fail if os.environ.get("QUP_SKIP_NOTHING") else pytest.skip)(reason)
    return python
