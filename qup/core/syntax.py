"""Code as one text, whatever its comments, and the names that it reads.

```python
told = read(ast.parse("def area(r: float): return pi * r**2").body[0])
told.text  # without docstrings and annotations
told.names  # [("pi",)]: what is bound outside of it
```
"""

import ast
import dataclasses
import functools
import importlib.util
import linecache
import os
import pathlib
import re
import sys
import time
import types
from collections.abc import Callable, Collection, Iterator

_SYNTAX_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+\.?")
# How they are written, or for which type checker.
_IDLE = {"ctx", "kind", "type_comment", "type_params"}

# A name, and the attributes that are taken of it.
Chain = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Import:
    """A name that is imported.

    Attributes:
      level: Dots in front of the module.
      module: Dotted name of the module behind them.
      name: What is imported from it; None for the module itself, "*" for all.
    """

    level: int
    module: str
    name: str | None = None


@dataclasses.dataclass
class Reading:
    """What `read` found in a tree.

    Attributes:
      text: The tree. Neither comments, formatting and docstrings are in it,
        nor imports, nor annotations of functions without a decorator.
      names: Chains whose first name is bound outside of the tree, in order.
      imported: (import, attributes) of each chain whose first name a
        function or a class in the tree imports.
      lazy: The imports of these functions and classes themselves.
      bound: Names that the tree binds outside of its functions and classes.
      imports: What it imports there, by name, in order.
      words: Every string in it, and the names of keyword arguments.
      dotted: Those strings that may name modules, in order.
      touched: Modules that it imports outside of its functions.
    """

    text: str = ""
    names: list[Chain] = dataclasses.field(default_factory=list)
    imported: list[tuple[Import, Chain]] = dataclasses.field(default_factory=list)
    lazy: list[Import] = dataclasses.field(default_factory=list)
    bound: set[str] = dataclasses.field(default_factory=set)
    imports: dict[str, list[Import]] = dataclasses.field(default_factory=dict)
    words: set[str] = dataclasses.field(default_factory=set)
    dotted: list[str] = dataclasses.field(default_factory=list)
    touched: list[Import] = dataclasses.field(default_factory=list)


def read(tree: ast.AST, *, annotations: bool = False) -> Reading:
    """Returns what a tree holds and reads.

    Args:
      tree: A statement, an expression or a module.
      annotations: Keep those of the outermost function as well.
    """
    reader = _Reader()
    if annotations and isinstance(tree, _SYNTAX_FUNCTIONS):
        reader.function(tree, annotated=True)
    else:
        reader.visit(tree)
    scope, told = reader.scope, reader.told
    told.text = "".join(reader.parts)
    told.names = list(scope.reads)
    told.bound, told.imports = scope.bound, scope.imports
    return told


def written_module(name: str) -> str:
    """Returns how a string that is a dotted name stands in a text."""
    return f"(Constant {name!r})"


class _Scope:
    def __init__(self, parent: "_Scope | None" = None, is_class: bool = False):
        self.parent = parent
        self.is_class = is_class
        self.reads: dict[Chain, None] = {}
        self.bound: set[str] = set()
        self.outside: set[str] = set()
        self.imports: dict[str, list[Import]] = {}


class _Reader:
    """Walks a tree once, writing it and noting names scope by scope."""

    def __init__(self):
        self.parts: list[str] = []
        self.told = Reading()
        self.scope = _Scope()

    def visit(self, node: ast.AST) -> None:
        special = _SPECIAL.get(type(node))
        if special:
            special(self, node)
        else:
            self.fields(node)

    def fields(self, node: ast.AST, without: str = "") -> None:
        """Writes a node field by field; empty ones are left out."""
        write = self.parts.append
        write(f"({type(node).__name__}")
        for field in node._fields:
            value = getattr(node, field, None)
            if value is None or field in _IDLE or field == without:
                continue
            if isinstance(value, list):
                if value:
                    write(f" {field}[")
                    for item in value:
                        self._value(item)
                        write(",")
                    write("]")
            else:
                write(f" {field}=")
                self._value(value)
        write(")")

    def _value(self, value) -> None:
        if isinstance(value, ast.AST):
            self.visit(value)
        else:
            self.parts.append(repr(value))

    def enter(self, *, is_class: bool = False) -> None:
        self.scope = _Scope(self.scope, is_class)

    def leave(self) -> None:
        """Hands what the scope reads and does not bind to the one around."""
        own = self.scope
        outer = own.parent
        while outer.is_class and not own.is_class:
            outer = outer.parent
        # A class's own names are no names of its methods.
        hidden = set() if own.is_class else own.bound - own.outside
        for chain in own.reads:
            for target in own.imports.get(chain[0], ()):
                self.told.imported.append((target, chain[1:]))
            if chain[0] not in hidden:
                outer.reads[chain] = None
        self.scope = own.parent

    def function(self, node, annotated: bool = False) -> None:
        annotated = annotated or bool(node.decorator_list)
        self.scope.bound.add(node.name)
        self.parts.append(f"({type(node).__name__} {node.name}")
        for decorator in node.decorator_list:
            self.parts.append("@")
            self.visit(decorator)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            self.parts.append("=")
            self._value(default)
        arguments = _arguments(node.args)
        for kind, argument in arguments:
            self.parts.append(f" {kind}{argument.arg}")
            if annotated and argument.annotation:
                self.annotation(argument.annotation)
        if annotated and node.returns:
            self.annotation(node.returns)
        self.enter()
        self.scope.bound.update(own.arg for _, own in arguments)
        self._body(node.body)
        self.leave()

    def annotation(self, node: ast.AST) -> None:
        self.parts.append(":")
        self.visit(node)
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                try:
                    inner = ast.parse(part.value, mode="eval")
                except (SyntaxError, ValueError):
                    continue
                self.visit(inner.body)

    def _body(self, body: list[ast.stmt]) -> None:
        self.parts.append("[")
        for statement in body:
            self.visit(statement)
        self.parts.append("])")

    def lambda_(self, node: ast.Lambda) -> None:
        self.parts.append("(Lambda")
        for default in (*node.args.defaults, *node.args.kw_defaults):
            self.parts.append("=")
            self._value(default)
        arguments = _arguments(node.args)
        self.parts += [f" {kind}{own.arg}" for kind, own in arguments]
        self.enter()
        self.scope.bound.update(own.arg for _, own in arguments)
        self._body([node.body])
        self.leave()

    def class_(self, node: ast.ClassDef) -> None:
        self.scope.bound.add(node.name)
        self.parts.append(f"(ClassDef {node.name}")
        for part in (*node.decorator_list, None, *node.bases, *node.keywords):
            self._value(part)
        self.enter(is_class=True)
        self._body(node.body)
        self.leave()

    def comprehension(self, node: ast.AST) -> None:
        self.enter()
        self.fields(node)
        self.leave()

    def name(self, node: ast.Name) -> None:
        self.parts.append(f"(Name {node.id})")
        if isinstance(node.ctx, ast.Load):
            self.scope.reads[(node.id,)] = None
        else:
            self.scope.bound.add(node.id)

    def attribute(self, node: ast.Attribute) -> None:
        chain = [node.attr]
        root = node.value
        while isinstance(root, ast.Attribute):
            chain.append(root.attr)
            root = root.value
        if not isinstance(root, ast.Name):
            self.fields(node)
            return
        chain.append(root.id)
        chain.reverse()
        self.parts.append(f"(Attribute {'.'.join(chain)})")
        self.scope.reads[tuple(chain)] = None

    def constant(self, node: ast.Constant) -> None:
        self.parts.append(f"(Constant {node.value!r})")
        if isinstance(node.value, str):
            self.told.words.add(node.value)
            if _DOTTED.fullmatch(node.value):
                self.told.dotted.append(node.value)

    def keyword(self, node: ast.keyword) -> None:
        if node.arg:
            self.told.words.add(node.arg)
        self.fields(node)

    def expression(self, node: ast.Expr) -> None:
        value = node.value
        text = isinstance(value, ast.Constant) and isinstance(value.value, str)
        if not text:
            self.fields(node)

    def annotated(self, node: ast.AnnAssign) -> None:
        if self.scope.is_class:
            self.parts.append("(Field ")
            self.visit(node.target)
            self.annotation(node.annotation)
            self._value(node.value)
            self.parts.append(")")
        elif node.value is not None:
            targets = ast.Assign([node.target], node.value)
            self.visit(targets)
        elif isinstance(node.target, ast.Name):
            # A local name all the same.
            self.scope.bound.add(node.target.id)

    def augmented(self, node: ast.AugAssign) -> None:
        self.fields(node)
        if isinstance(node.target, ast.Name):
            self.scope.reads[(node.target.id,)] = None

    def outside(self, node: ast.Global | ast.Nonlocal) -> None:
        self.fields(node)
        self.scope.outside.update(node.names)
        for name in node.names:
            self.scope.reads[(name,)] = None

    def binder(self, node: ast.AST) -> None:
        """Handles except ... as name, and the patterns of match."""
        name = getattr(node, "name", None) or getattr(node, "rest", None)
        if name:
            self.scope.bound.add(name)
        self.fields(node)

    def import_(self, node: ast.Import) -> None:
        for alias in node.names:
            whole = Import(0, alias.name)
            top = Import(0, alias.name.partition(".")[0])
            bound = alias.asname or top.module
            self._import(bound, whole if alias.asname else top, whole)

    def import_from(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            target = Import(node.level, node.module or "", alias.name)
            self._import(alias.asname or alias.name, target, target)

    def _import(self, bound: str, target: Import, touched: Import) -> None:
        self.scope.bound.add(bound)
        held = self.scope.imports.setdefault(bound, [])
        if target not in held:
            held.append(target)
        if self.scope.parent is None:
            self.told.touched.append(touched)
        else:
            self.told.lazy.append(touched)


def _arguments(args: ast.arguments) -> list[tuple[str, ast.arg]]:
    """Returns every argument, with a sign for its kind."""
    found = [("/", own) for own in args.posonlyargs]
    found += [("", own) for own in args.args]
    found += [("*", own) for own in [args.vararg] if own]
    found += [("=", own) for own in args.kwonlyargs]
    return found + [("**", own) for own in [args.kwarg] if own]


_SPECIAL: dict[type, Callable] = {
    **dict.fromkeys(_SYNTAX_FUNCTIONS, _Reader.function),
    ast.Lambda: _Reader.lambda_,
    ast.ClassDef: _Reader.class_,
    ast.ListComp: _Reader.comprehension,
    ast.SetComp: _Reader.comprehension,
    ast.DictComp: _Reader.comprehension,
    ast.GeneratorExp: _Reader.comprehension,
    ast.Name: _Reader.name,
    ast.Attribute: _Reader.attribute,
    ast.Constant: _Reader.constant,
    ast.keyword: _Reader.keyword,
    ast.Expr: _Reader.expression,
    ast.AnnAssign: _Reader.annotated,
    ast.AugAssign: _Reader.augmented,
    ast.Global: _Reader.outside,
    ast.Nonlocal: _Reader.outside,
    ast.ExceptHandler: _Reader.binder,
    ast.MatchAs: _Reader.binder,
    ast.MatchStar: _Reader.binder,
    ast.MatchMapping: _Reader.binder,
    ast.Import: _Reader.import_,
    ast.ImportFrom: _Reader.import_from,
}


@functools.lru_cache(maxsize=4096)
def parsed(source: bytes) -> ast.Module:
    """Returns the tree of a file's content.

    Raises:
      SyntaxError: It is no Python.
      ValueError: It holds a null byte.
    """
    return ast.parse(source)


# Modules as they lie on the disk: what each statement binds, unexecuted.
#
# ```python
# module = Finder(("qup",)).module("qup.core.norms")
# module.bindings["project"]  # its statements and imports of that name
# ```


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
        return read(self.tree)

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
    for node in parsed(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            reading = read(node)
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


# The syntax tree that a function was compiled from.
#
# ```python
# tree = tree_of(lambda x: x + 1)  # an ast.Lambda, or None
# ```


# Of `from __future__ import annotations` and the like.
_FUTURE = 0x1FE0000
_SOURCES_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def tree_of(function: types.FunctionType) -> ast.AST | None:
    """Returns the tree of a function or a lambda.

    Returns:
      None where there is no source, as for `exec` and lambdas of a Python
      prompt, or where it was edited since: it compiles to other code.
    """
    code = function.__code__
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)
    try:
        compiled = _compiled("".join(lines), code.co_flags & _FUTURE)
        tree = parsed("".join(lines).encode())
    except (SyntaxError, ValueError):
        return None
    if not any(_same(code, other) for other in compiled):
        return None
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, _SOURCES_FUNCTIONS) and _holds(node, code)
    ]
    # Of lambdas within lambdas the innermost.
    return found[-1] if found else None


@functools.lru_cache(maxsize=64)
def _compiled(source: str, flags: int) -> list[types.CodeType]:
    whole = compile(source, "<source>", "exec", flags, dont_inherit=True)
    return list(_inner(whole))


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _inner(constant)


def _same(one: types.CodeType, other: types.CodeType) -> bool:
    return (
        one.co_firstlineno == other.co_firstlineno
        and one.co_qualname == other.co_qualname
        and one.co_code == other.co_code
        and one.co_names == other.co_names
        and _plain(one) == _plain(other)
        and list(one.co_positions()) == list(other.co_positions())
    )


def _plain(code: types.CodeType) -> list[str]:
    constants = code.co_consts
    return [repr(c) for c in constants if not isinstance(c, types.CodeType)]


def _holds(node: ast.AST, code: types.CodeType) -> bool:
    """Returns whether a tree is where the code was compiled from."""
    if not isinstance(node, ast.Lambda):
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        return (node.name, first) == (code.co_name, code.co_firstlineno)
    if (code.co_name, code.co_firstlineno) != ("<lambda>", node.lineno):
        return False
    body = node.body
    start = (body.lineno, body.col_offset)
    end = (body.end_lineno, body.end_col_offset)
    places = [
        place
        for place in code.co_positions()
        # The first instructions stand for no expression.
        if None not in place and place[2:] != (0, 0)
    ]
    return bool(places) and all(
        start <= (line, column) and (end_line, end_column) <= end
        for line, end_line, column, end_column in places
    )
