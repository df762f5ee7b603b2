"""Modules that command lines import before TensorFlow stay free of it."""

import subprocess
import sys

import pytest

_MODULES = ("environment", "errors", "files", "formatting", "hashing", "measurements")


@pytest.mark.parametrize("module", ["qup", *(f"qup.core.{name}" for name in _MODULES)])
def test_the_import_is_cheap(module):
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
