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
import re
from collections.abc import Callable

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
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
    if annotations and isinstance(tree, _FUNCTIONS):
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
    **dict.fromkeys(_FUNCTIONS, _Reader.function),
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
