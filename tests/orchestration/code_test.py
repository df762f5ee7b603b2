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

        import numpy as np
        from toy import norms
        from toy.deep import thing as other
        from .near import helper
        import toy.effects
        from toy.classes import Child
        from toy import loop

        SIZE = 3

        def train(number=1):
            """Trains."""
            import toy.lazy
            from toy.later import later as soon
            size: int = SIZE
            shadow = 1
            return [
                norms.project(number) + 1,  # Plus one.
                np.ones(size), other, helper(), toy.lazy.value, soon(),
                Child(), loop.first, (lambda unused: unused)(shadow),
            ]

        def shadow():
            return 1

        def unused():
            return SIZE + 1
        ''',
    "steps/near": "from toy.far import far\ndef helper():\n    return far()\n",
    "far": "import functools\n"
    "@functools.lru_cache(maxsize=3)\n"
    "def far(a=2):\n    return a\n"
    "def unused():\n    return 5\n",
    "norms": "LIMIT = 7\n"
    "def project(x):\n    return x * LIMIT\n"
    "def unused(x):\n    return x / LIMIT\n",
    "deep/__init__": "from toy.deep.inner import thing\nUNUSED = 8\n",
    "deep/inner": "thing = 9\n",
    "deep/unused": "x = 1\n",
    "effects": "import warnings\nwarnings.warn\nstate = []\nstate.append(11)\nunused = 12\n",
    "lazy": "import json\nvalue = 13\n",
    "later": "try:\n    from toy.fast import later\n"
    "except ImportError:\n    from toy.slow import later\n",
    "fast": "def later():\n    return 14\n",
    "slow": "def later():\n    return 15\n",
    "classes": "from toy.bases import Base\n"
    "class Child(Base):\n    field: int = 16\n"
    "    def unread(self, x: int):\n        return 17\n",
    "bases": "class Base:\n    value = 18\n",
    # In a circle.
    "loop": "from toy import pool\nfirst = 19\ndef ring(n):\n    return pool.gnir(n)\n",
    "pool": "from toy import loop\ndef gnir(n):\n    return loop.ring(n - 20)\n",
    "registry": """
        import importlib, pkgutil

        class Finder:
            def __init__(self, package):
                self.package, self.known = package, {}

            def register(self, function=None, name=None):
                if function is None:
                    return lambda inner: self.register(inner, name)
                self.known[name or function.__name__] = function
                return function

            def search(self):
                package = importlib.import_module(self.package)
                for found in pkgutil.iter_modules(package.__path__):
                    importlib.import_module(f"{self.package}.{found.name}")

            def get(self, name):
                self.search()
                return self.known[name]

            def names(self):
                self.search()
                return list(self.known)
        """,
    "plugins/__init__": """
        from toy.registry import Finder

        _finder = Finder("toy.plugins")
        get = _finder.get
        names = _finder.names

        def register(name):
            return _finder.register(name=name)
        """,
    "plugins/colours": """
        from toy import plugins, paint

        @plugins.register("red")
        def _red():
            return paint.mixed(30)

        @plugins.register("green")
        def _green():
            return plugins.get("blue")() + 31
        """,
    "plugins/blue": "from toy.plugins import register\n"
    "@register('blue')\ndef blue():\n    return 32\n",
    "plugins/grey": "from toy.plugins import register\n"
    "@register('grey')\ndef grey():\n    return 34\n",
    "paint": "def mixed(x):\n    return x * 33\n",
    "paints": "from toy import plugins\n"
    "def one(colour):\n    return plugins.get(colour)()\n"
    "def fixed():\n    return plugins.get('grey')()\n"
    "def every():\n    return plugins.names()\n",
    "unused": "x = 1\n",
}
_CODE = Code(packages=("toy",))


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
    _forget()


def _forget():
    for name in [n for n in sys.modules if n.partition(".")[0] == "toy"]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _function(name="train", module="toy.steps.train"):
    return getattr(importlib.import_module(module), name)


def _counts(toy, module, old, new, function=None, **given):
    """Returns whether an edit changes a fingerprint."""
    function = function or _function()
    before = _CODE.compute_fingerprint(function, given)
    assert _CODE.compute_fingerprint(function, given) == before
    path = _path(toy, module)
    text = path.read_text()
    path.write_text(text.replace(old, new))
    assert path.read_text() != text
    return _CODE.compute_fingerprint(function, given) != before


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("steps/train", "+ 1", "+ 2"),
        ("steps/train", "+ 1", "- 1"),
        ("steps/train", "number=1", "number=0"),
        ("steps/train", "train(number=1)", "train(number: int = 1)"),
        ("steps/train", "SIZE = 3", "SIZE = 4"),
        # Another package's function under the same name.
        ("steps/train", "import numpy as np", "import jax.numpy as np"),
        ("steps/near", "return far()", "return -far()"),
        ("far", "a=2", "a=3"),
        ("far", "return a", "return -a"),
        ("far", "maxsize=3", "maxsize=4"),
        ("far", "@functools.lru_cache(maxsize=3)\n", ""),
        ("norms", "7", "8"),
        ("deep/inner", "9", "10"),
        ("effects", "11", "12"),
        ("lazy", "13", "14"),
        ("fast", "14", "15"),
        ("slow", "15", "16"),
        ("later", "ImportError", "Exception"),
        ("classes", "16", "17"),
        ("classes", "field: int", "field: float"),
        ("classes", "17", "18"),
        ("bases", "18", "19"),
        ("loop", "19", "20"),
    ],
)
def test_a_change_of_what_is_reached_counts(toy, module, old, new):
    assert _counts(toy, module, old, new)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("steps/train", "# Plus one.", "# One more."),
        ("steps/train", '"""Trains."""', '"""Trains a\n    lot."""'),
        ("steps/train", '    """Trains."""\n', ""),
        ("steps/train", ") + 1", ")   +\n            1"),
        ("steps/train", "size: int", "size: float"),
        ("steps/train", "size: int = SIZE", "size = SIZE"),
        ("steps/train", "def train", "# A comment.\ndef train"),
        ("steps/train", "return SIZE + 1", "return SIZE + 2"),
        # A local name hides the function.
        ("steps/train", "return 1\n", "return 2\n"),
        ("classes", "x: int", "x: float"),
        ("far", "return 5", "return 6"),
        ("norms", "x / LIMIT", "LIMIT / x"),
        ("deep/__init__", "8", "9"),
        ("deep/unused", "1", "2"),
        ("effects", "12", "13"),
        ("pool", "20", "21"),
        ("plugins/blue", "32", "33"),
        ("__init__", "1", "2"),
        ("unused", "1", "2"),
    ],
)
def test_nothing_else_counts(toy, module, old, new):
    assert not _counts(toy, module, old, new)


def test_circles_count_as_a_whole(toy):
    ring = _function("ring", "toy.loop")
    assert _counts(toy, "pool", "20", "21", function=ring)
    assert not _counts(toy, "loop", "19", "20", function=ring)


def test_which_function_a_name_means_counts(toy):
    # Both were reached before and are reached afterwards.
    path = _path(toy, "both")
    path.write_text(
        "from toy.fast import later as one\n"
        "from toy.slow import later as two\n"
        "def both():\n    return one() - two()\n"
    )
    before = _CODE.compute_fingerprint(_function("both", "toy.both"))
    path.write_text(
        "from toy.slow import later as one\n"
        "from toy.fast import later as two\n"
        "def both():\n    return one() - two()\n"
    )
    assert _CODE.compute_fingerprint(_function("both", "toy.both")) != before


def _moved(toy, edit):
    """Returns whether an edit of files and imports leaves the fingerprint."""
    before = _CODE.compute_fingerprint(_function())
    edit()
    _forget()
    return _CODE.compute_fingerprint(_function()) == before


def _replace(toy, old, new):
    for path in (toy / "toy").rglob("*.py"):
        path.write_text(path.read_text().replace(old, new))


def test_a_renamed_module_is_the_same(toy):
    def rename():
        _path(toy, "far").rename(_path(toy, "steps/distant"))
        _replace(toy, "toy.far", "toy.steps.distant")

    assert _moved(toy, rename)


def test_a_module_in_another_package_is_the_same(toy):
    def rename():
        _path(toy, "norms").rename(_path(toy, "deep/norms"))
        _replace(toy, "from toy import norms", "from toy.deep import norms")

    assert _moved(toy, rename)


def test_a_renamed_package_is_the_same(toy):
    def rename():
        (toy / "toy" / "deep").rename(toy / "toy" / "shallow")
        _replace(toy, "toy.deep", "toy.shallow")

    assert _moved(toy, rename)


def test_a_renamed_package_of_registered_functions_is_the_same(toy):
    given = {"colour": "green"}
    before = _CODE.compute_fingerprint(_function("one", "toy.paints"), given)
    (toy / "toy" / "plugins").rename(toy / "toy" / "addons")
    _replace(toy, "toy.plugins", "toy.addons")
    _replace(toy, "import plugins", "import addons as plugins")
    _forget()
    assert _function("one", "toy.paints")("blue") == 32
    assert _CODE.compute_fingerprint(_function("one", "toy.paints"), given) == before


def test_a_moved_function_is_the_same(toy):
    def move():
        path = _path(toy, "far")
        text = path.read_text()
        start, end = text.index("@functools"), text.index("def unused")
        path.write_text(text[:start] + text[end:])
        near = _path(toy, "unused")
        near.write_text(f"import functools\n\n\n{text[start:end]}")
        _replace(toy, "toy.far", "toy.unused")

    assert _moved(toy, move)


def test_a_re_export_is_the_same(toy):
    def export():
        _path(toy, "norms").rename(_path(toy, "deep/norms"))
        _path(toy, "norms").write_text("from toy.deep.norms import project\n")

    assert _moved(toy, export)


@pytest.mark.parametrize(
    ("name", "given", "counted"),
    [
        ("one", {"colour": "red"}, {"_red"}),
        ("one", {"colour": ["red", {"x": "grey"}]}, {"_red", "grey"}),
        # One that asks for another by its name.
        ("one", {"colour": "green"}, {"_green", "blue"}),
        # All, where nobody says which, or says what is none.
        ("one", {}, {"_red", "_green", "blue", "grey"}),
        ("one", {"colour": "purple"}, {"_red", "_green", "blue", "grey"}),
        ("fixed", {}, {"grey"}),
        ("every", {"colour": "red"}, {"_red", "_green", "blue", "grey"}),
    ],
)
def test_registered_functions_count_that_are_named(toy, name, given, counted):
    reached = _CODE.list_reached(_function(name, "toy.paints"), given)
    held = {own for module, own in reached if "toy.plugins." in module}
    assert held == counted
    assert (("toy.paint", "mixed") in reached) == ("_red" in counted)
    loaded = {name for name in sys.modules if name.startswith("toy.plugins.")}
    assert not loaded, "nothing may be imported"


def test_one_file_may_register_several(toy):
    one = _function("one", "toy.paints")
    module = "plugins/colours"
    assert not _counts(toy, module, "31", "35", one, colour="red")
    assert _counts(toy, module, "30", "36", one, colour="red")
    assert _counts(toy, "plugins/grey", "34", "37", one)


def test_functions_registered_without_a_decorator_always_count(toy):
    _path(toy, "plugins/more").write_text(
        "from toy.plugins import register\n"
        "def more():\n    return 40\n"
        "for name in ('black', 'white'):\n    register(name)(more)\n"
    )
    one = _function("one", "toy.paints")
    assert _counts(toy, "plugins/more", "40", "41", one, colour="red")


def test_a_new_registered_function_counts_only_where_all_do(toy):
    one = _function("one", "toy.paints")
    chosen = [{}, {"colour": "red"}]
    before = [_CODE.compute_fingerprint(one, given) for given in chosen]
    _path(toy, "plugins/yellow").write_text(
        "from toy.plugins import register\n@register('yellow')\ndef yellow():\n    return 1\n"
    )
    after = [_CODE.compute_fingerprint(one, given) for given in chosen]
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True]


@pytest.mark.parametrize(
    "text",
    [
        # Passed on, taken apart by a name made at run time, named by a string.
        "from toy import norms\ndef f(x):\n    return vars(norms)",
        "from toy import norms\ndef f(x):\n    return getattr(norms, x)",
        "import toy.norms\ndef f(x, m=toy.norms):\n    return m",
        "from toy.norms import *\ndef f(x):\n    return x",
        "def f(x):\n    return __import__('importlib').import_module('toy.norms')",
        "def f(x):\n    from toy import norms as n\n    return n.nothing",
    ],
)
def test_whole_module_counts_if_its_uses_are_unknown(toy, text):
    _path(toy, "hostile").write_text(f"{text}\n")
    function = _function("f", "toy.hostile")
    assert _counts(toy, "norms", "x / LIMIT", "LIMIT / x", function)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X = 1\nX = 2", "X = 2\nX = 1"),
        ("if X:", "if not X:"),
        ("def g(): return 3", "def g(): return 4"),
        ("global X; X = 5", "global X; X = 6"),
        ("table['a'] = 7", "table['a'] = 8"),
        ("append(9)", "append(10)"),
        ("one = made(11)", "one = made(12)"),
    ],
)
def test_what_modules_do_when_imported_counts(toy, old, new):
    _path(toy, "hostile").write_text(
        "X = 1\nX = 2\ntable = {}\nlist_ = []\n"
        "if X:\n    def g(): return 3\nelse:\n    def g(): return 0\n"
        "def set_():\n    global X; X = 5\n"
        "def made(x):\n    list_.append(x)\n    return x\n"
        "table['a'] = 7\nlist_.append(9)\none = made(11)\n"
        "def f():\n    set_()\n    return X, g(), table, list_\n"
    )
    assert _counts(toy, "hostile", old, new, _function("f", "toy.hostile"))


def test_packages_default_to_the_components_own(toy):
    assert Code().list_reached(_function()) == _CODE.list_reached(_function())
    own = Code(packages=("toy.steps",)).list_reached(_function())
    assert {module for module, _ in own} == {"toy.steps.train", "toy.steps.near"}


def test_this_package_itself_does_not_count():
    def component():
        return Code(packages=("qup", "tests"))

    modules = {module for module, _ in component().list_reached(component)}
    assert not any(name.startswith("qup.orchestration") for name in modules)


@pytest.mark.parametrize(
    ("component", "parameters", "counted", "others"),
    [
        (
            "qup.pipelines.components.evaluator.Evaluator",
            {"attack": {"name": "pgd"}},
            {"PGD"},
            {"CarliniWagner", "FGSM", "mnist", "convnet"},
        ),
        (
            "qup.pipelines.components.attacker.Attacker",
            {"attack": {"name": "autoattack"}},
            {"AutoAttack", "APGDCE", "FABT", "Square"},
            {"PGD", "mnist"},
        ),
        (
            "qup.pipelines.components.trainer.Trainer",
            {"model_name": "convnet"},
            {"convnet"},
            {"resnet", "googlenet", "mnist", "PGD"},
        ),
        (
            "qup.pipelines.components.examples.ExampleGen",
            {"dataset": "mnist"},
            {"mnist"},
            {"digits", "convnet", "PGD"},
        ),
        ("qup.reproduction.components.binary_toy.BinaryToyMover", {}, {"FGSM"}, {"PGD", "mnist"}),
        (
            "qup.pipelines.components.conjugates.ConjugateDrawer",
            {},
            {"BasicIterative"},
            {"SPSA", "mnist"},
        ),
        ("qup.reproduction.components.analysis.StepAnalyzer", {}, set(), {"PGD", "mnist"}),
    ],
)
def test_components_count_the_attacks_that_they_name(component, parameters, counted, others):
    module, _, name = component.rpartition(".")
    function = getattr(importlib.import_module(module), name).fn
    reached = Code(packages=("qup",)).list_reached(function, parameters)
    names = {name for _, name in reached}
    assert counted <= names and not others & names


def test_versions_count(toy, monkeypatch):
    code = Code(distributions=("pytest",))
    before = code.compute_fingerprint(_function())
    assert before != Code().compute_fingerprint(_function())
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.0")
    assert code.compute_fingerprint(_function()) != before


def test_errors_are_reported(toy):
    with pytest.raises(PipelineError, match="'nothing-like-it' is not inst"):
        Code(distributions=("nothing-like-it",)).compute_fingerprint(_function())
    made = {}
    exec("def nowhere(): pass", {"__name__": "toy"}, made)
    with pytest.raises(PipelineError, match="nowhere is not in a file"):
        _CODE.compute_fingerprint(made["nowhere"])
    train = _function()
    _path(toy, "norms").write_text("x = (")
    with pytest.raises(PipelineError, match=r"norms.py is not Python"):
        _CODE.compute_fingerprint(train)


_SCRIPT = """
import pathlib, sys
from qup.orchestration import *
import toy.plugins

class Data(Artifact): ...

@component
def Painter(data: Out[Data], *, colour: str = "red") -> None:
    toy.plugins.get(colour)
    edit = pathlib.Path("edit")
    if edit.exists():
        pathlib.Path("toy/paint.py").write_text(edit.read_text())

code = Code(packages=("toy",))
metadata = Metadata("root/metadata.sqlite")
LocalRunner("root", metadata, on_event=print, code=code).run([Painter()])
"""


def test_a_script_reruns_what_its_edits_reach(toy):
    script = toy / "script.py"
    script.write_text(_SCRIPT)
    root = pathlib.Path(__file__).parents[2]

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
    _replace(toy, "32", "52")
    assert "reused" in run()
    held = sorted((toy / "root" / "Painter").rglob("*"))
    _replace(toy, "30", "50")
    said = run()
    assert "complete" in said and "reused execution" in run()
    assert "not reused: the code has changed since execution 1, or what it runs on" in said
    assert set(held) < set((toy / "root" / "Painter").rglob("*"))
    # Edited during the execution: it is unknown which code computed the result.
    (toy / "edit").write_text("def mixed(x):\n    return x")
    script.write_text(_SCRIPT.replace("exists()", "exists() or True"))
    before = _path(toy, "paint").read_text()
    assert "code was edited during the execution" in run()
    _path(toy, "paint").write_text(before)
    assert "code was edited during the execution" in run()
    assert "complete" in run() and "reused" in run()
