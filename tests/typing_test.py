"""The public API has complete annotations, and a user's program is checked against them."""

import ast
import pathlib
import subprocess
import sys

import pytest

from qup import attacks

_ROOT = pathlib.Path(__file__).parents[1]
_PROGRAM = """
import numpy as np
import qup
from qup import attacks

x, y = np.zeros((1, 4, 4, 1), np.float32), np.zeros(1, int)
one: attacks.AttackResult = attacks.run("pgd", lambda images: images, x, y, epsilon=0.1)
several: list[attacks.AttackResult] = attacks.run("pgd", lambda i: i, x, y, epsilons=[0.1, 0.2])
report: qup.Report = qup.evaluate(lambda images: images, x, y, epsilon="8/255")
share: float = report.robust_accuracy.percent
"""


def _run_mypy(*arguments):
    command = [sys.executable, "-m", "mypy", "--no-color-output", *arguments]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_the_public_api_is_annotated():
    code, text = _run_mypy()
    assert code == 0, text


@pytest.mark.slow
def test_a_users_mistakes_are_found(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(_PROGRAM)
    code, text = _run_mypy(str(path))
    assert code == 0, text
    path.write_text(_PROGRAM + "wrong: str = report.robust_accuracy.percent\nreport.nothing()\n")
    code, text = _run_mypy(str(path))
    assert code == 1 and text.count("error:") == 2, text


def test_the_types_of_the_attacks_name_what_there_is():
    tree = ast.parse((_ROOT / "qup" / "attacks" / "__init__.pyi").read_text())
    names = {alias.asname for node in tree.body if hasattr(node, "names") for alias in node.names}
    names |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert names - {None, "LogitsFn"} == set(attacks.__all__)


def test_the_package_says_that_it_has_annotations():
    assert (_ROOT / "qup" / "py.typed").exists()
    assert '"py.typed"' in (_ROOT / "setup.py").read_text()
