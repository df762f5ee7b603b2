"""Python code as normalized text, with the names that it reads; modules as lists of statements.

```python
summary = summarize(ast.parse("def area(r: float): return pi * r**2").body[0])
summary.text  # without comments, formatting, docstrings and annotations
summary.names  # [("pi",)]: what is bound outside of it
SourceTree(scan_modules(("qup",))).get_module("qup.core.norms").bindings["project"]
```
"""

import ast
import contextlib
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
from collections.abc import Collection, Iterator
from typing import NamedTuple

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+\.?")
# Fields of syntax trees that say how code is written, or address type checkers.
_IGNORED_FIELDS = {"ctx", "kind", "type_comment", "type_params"}

# A name, and the attributes that are taken of it.
Chain = tuple[str, ...]


class CodeError(ValueError):
    """Code cannot be identified; the message says how to fix it."""


class Import(NamedTuple):
    """A name that is imported.

    Attributes:
      level: Number of dots before the module.
      module: Dotted name of the module after them.
      name: What is imported from it; None for the module itself, "*" for all.
    """

    level: int
    module: str
    name: str | None = None


@dataclasses.dataclass
class Summary:
    """What a syntax tree contains and reads.

    Attributes:
      text: The tree, without comments, formatting, docstrings, imports, and without annotations of
        functions that have no decorator.
      names: Chains whose first name is bound outside of the tree, in order.
      bound: Names that the tree binds outside of its functions and classes.
      imports: What it imports there, by bound name, in order.
      imported_modules: All imports outside of functions and classes, in order.
      inner_imports: All imports within functions and classes, in order.
      inner_uses: (import, attributes) of each chain whose first name comes from an inner import.
      strings: All strings in it, and the names of keyword arguments.
      dotted_strings: Those strings that may name modules, in order.
    """

    text: str = ""
    names: list[Chain] = dataclasses.field(default_factory=list)
    bound: set[str] = dataclasses.field(default_factory=set)
    imports: dict[str, list[Import]] = dataclasses.field(default_factory=dict)
    imported_modules: list[Import] = dataclasses.field(default_factory=list)
    inner_imports: list[Import] = dataclasses.field(default_factory=list)
    inner_uses: list[tuple[Import, Chain]] = dataclasses.field(default_factory=list)
    strings: set[str] = dataclasses.field(default_factory=set)
    dotted_strings: list[str] = dataclasses.field(default_factory=list)


def summarize(tree: ast.AST, *, keep_annotations: bool = False) -> Summary:
    """Returns the summary of a statement, an expression or a module.

    Args:
      tree: The syntax tree.
      keep_annotations: Whether those of the outermost function count as well.
    """
    reader = _Reader()
    if keep_annotations and isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
        reader.visit_FunctionDef(tree, keep_annotations=True)
    else:
        reader.visit(tree)
    summary, scope = reader.summary, reader.scope
    summary.text = "".join(reader.parts)
    summary.names, summary.bound, summary.imports = list(scope.reads), scope.bound, scope.imports
    return summary


def format_string(value: str) -> str:
    """Returns a string constant as it appears in `Summary.text`."""
    return f"(Constant {value!r})"


def get_chain(node: ast.AST) -> Chain | None:
    """Returns a name and its attributes; None for any other expression."""
    attributes = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else None


class _Scope:
    def __init__(self, parent: "_Scope | None" = None, is_class: bool = False):
        self.parent = parent
        self.is_class = is_class
        self.reads: dict[Chain, None] = {}
        self.bound: set[str] = set()
        self.declared_outside: set[str] = set()
        self.imports: dict[str, list[Import]] = {}


class _Reader(ast.NodeVisitor):
    """Writes a tree as text and collects names, scope by scope."""

    def __init__(self):
        self.parts: list[str] = []
        self.summary = Summary()
        self.scope = _Scope()

    def generic_visit(self, node: ast.AST) -> None:
        """Writes a node field by field, without empty fields."""
        self.parts.append(f"({type(node).__name__}")
        for field, value in ast.iter_fields(node):
            if value is not None and value != [] and field not in _IGNORED_FIELDS:
                self.parts.append(f" {field}=")
                self._write(value)
        self.parts.append(")")

    def _write(self, value) -> None:
        if isinstance(value, ast.AST):
            self.visit(value)
        elif isinstance(value, list):
            self.parts.append("[")
            for item in value:
                self._write(item)
                # Docstrings and imports write nothing, so they must not count either.
                if not isinstance(item, ast.stmt):
                    self.parts.append(",")
            self.parts.append("]")
        else:
            self.parts.append(repr(value))

    @contextlib.contextmanager
    def _open_scope(self, *, is_class: bool = False) -> Iterator[_Scope]:
        scope = self.scope = _Scope(self.scope, is_class)
        yield scope
        self.scope = outer = scope.parent
        while outer.is_class and not is_class:
            outer = outer.parent
        # Methods do not see the names of their class.
        hidden = set() if is_class else scope.bound - scope.declared_outside
        for chain in scope.reads:
            self.summary.inner_uses += [
                (imported, chain[1:]) for imported in scope.imports.get(chain[0], ())
            ]
            if chain[0] not in hidden:
                outer.reads[chain] = None

    def visit_FunctionDef(self, node, keep_annotations: bool = False) -> None:
        name, decorators = getattr(node, "name", ""), getattr(node, "decorator_list", [])
        arguments = _list_arguments(node.args)
        if name:
            self.scope.bound.add(name)
        signature = " ".join(f"{kind}{argument.arg}" for kind, argument in arguments)
        self.parts.append(f"({type(node).__name__} {name}({signature})")
        self._write([*decorators, None, *node.args.defaults, *node.args.kw_defaults])
        if keep_annotations or decorators:
            for annotation in (*(a.annotation for _, a in arguments), node.returns):
                self._write_annotation(annotation)
        with self._open_scope() as scope:
            scope.bound.update(argument.arg for _, argument in arguments)
            self._write(node.body)
        self.parts.append(")")

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.scope.bound.add(node.name)
        self.parts.append(f"(ClassDef {node.name}")
        self._write([*node.decorator_list, None, *node.bases, *node.keywords])
        with self._open_scope(is_class=True):
            self._write(node.body)
        self.parts.append(")")

    def _write_annotation(self, annotation: ast.expr | None) -> None:
        """Writes an annotation, and what its strings mean."""
        self.parts.append(":")
        self._write(annotation)
        for part in ast.walk(annotation) if annotation else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                with contextlib.suppress(SyntaxError, ValueError):
                    self.visit(ast.parse(part.value, mode="eval").body)

    def _visit_comprehension(self, node: ast.AST) -> None:
        with self._open_scope():
            self.generic_visit(node)

    visit_ListComp = visit_SetComp = visit_DictComp = _visit_comprehension  # noqa: N815
    visit_GeneratorExp = _visit_comprehension  # noqa: N815

    def visit_Name(self, node: ast.Name) -> None:
        self.parts.append(f"(Name {node.id})")
        if isinstance(node.ctx, ast.Load):
            self.scope.reads[(node.id,)] = None
        else:
            self.scope.bound.add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = get_chain(node)
        if chain is None:
            self.generic_visit(node)
        else:
            self.parts.append(f"(Attribute {'.'.join(chain)})")
            self.scope.reads[chain] = None

    def visit_Constant(self, node: ast.Constant) -> None:
        self.parts.append(format_string(node.value))
        if isinstance(node.value, str):
            self.summary.strings.add(node.value)
            if _DOTTED.fullmatch(node.value):
                self.summary.dotted_strings.append(node.value)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg:
            self.summary.strings.add(node.arg)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not _is_docstring(node):
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if self.scope.is_class:
            self.parts.append("(Field ")
            self.visit(node.target)
            self._write_annotation(node.annotation)
            self._write(node.value)
            self.parts.append(")")
        elif node.value is not None:
            self.visit(ast.Assign([node.target], node.value))
        elif isinstance(node.target, ast.Name):
            self.scope.bound.add(node.target.id)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name):
            self.scope.reads[(node.target.id,)] = None

    def _visit_declaration(self, node: ast.Global | ast.Nonlocal) -> None:
        self.generic_visit(node)
        self.scope.declared_outside.update(node.names)
        self.scope.reads.update({(name,): None for name in node.names})

    visit_Global = visit_Nonlocal = _visit_declaration  # noqa: N815

    def _visit_binder(self, node: ast.AST) -> None:
        name = getattr(node, "name", None) or getattr(node, "rest", None)
        if name:
            self.scope.bound.add(name)
        self.generic_visit(node)

    visit_ExceptHandler = visit_MatchAs = visit_MatchStar = _visit_binder  # noqa: N815
    visit_MatchMapping = _visit_binder  # noqa: N815

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            module = Import(0, alias.name)
            top = Import(0, alias.name.partition(".")[0])
            self._add_import(alias.asname or top.module, module if alias.asname else top, module)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            imported = Import(node.level, node.module or "", alias.name)
            self._add_import(alias.asname or alias.name, imported, imported)

    def _add_import(self, name: str, imported: Import, module: Import) -> None:
        self.scope.bound.add(name)
        imports = self.scope.imports.setdefault(name, [])
        if imported not in imports:
            imports.append(imported)
        is_inner = self.scope.parent is not None
        (self.summary.inner_imports if is_inner else self.summary.imported_modules).append(module)


def _list_arguments(args: ast.arguments) -> list[tuple[str, ast.arg]]:
    """Returns all arguments, each with a sign for its kind."""
    return [
        *(("/", argument) for argument in args.posonlyargs),
        *(("", argument) for argument in args.args),
        *(("*", argument) for argument in [args.vararg] if argument),
        *(("=", argument) for argument in args.kwonlyargs),
        *(("**", argument) for argument in [args.kwarg] if argument),
    ]


def _is_docstring(node: ast.stmt) -> bool:
    value = getattr(node, "value", None)
    return (
        isinstance(node, ast.Expr)
        and isinstance(value, ast.Constant)
        and isinstance(value.value, str)
    )


class Statement:
    """A statement of a module that is neither an import nor a docstring.

    Attributes:
      tree: The statement.
      index: Its index among the module's statements.
      has_effect: Whether it counts as soon as the module does: it is neither a definition
        nor a plain assignment, or it binds a name a second time.
    """

    def __init__(self, tree: ast.stmt, index: int):
        """Finds out what kind of statement it is."""
        self.tree = tree
        self.index = index
        self.has_effect = not (self.is_definition or self.is_assignment)
        if self.is_assignment and self.summary.bound <= {"_"}:
            self.has_effect = True

    @property
    def is_definition(self) -> bool:
        """Whether it is a function or a class."""
        return isinstance(self.tree, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)

    @property
    def is_assignment(self) -> bool:
        """Whether it gives values to plain names, and does nothing else."""
        tree = self.tree
        if isinstance(tree, ast.AnnAssign):
            return isinstance(tree.target, ast.Name)
        return isinstance(tree, ast.Assign) and all(map(_is_plain_target, tree.targets))

    @functools.cached_property
    def summary(self) -> Summary:
        """Its summary; see `summarize`."""
        return summarize(self.tree)

    @property
    def bound(self) -> Collection[str]:
        """The names that it binds."""
        return (self.tree.name,) if self.is_definition else self.summary.bound


def _is_plain_target(target: ast.expr) -> bool:
    if isinstance(target, ast.Tuple | ast.List):
        return all(map(_is_plain_target, target.elts))
    return isinstance(target, ast.Name | ast.Starred)


@dataclasses.dataclass(eq=False)
class Module:
    """A module, as its file is on the disk.

    Attributes:
      name: Its dotted name.
      is_package: Whether it has submodules.
      statements: All statements except imports and docstrings.
      bindings: What binds a name, in order.
      imports: What is imported outside of functions, in order.
      unused_imports: Imports of other distributions whose names occur only once in the file.
    """

    name: str
    is_package: bool
    statements: list[Statement] = dataclasses.field(default_factory=list)
    bindings: dict[str, list[Statement | Import]] = dataclasses.field(default_factory=dict)
    imports: list[Import] = dataclasses.field(default_factory=list)
    unused_imports: list[Import] = dataclasses.field(default_factory=list)

    @functools.cached_property
    def names_in_effects(self) -> frozenset[str]:
        """The names that its statements with effects bind or read."""
        summaries = [s.summary for s in self.statements if s.has_effect]
        names = (name for s in summaries for name in (*s.bound, *(chain[0] for chain in s.names)))
        return frozenset(names)

    def resolve_module(self, imported: Import) -> str:
        """Returns the full name of the module that is imported from."""
        if not imported.level:
            return imported.module
        parts = self.name.split(".")
        num_kept = len(parts) - imported.level + self.is_package
        return ".".join([*parts[: max(num_kept, 0)], *filter(None, [imported.module])])


@functools.lru_cache(maxsize=4096)
def _parse_module(name: str, is_package: bool, source: bytes) -> Module:
    module = Module(name, is_package)
    for node in _parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            summary = summarize(node)
            module.unused_imports += _find_unused_imports(summary, source)
        elif _is_docstring(node) or (isinstance(node, ast.AnnAssign) and node.value is None):
            continue
        else:
            statement = Statement(node, len(module.statements))
            module.statements.append(statement)
            imported = () if statement.is_definition else statement.summary.imports
            for bound in statement.bound:
                if bound not in imported:
                    module.bindings.setdefault(bound, []).append(statement)
            if statement.is_definition:
                continue
            summary = statement.summary
        for bound, imports in summary.imports.items():
            module.bindings.setdefault(bound, []).extend(imports)
        module.imports += summary.imported_modules
    for bindings in module.bindings.values():
        for binding in bindings if len(bindings) > 1 else ():
            if isinstance(binding, Statement):
                binding.has_effect = True
    return module


@functools.lru_cache(maxsize=4096)
def _parse(source: bytes) -> ast.Module:
    return ast.parse(source)


def _find_unused_imports(summary: Summary, source: bytes) -> Iterator[Import]:
    for name, imports in summary.imports.items():
        top = imports[0].module.partition(".")[0]
        if imports[0].level or name == "*" or top in sys.stdlib_module_names:
            continue
        word = name.encode()
        if word + b"." not in source and len(re.findall(rb"\b" + word + rb"\b", source)) < 2:
            yield from imports


# A change within one tick of the file system's clock leaves the same modification time.
_CLOCK_TICK_NS = 50_000_000


class ModuleFile(NamedTuple):
    """The file of a module.

    Attributes:
      name: Dotted name.
      path: Its file; "" for a package without `__init__.py`.
      is_package: Whether it has submodules.
      version: Changes with the file.
    """

    name: str
    path: str
    is_package: bool
    version: tuple[int, ...] = ()


def scan_modules(packages: Collection[str]) -> tuple[ModuleFile, ...]:
    """Returns the files of all modules of and below some packages, without importing any."""
    files: dict[str, ModuleFile] = {}
    for package in packages:
        top, *parts = package.split(".")
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            continue
        for location in (spec and spec.submodule_search_locations) or ():
            folder = os.path.join(location, *parts)
            if os.path.isdir(folder):
                _scan_folder(package, folder, files, frozenset())
            elif os.path.isfile(f"{folder}.py"):
                files.setdefault(package, make_module_file(package, f"{folder}.py"))
        if spec and not parts and (spec.origin or "").endswith(".py"):
            files.setdefault(top, make_module_file(top, spec.origin))
    return tuple(files.values())


def _scan_folder(
    package: str, folder: str, files: dict[str, ModuleFile], ancestors: frozenset[str]
) -> None:
    try:
        children = set(os.listdir(folder))
    except OSError:
        children = set()
    init = f"{folder}/__init__.py" if "__init__.py" in children else ""
    files.setdefault(package, make_module_file(package, init, is_package=True))
    ancestors |= {os.path.realpath(folder)}
    for stem in sorted({child.removesuffix(".py") for child in children} - {"__init__"}):
        if not stem.isidentifier() or stem == "__pycache__":
            continue
        name, path, is_file = f"{package}.{stem}", f"{folder}/{stem}", f"{stem}.py" in children
        is_folder = stem in children and os.path.isdir(path)
        # A file takes precedence over a folder without __init__.py. Links can form a circle.
        if is_folder and (not is_file or os.path.isfile(f"{path}/__init__.py")):
            if os.path.realpath(path) not in ancestors:
                _scan_folder(name, path, files, ancestors)
        elif is_file:
            files.setdefault(name, make_module_file(name, f"{path}.py"))


def make_module_file(name: str, path: str, *, is_package: bool = False) -> ModuleFile:
    """Returns the description of a module's file as it is now."""
    version, now = (), time.time_ns()
    if path:
        try:
            status = os.stat(path)
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            version = (now,)
        if now - version[0] < _CLOCK_TICK_NS:
            version += (now,)
    return ModuleFile(name, path, is_package, version)


class SourceTree:
    """The modules of some packages, read when they are first needed."""

    def __init__(self, files: Collection[ModuleFile]):
        """Reads nothing yet."""
        self.files = {file.name: file for file in files}
        self._modules: dict[str, Module] = {}

    def get_module(self, name: str) -> Module:
        """Returns a module of `files`.

        Raises:
          CodeError: Its file cannot be read, or is not Python.
        """
        if name not in self._modules:
            file = self.files[name]
            try:
                source = pathlib.Path(file.path).read_bytes() if file.path else b""
                self._modules[name] = _parse_module(name, file.is_package, source)
            except OSError as error:
                raise CodeError(
                    f"Cannot read {file.path}: {error.strerror or error}. Check its permissions."
                ) from error
            except (SyntaxError, ValueError) as error:
                raise CodeError(f"{file.path} is not Python: {error}. Correct it.") from error
        return self._modules[name]


def is_below(name: str, packages: Collection[str]) -> bool:
    """Returns whether a module is one of some packages, or in one of them."""
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


# The flags of `from __future__ import ...`.
_FUTURE_FLAGS = 0x1FE0000


def find_tree(function: types.FunctionType) -> ast.AST | None:
    """Returns the syntax tree that a function or a lambda was compiled from.

    Returns:
      None where there is no source, as after `exec` and for lambdas at a Python prompt, or where
      the source was edited since: it compiles to other code.
    """
    code = function.__code__
    linecache.checkcache(code.co_filename)
    source = "".join(linecache.getlines(code.co_filename, function.__globals__))
    try:
        compiled = _compile(source, code.co_flags & _FUTURE_FLAGS)
        tree = _parse(source.encode())
    except (SyntaxError, ValueError):
        return None
    if code not in compiled:
        return None
    nodes = [node for node in ast.walk(tree) if _is_compiled_from(code, node)]
    # Of nested lambdas the innermost comes last.
    return nodes[-1] if nodes else None


@functools.lru_cache(maxsize=64)
def _compile(source: str, flags: int) -> set[types.CodeType]:
    """Returns the code of all functions and classes in a source."""
    codes, pending = set(), [compile(source, "<source>", "exec", flags, dont_inherit=True)]
    while pending:
        inner = [c for c in pending.pop().co_consts if isinstance(c, types.CodeType)]
        codes.update(inner)
        pending += inner
    return codes


def _is_compiled_from(code: types.CodeType, node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        first_line = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        return (node.name, first_line) == (code.co_name, code.co_firstlineno)
    if not isinstance(node, ast.Lambda):
        return False
    if (code.co_name, code.co_firstlineno) != ("<lambda>", node.lineno):
        return False
    body = node.body
    start, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    # The first instructions belong to no expression.
    positions = [p for p in code.co_positions() if None not in p and p[2:] != (0, 0)]
    return bool(positions) and all(
        start <= (line, column) and (end_line, end_column) <= end
        for line, end_line, column, end_column in positions
    )
