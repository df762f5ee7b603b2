"""Modules as they lie on the disk: what each statement binds, unexecuted.

```python
module = Finder(("qup",)).module("qup.norms")
module.bindings["project"]  # its statements and imports of that name
```
"""

import ast
import dataclasses
import functools
import importlib.util
import os
import pathlib
import re
import sys
import time
from collections.abc import Collection, Iterator

from qup.core import syntax
from qup.core.syntax import Import, Reading

# A change within one tick of the file system's clock leaves no other mtime.
_TICK_NS = 50_000_000
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class CodeError(ValueError):
    """Code cannot be identified; the message says how to mend it."""


class Statement:
    """A statement of a module that is neither an import nor a docstring.

    Attributes:
      tree: The statement.
      place: Its place among the module's statements.
      effect: Whether it counts as soon as the module does: whatever is no
        definition, no plain assignment, or binds a name a second time.
    """

    def __init__(self, tree: ast.stmt, place: int):
        """Looks what kind of statement it is."""
        self.tree = tree
        self.place = place
        self.effect = not (self.defines or self.assigns)
        if self.assigns and self.reading.bound <= {"_"}:
            self.effect = True

    @property
    def defines(self) -> bool:
        """Whether it is a function or a class."""
        return isinstance(self.tree, _DEFINITIONS)

    @property
    def assigns(self) -> bool:
        """Whether it gives values to plain names, and does nothing else."""
        if isinstance(self.tree, ast.AnnAssign):
            return isinstance(self.tree.target, ast.Name)
        return isinstance(self.tree, ast.Assign) and all(
            isinstance(part, ast.Name | ast.Tuple | ast.List | ast.Starred)
            for target in self.tree.targets
            for part in _parts(target)
        )

    @functools.cached_property
    def reading(self) -> Reading:
        """What it holds, see `syntax.read`."""
        return syntax.read(self.tree)

    @property
    def bound(self) -> Collection[str]:
        """The names that it binds."""
        return (self.tree.name,) if self.defines else self.reading.bound


def _parts(target: ast.expr) -> Iterator[ast.expr]:
    yield target
    if isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            yield from _parts(part)


@dataclasses.dataclass(frozen=True)
class Outline:
    """A module's statements.

    Attributes:
      statements: All but imports and docstrings.
      bindings: What binds a name, in order.
      touched: What is imported outside of functions, in order.
      unused: Those whose names stand nowhere else in the file.
    """

    statements: list[Statement]
    bindings: dict[str, list[Statement | Import]]
    touched: list[Import]
    unused: list[Import]


@functools.lru_cache(maxsize=4096)
def _outline(source: bytes) -> Outline:
    outline = Outline([], {}, [], [])
    for node in syntax.parsed(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            reading = syntax.read(node)
            outline.unused.extend(_unused(reading, source))
        elif _idle(node):
            continue
        else:
            statement = Statement(node, len(outline.statements))
            outline.statements.append(statement)
            imported = () if statement.defines else statement.reading.imports
            for name in statement.bound:
                if name not in imported:
                    outline.bindings.setdefault(name, []).append(statement)
            if statement.defines:
                continue
            reading = statement.reading
        for name, targets in reading.imports.items():
            outline.bindings.setdefault(name, []).extend(targets)
        outline.touched.extend(reading.touched)
    for held in outline.bindings.values():
        several = len(held) > 1
        for one in held:
            if several and isinstance(one, Statement):
                one.effect = True
    return outline


def _unused(reading: Reading, source: bytes) -> Iterator[Import]:
    """Yields imports of other packages whose names stand but once."""
    for name, targets in reading.imports.items():
        top = targets[0].module.partition(".")[0]
        own = targets[0].level or name == "*"
        if own or top in sys.stdlib_module_names:
            continue
        word = name.encode()
        if word + b"." not in source and len(re.findall(rb"\b" + word + rb"\b", source)) < 2:
            yield from targets


def _idle(node: ast.stmt) -> bool:
    """Returns whether a statement does nothing: texts, bare annotations."""
    if isinstance(node, ast.AnnAssign):
        return node.value is None
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@dataclasses.dataclass(eq=False)
class Module:
    """A module of the packages that count.

    Attributes:
      name: Its dotted name.
      folder: Where its submodules lie; None if it is no package.
      outline: Its statements.
    """

    name: str
    folder: pathlib.Path | None
    outline: Outline

    @functools.cached_property
    def mentioned(self) -> frozenset[str]:
        """The names that occur in its effects."""
        found = set()
        for statement in self.outline.statements:
            if statement.effect:
                found |= statement.reading.bound
                found |= {chain[0] for chain in statement.reading.names}
        return frozenset(found)

    @property
    def bindings(self) -> dict[str, list[Statement | Import]]:
        """What binds a name, in order."""
        return self.outline.bindings

    def absolute(self, imported: Import) -> str:
        """Returns the full name of the module that is imported from."""
        if not imported.level:
            return imported.module
        parts = self.name.split(".")
        up = imported.level - (self.folder is not None)
        base = parts[: len(parts) - up] if up < len(parts) else []
        return ".".join([*base, *filter(None, [imported.module])])


class Finder:
    """Finds modules, and knows whether the files are still what they were."""

    def __init__(self, packages: Collection[str], extra: tuple[str, pathlib.Path] | None = None):
        """Finds nothing yet.

        Args:
          packages: Modules of and below these are found.
          extra: Name and file of one more.
        """
        self._packages = tuple(packages)
        self._extra = extra
        self._found: dict[str, Module | None] = {}
        self._tops: dict[str, tuple[pathlib.Path, ...]] = {}
        self._files: dict[pathlib.Path, tuple | None] = {}
        self._folders: dict[pathlib.Path, tuple] = {}

    def counts(self, name: str) -> bool:
        """Returns whether a module of this name would be looked for."""
        extra = self._extra is not None and name == self._extra[0]
        return extra or below(name, self._packages)

    def module(self, name: str) -> Module | None:
        """Returns a module, or None where there is none.

        Raises:
          CodeError: Its file cannot be read, or is no Python.
        """
        if name not in self._found:
            self._found[name] = self._sought(name) if name else None
        return self._found[name]

    def inside(self, package: Module) -> list[str]:
        """Returns the names of all modules below a package, sorted."""
        names = []
        for part in self._listed(package.folder) if package.folder else ():
            stem, _, end = part.partition(".")
            name = f"{package.name}.{stem}"
            if end not in ("", "py") or stem == "__init__":
                continue
            module = self.module(name) if stem.isidentifier() else None
            if module is not None and name not in names:
                names += [name, *self.inside(module)]
        return sorted(names)

    def current(self) -> bool:
        """Returns whether all that was found lies there unchanged."""
        return (
            all(_top(name) == held for name, held in self._tops.items())
            and all(
                held is not None and _signature(path) == held for path, held in self._files.items()
            )
            and all(_listing(folder) == held for folder, held in self._folders.items())
        )

    def _listed(self, folder: pathlib.Path) -> tuple[str, ...]:
        if folder not in self._folders:
            self._folders[folder] = _listing(folder)
        return self._folders[folder]

    def _sought(self, name: str) -> Module | None:
        if self._extra and name == self._extra[0]:
            return self._read(name, self._extra[1], None)
        parent, _, last = name.rpartition(".")
        if not parent:
            if name not in self._tops:
                self._tops[name] = _top(name)
            places = self._tops[name]
            for place in places:
                if place.is_file():
                    package = place.name == "__init__.py"
                    folder = place.parent if package else None
                    return self._read(name, place, folder)
            return next((_empty(name, p) for p in places if p.is_dir()), None)
        above = self.module(parent)
        if above is None or above.folder is None:
            return None
        listed = self._listed(above.folder)
        place = above.folder / last
        if last in listed and "__init__.py" in self._listed(place):
            return self._read(name, place / "__init__.py", place)
        if f"{last}.py" in listed:
            return self._read(name, above.folder / f"{last}.py", None)
        return _empty(name, place) if last in listed else None

    def _read(self, name: str, path: pathlib.Path, folder: pathlib.Path | None) -> Module:
        try:
            self._files[path] = _signature(path, time.time_ns())
            outline = _outline(path.read_bytes())
        except OSError as error:
            raise CodeError(
                f"{path} cannot be read: {error.strerror or error}. Give access to it."
            ) from error
        except (SyntaxError, ValueError) as error:
            raise CodeError(f"{path} is no Python: {error}. Correct it.") from error
        return Module(name, folder, outline)


def below(name: str, packages: Collection[str]) -> bool:
    """Returns whether a module is one of some packages, or lies in one."""
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def _empty(name: str, folder: pathlib.Path) -> Module:
    """Returns a package without __init__.py."""
    return Module(name, folder, Outline([], {}, [], []))


def _top(name: str) -> tuple[pathlib.Path, ...]:
    """Returns where a top-level module or package lies, unimported."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return ()
    if spec is None:
        return ()
    if spec.origin and spec.origin.endswith(".py"):
        return (pathlib.Path(spec.origin),)
    return tuple(map(pathlib.Path, spec.submodule_search_locations or ()))


def _signature(path: pathlib.Path, now: int | None = None) -> tuple | None:
    """Returns what a change changes; None of a file that is too young."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if now is not None and now - status.st_mtime_ns < _TICK_NS:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _listing(folder: pathlib.Path) -> tuple[str, ...]:
    """Returns the names in a folder that may be modules."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return ()
    return tuple(
        name for name in names if name.removesuffix(".py").isidentifier() and name != "__pycache__"
    )
