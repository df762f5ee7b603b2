"""Fingerprints of code: what counts, and what does not."""

import importlib
import importlib.metadata
import pathlib
import subprocess
import sys
import textwrap

import pytest

from qup.orchestration import Code, PipelineError

_FILES = {
    "__init__": "'''The toy.'''\nVERSION = 1\n",
    "steps/__init__": "",
    "steps/train": '''
        """Trains."""

        from toy import base
        from toy.deep.inner import thing as other
        from .near import helper
        from .. import above

        def train(number):
            """Trains."""
            import toy.lazy
            return number + 1  # Plus one.
        ''',
    "steps/near": "def helper(): return 1",
    "steps/aside": "x = 1",
    "above": "x = 1",
    "base": "from toy import plugins\nx = 1",
    "deep/__init__": "x = 1",
    "deep/inner": "thing = 1",
    "deep/unused": "x = 1",
    "lazy": "import json\nx = 1",
    "plugins/__init__": "import importlib\nfrom toy import registry",
    "plugins/red": "from toy import paint\nx = 1",
    "plugins/green": "from toy.plugins import shade",
    "plugins/shade": "x = 1",
    "plugins/blue/__init__": "x = 1",
    "plugins/blue/navy": "x = 1",
    "paint": "x = 1",
    "registry": "x = 1",
    "unused": "x = 1",
}
_ALWAYS = {
    "toy", "toy.steps", "toy.steps.train", "toy.steps.near", "toy.above",
    "toy.base", "toy.deep", "toy.deep.inner", "toy.lazy", "toy.plugins",
    "toy.registry",
}  # fmt: skip
# Lists: the names of tests that hold sets differ from process to process.
_RED = ["toy.plugins.red", "toy.paint"]
_GREEN = ["toy.plugins.green", "toy.plugins.shade"]
_BLUE = ["toy.plugins.blue", "toy.plugins.blue.navy"]
_CODE = Code(packages=("toy",), plugins=("toy.plugins",))


def _path(root, module):
    return root / "toy" / f"{module}.py"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    for name, text in _FILES.items():
        path = _path(tmp_path, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [n for n in sys.modules if n.partition(".")[0] == "toy"]:
        del sys.modules[name]


def _train():
    return importlib.import_module("toy.steps.train").train


@pytest.mark.parametrize(
    ("chosen", "more"),
    [
        ({"toy.plugins": []}, []),
        ({"toy.plugins": ["red"]}, _RED),
        ({"toy.plugins": ["green"]}, _GREEN),
        ({"toy.plugins": ["blue", "red"]}, _BLUE + _RED),
        # All, where nobody says which, or says what is no module.
        ({}, _RED + _GREEN + _BLUE),
        ({"toy.plugins": ["purple"]}, _RED + _GREEN + _BLUE),
    ],
    ids=str,
)
def test_the_closure_is_what_is_imported_and_chosen(toy, chosen, more):
    files = _CODE.files(_train(), chosen)
    assert set(files) == _ALWAYS.union(more)
    assert all(path.is_relative_to(toy) for path in files.values())
    loaded = {name for name in sys.modules if name.startswith("toy.plugins.")}
    assert not loaded, "nothing may be imported for it"


@pytest.mark.parametrize("module", _FILES)
def test_a_change_of_any_file_of_the_closure_counts(toy, module):
    train = _train()
    chosen = {"toy.plugins": ["green"]}
    before = _CODE.fingerprint(train, chosen)
    with open(_path(toy, module), "a") as file:
        file.write("\ny = 2\n")
    name = f"toy/{module}".removesuffix("/__init__").replace("/", ".")
    changed = _CODE.fingerprint(train, chosen) != before
    assert changed == (name in _ALWAYS.union(_GREEN))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("number + 1", "number + 2"),
        ("number + 1", "number - 1"),
        ("return number + 1", "number + 1"),
        ("train(number)", "train(number=0)"),
        ("train(number)", "train(number: int)"),
        ("import toy.lazy", "pass"),
        ("import base", "import base as basis"),
    ],
)
def test_any_change_of_a_line_counts(toy, old, new):
    assert _edited(toy, lambda text: text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# Plus one.", ""),
        ("# Plus one.", "# One more."),
        ('"""Trains."""', '"""Trains a\n    lot."""'),
        ('    """Trains."""\n', ""),
        ("number + 1", "(number   +\n            1)"),
        ("\n\n", "\n\n\n\n"),
        ("def train", "# A comment.\ndef train"),
    ],
)
def test_comments_docstrings_and_blanks_do_not_count(toy, old, new):
    assert not _edited(toy, lambda text: text.replace(old, new))


def _edited(toy, edit):
    train, path = _train(), _path(toy, "steps/train")
    before = _CODE.fingerprint(train)
    text = path.read_text()
    path.write_text(edit(text))
    assert path.read_text() != text
    return _CODE.fingerprint(train) != before


def test_a_new_plug_in_counts_only_where_all_do(toy):
    train = _train()
    chosen = [{}, {"toy.plugins": ["red"]}]
    before = [_CODE.fingerprint(train, names) for names in chosen]
    _path(toy, "plugins/yellow").write_text("x = 1")
    after = [_CODE.fingerprint(train, names) for names in chosen]
    assert [a == b for a, b in zip(before, after, strict=True)] == [
        False,
        True,
    ]


def test_packages_default_to_the_components_own(toy):
    assert set(Code().files(_train(), {})) == _ALWAYS
    own = {"toy.steps.train", "toy.steps.near", "toy.steps"}
    assert set(Code(packages=("toy.steps",)).files(_train(), {})) == own


def test_this_package_itself_does_not_count():
    code = Code(packages=("qup", "tests"))
    files = code.files(test_this_package_itself_does_not_count, {})
    assert set(files) == {"qup", "tests", "tests.orchestration_code_test"}


def test_versions_count(toy, monkeypatch):
    code = Code(distributions=("pytest",))
    before = code.fingerprint(_train())
    assert before != Code().fingerprint(_train())
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.0")
    assert code.fingerprint(_train()) != before


def test_mistakes_are_told(toy):
    with pytest.raises(PipelineError, match="'nothing-like-it' is not inst"):
        Code(distributions=("nothing-like-it",)).fingerprint(_train())
    with pytest.raises(PipelineError, match=r"Did you mean 'toy\.plugins'"):
        _CODE.fingerprint(_train(), {"toy.plugin": ["red"]})
    train = _train()
    _path(toy, "above").write_text("x = (")
    with pytest.raises(PipelineError, match=r"above.py is no Python"):
        _CODE.fingerprint(train)


_SCRIPT = """
import pathlib, sys
from qup.orchestration import *
import toy.paint

class Data(Artifact): ...

@component(plugins=lambda values: {"toy.plugins": [values["colour"]]})
def Painter(data: Out[Data], *, colour: str = "red") -> None:
    edit = pathlib.Path("edit")
    if edit.exists():
        pathlib.Path("toy/paint.py").write_text(edit.read_text())

code = Code(packages=("toy",), plugins=("toy.plugins",))
metadata = Metadata("root/metadata.sqlite")
LocalRunner("root", metadata, on_event=print, code=code).run([Painter()])
"""


def test_a_script_reruns_what_its_edits_reach(toy):
    script = toy / "script.py"
    script.write_text(_SCRIPT)
    root = pathlib.Path(__file__).parents[1]

    def run():
        return subprocess.run(
            [sys.executable, "-B", "script.py"],
            cwd=toy,
            env={"PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert "complete" in run() and "reused" in run()
    script.write_text(_SCRIPT.replace("\nclass", "\n# Data.\nclass"))
    assert "reused" in run()
    _path(toy, "plugins/green").write_text("x = 3")
    assert "reused" in run()
    _path(toy, "plugins/red").write_text("x = 3")
    assert "complete" in run() and "reused" in run()
    # Code edited while it runs: nobody knows which code made the result.
    (toy / "edit").write_text("x = 4")
    script.write_text(_SCRIPT.replace("exists()", "exists() or True"))
    before = _path(toy, "paint").read_text()
    assert "code edited while it ran" in run()
    _path(toy, "paint").write_text(before)
    assert "code edited while it ran" in run()
    assert "complete" in run() and "reused" in run()
