"""Imports run downward only: the twelve rooms of the library and the application."""

import ast
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
# Rooms of one set may not import one another; a room may import those of the
# sets before it. The library ends before orchestration and pipelines.
_LEVELS = (
    {"core"},
    {"datasets", "models", "attacks", "orchestration"},
    {"training", "robustness", "uncertainty"},
    {"augmentation"},
    {"pipelines"},
    {"reproduction"},
    {"cli"},
)
_APPLICATION = {"orchestration", "pipelines", "reproduction", "cli"}
_ROOMS = [room for level in _LEVELS for room in level]
_LEVEL = {room: i for i, level in enumerate(_LEVELS) for room in level}
_FILES = sorted((_ROOT / "qup").rglob("*.py"))


def _find_room(path: pathlib.Path) -> str:
    return path.relative_to(_ROOT / "qup").parts[0].removesuffix(".py")


def _find_imports(path: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_there_are_twelve_rooms():
    rooms = {path.name for path in (_ROOT / "qup").iterdir() if any(path.glob("*.py"))}
    assert rooms == set(_ROOMS) and len(rooms) == 12


@pytest.mark.parametrize("path", _FILES, ids=lambda p: str(p.relative_to(_ROOT)))
def test_imports_run_downward(path):
    room = _find_room(path)
    for name in _find_imports(path):
        parts = name.split(".")
        assert parts[0] not in ("bin", "configs", "tests", "benchmarks"), name
        assert name != "absl.flags" or room == "cli", "only qup.cli defines flags"
        if parts[0] == "qup" and len(parts) > 1 and parts[1] in _LEVEL and room in _LEVEL:
            assert parts[1] == room or _LEVEL[parts[1]] < _LEVEL[room], (path, name)


@pytest.mark.parametrize("path", _FILES, ids=lambda p: str(p.relative_to(_ROOT)))
def test_the_library_does_not_know_the_application(path):
    room = _find_room(path)
    if room in _APPLICATION or room not in _LEVEL:
        return
    for name in _find_imports(path):
        parts = name.split(".")
        assert parts[0] != "qup" or len(parts) < 2 or parts[1] not in _APPLICATION, (path, name)


def test_only_gradients_opens_a_tape_on_inputs():
    tapes = {
        str(path.relative_to(_ROOT / "qup")) for path in _FILES if "tape.watch(" in path.read_text()
    }
    assert tapes == {"core/gradients.py"}
