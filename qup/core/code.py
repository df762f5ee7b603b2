"""Identifies code by the definitions that it can reach, as one digest without module names.

```python
compute_digest(train, packages=("qup",), words={"pgd"})
```

Definitions are the functions, classes and values of modules. A function reaches the definitions
whose names it reads, through all imports, and what these read in turn. Of `module.name` only that
definition is reached, re-exported or not. A whole module is reached where it is passed on, imported
by `*`, named by a string, or has no definition of that name. Of each module that is imported on the
way the statements with effects count: calls, blocks such as if and try, names bound twice,
decorators and values that call code of the packages.

Definitions are known by their syntax trees and by what their names mean, not by their place: a
definition that moves stays the same. Of other packages the names of what is imported count.

A registry is an object of a module, made by a class with `register` and `get` from the name of a
package. It finds functions by name. Code that reaches its `get` or `traits` reaches those
registered functions whose names are among `words` or are strings in the code; if there are none, or
if anything else is done with the registry, all. So a function that takes names from elsewhere, such
as from a file, must read `names()` of the registry. Modules and attributes whose names are computed
in another way are not found.
"""

import ast
import dataclasses
import functools
import inspect
import pathlib
import re
import sys
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from qup.core import hashing, syntax
from qup.core.syntax import Chain, CodeError, Import, Module, Statement, get_chain, is_below

# Methods of a registry: those that take names of functions, and the one that adds functions.
_LOOKUP_METHODS, _REGISTER_METHOD = ("get", "traits"), "register"
_MODULE_ATTRIBUTES = ("__name__", "__file__", "__doc__", "__version__")
# Strings of words, any of which may name a registered function.
_WORDS = re.compile(r"\w+([\s,;|:/+]+\w+)*")


class Key(NamedTuple):
    """A node of the graph.

    Attributes:
      kind: "definition"; "root", a definition whose annotations count; "tree", a syntax tree;
        "effects" of a module; "module", all that a module binds; "package", a module and all below
        it; "registry", a look-up in the registry of a package.
      module: Name of the module.
      index: Index of the statement; for a registry, 1 if all its functions are reached.
    """

    kind: str
    module: str
    index: int = 0


@dataclasses.dataclass
class Node:
    """A node of the graph.

    Attributes:
      text: Its content.
      edges: (label, target) of all that its digest depends on. A string is a name from another
        package.
      links: Targets that are reached, but whose place here does not count.
      strings: The words of each of its strings that may name registered functions.
    """

    text: str
    edges: list[tuple[str, Key | str]] = dataclasses.field(default_factory=list)
    links: list[Key] = dataclasses.field(default_factory=list)
    strings: set[frozenset[str]] = dataclasses.field(default_factory=set)


def compute_digest(
    function: Callable,
    *,
    packages: Collection[str] = (),
    without: Collection[str] = (),
    words: Collection[str] = (),
    tree: ast.AST | None = None,
) -> str:
    """Returns the digest of the code that a function can reach.

    Args:
      function: A function in a file; if it is nested, the outer function counts.
      packages: Modules of and below these count. Default: the function's top-level package.
      without: Modules of and below these do not count.
      words: Texts that may name registered functions.
      tree: The function's own syntax tree, to count instead of the outer function.

    Raises:
      CodeError: The function is not in a file, or a file is not Python.
    """
    graph = _load_graph(function, packages, without)
    return graph.compute_digest(graph.find_roots(function, words, tree))


def list_reached(
    function: Callable,
    *,
    packages: Collection[str] = (),
    without: Collection[str] = (),
    words: Collection[str] = (),
) -> set[tuple[str, str]]:
    """Returns (module, name) of the definitions that `compute_digest` counts."""
    graph = _load_graph(function, packages, without)
    return {
        (key.module, name)
        for key in graph.find_reachable(graph.find_roots(function, words))
        if key.kind in ("definition", "root")
        for name in graph.names.get_statement(key).bound
    }


def clear_cache() -> None:
    """Forgets all code that was read, as a new process would."""
    _build_graph.cache_clear()


def _load_graph(
    function: Callable, packages: Collection[str], without: Collection[str]
) -> "_CodeGraph":
    """Returns the graph of the code as it is on the disk now."""
    name, path = _locate(function)
    packages = tuple(packages) or (name.partition(".")[0],)
    files = syntax.scan_modules(packages)
    if name == "__main__" or not is_below(name, packages):
        files += (syntax.make_module_file(name, str(path)),)
        packages += (name,)
    return _build_graph(packages, tuple(without), files)


@functools.lru_cache(maxsize=8)
def _build_graph(packages: tuple, without: tuple, files: tuple) -> "_CodeGraph":
    return _CodeGraph(_Names(packages, without, syntax.SourceTree(files)))


def _locate(function: Callable) -> tuple[str, pathlib.Path]:
    """Returns the name and the file of a function's module."""
    inner = inspect.unwrap(function)
    name = inner.__module__
    spec = getattr(sys.modules.get(name), "__spec__", None)
    try:
        path = pathlib.Path(inspect.getsourcefile(inner) or "")
    except TypeError:
        path = pathlib.Path()
    if not path.is_file():
        raise CodeError(
            f"{function.__qualname__} is not in a file, so changes of its code cannot be detected. "
            "Write it into a module."
        )
    return (spec.name if spec else name), path


class _Names:
    """Finds what names in modules mean, through imports, without running any code."""

    def __init__(
        self, packages: tuple[str, ...], without: tuple[str, ...], sources: syntax.SourceTree
    ):
        self.sources = sources
        self._packages = packages
        self._without = without
        self._resolving: set[tuple[str, Chain]] = set()
        self._registries: dict[Statement, str | None] = {}
        self._registered: dict[str, dict[str, list[Key]]] = {}

    def get_statement(self, key: Key) -> Statement:
        return self.sources.get_module(key.module).statements[key.index]

    def is_known(self, name: str) -> bool:
        """Returns whether there is a module of this name whose content counts."""
        return name in self.sources.files and not is_below(name, self._without)

    def list_inside(self, package: str) -> list[str]:
        """Returns the names of all modules below a package."""
        return sorted(name for name in self.sources.files if name.startswith(f"{package}."))

    def resolve(self, module: Module, chain: Chain) -> list[Key | str]:
        """Returns what a name in a module, with its attributes, may mean."""
        query = (module.name, chain)
        if query in self._resolving:
            return []
        self._resolving.add(query)
        try:
            return [
                target
                for binding in module.bindings.get(chain[0], ())
                for target in (
                    self.resolve_statement(module, binding, chain[1:])
                    if isinstance(binding, Statement)
                    else self.resolve_import(module, binding, chain[1:])
                )
            ]
        finally:
            self._resolving.discard(query)

    def resolve_statement(
        self, module: Module, statement: Statement, attributes: Chain
    ) -> list[Key | str]:
        """Returns what attributes of the value of a statement may mean."""
        if statement.has_effect:
            return [Key("effects", module.name)]
        targets = [Key("definition", module.name, statement.index)]
        package = self.find_registry(module, statement)
        if package and attributes[:1] != (_REGISTER_METHOD,):
            reaches_all = not attributes or attributes[0] not in _LOOKUP_METHODS
            targets.append(Key("registry", package, int(reaches_all)))
        return targets

    def resolve_import(
        self, module: Module, imported: Import, attributes: Chain
    ) -> list[Key | str]:
        """Returns what attributes of something imported may mean."""
        if imported.name not in (None, "*"):
            attributes = (imported.name, *attributes)
        return self.resolve_in_module(module.resolve_module(imported), attributes)

    def resolve_in_module(self, name: str, attributes: Chain) -> list[Key | str]:
        """Returns what attributes of a module may mean."""
        first, rest = ".".join(attributes[:1]), attributes[1:]
        submodule = f"{name}.{first}"
        if is_below(name, self._without):
            return [f"left out {first}"]
        if not self.is_known(name):
            if is_below(submodule, self._packages) and not is_below(name, self._packages):
                return self.resolve_in_module(submodule, rest)
            return [f"from {name} {first}"]
        module = self.sources.get_module(name)
        if first in module.bindings:
            return self.resolve(module, attributes)
        if first and (is_below(submodule, self._without) or self.is_known(submodule)):
            return self.resolve_in_module(submodule, rest)
        return [] if first in _MODULE_ATTRIBUTES else [Key("module", name)]

    def list_run_modules(self, module: Module, imported: Import) -> list[str]:
        """Returns the names of the modules that an import runs, if they count."""
        base = module.resolve_module(imported)
        names = [base] if imported.name in (None, "*") else [base, f"{base}.{imported.name}"]
        return [name for name in names if self.is_known(name)]

    def find_registry(self, module: Module, statement: Statement) -> str | None:
        """Returns the package whose registry a statement makes; None if it makes none."""
        if statement not in self._registries:
            self._registries[statement] = None
            self._registries[statement] = self._parse_registry(module, statement)
        return self._registries[statement]

    def _parse_registry(self, module: Module, statement: Statement) -> str | None:
        call = getattr(statement.tree, "value", None)
        if not (statement.is_assignment and isinstance(call, ast.Call) and call.args):
            return None
        package, chain = getattr(call.args[0], "value", None), get_chain(call.func)
        if not (isinstance(package, str) and chain and self.is_known(package)):
            return None
        for key in self._find_definitions(module, chain):
            tree = self.get_statement(key).tree
            methods = {getattr(member, "name", "") for member in getattr(tree, "body", ())}
            if isinstance(tree, ast.ClassDef) and {_REGISTER_METHOD, "get"} <= methods:
                return package
        return None

    def _find_definitions(self, module: Module, chain: Chain) -> list[Key]:
        targets = self.resolve(module, chain)
        return [key for key in targets if isinstance(key, Key) and key.kind == "definition"]

    def is_register(self, module: Module, chain: Chain, package: str) -> bool:
        """Returns whether a chain adds to a package's registry, by itself or by what it calls."""
        if self._is_register_method(module, chain, package):
            return True
        for key in self._find_definitions(module, chain):
            statement, other = self.get_statement(key), self.sources.get_module(key.module)
            if self.find_registry(other, statement) is None and any(
                self._is_register_method(other, inner, package) for inner in statement.summary.names
            ):
                return True
        return False

    def _is_register_method(self, module: Module, chain: Chain, package: str) -> bool:
        return (
            len(chain) > 1
            and chain[-1] == _REGISTER_METHOD
            and any(
                self.find_registry(self.sources.get_module(key.module), self.get_statement(key))
                == package
                for key in self._find_definitions(module, chain[:-1])
            )
        )

    def list_registered(self, package: str) -> dict[str, list[Key]]:
        """Returns what is registered in a package, by name.

        Under "" are modules that register without a decorator: they always count.
        """
        if package in self._registered:
            return self._registered[package]
        registered: dict[str, list[Key]] = {}
        for name in self.list_inside(package):
            module = self.sources.get_module(name)
            for statement in module.statements:
                if statement.is_definition and not statement.has_effect:
                    key = Key("definition", name, statement.index)
                    for entry in self._list_registered_names(module, statement, package):
                        registered.setdefault(entry, []).append(key)
                elif any(self.is_register(module, c, package) for c in statement.summary.names):
                    registered.setdefault("", []).append(Key("effects", name))
        return self._registered.setdefault(package, registered)

    def _list_registered_names(
        self, module: Module, statement: Statement, package: str
    ) -> set[str]:
        """Returns the names under which decorators register a definition."""
        names = set()
        for decorator, chain in _list_decorators(statement.tree):
            if chain and self.is_register(module, chain, package):
                values = [*getattr(decorator, "args", ())[:1]]
                values += [k.value for k in getattr(decorator, "keywords", ()) if k.arg == "name"]
                constants = (getattr(value, "value", None) for value in values)
                names |= {statement.tree.name, *(c for c in constants if isinstance(c, str))}
        return names

    def has_effect(self, module: Module, statement: Statement) -> bool:
        """Returns whether a definition or an assignment does something when it is made."""
        tree = statement.tree
        if statement.is_assignment:
            # Code of the packages that is called may change anything.
            calls = [get_chain(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)]
            is_registry = self.find_registry(module, statement) is not None
            return not is_registry and any(c and self._is_own(module, c) for c in calls)
        for _, chain in _list_decorators(tree):
            if chain is None:
                return True
            if chain[-1].startswith(_REGISTER_METHOD) or self._is_own(module, chain):
                parts = module.name.split(".")
                packages = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
                if not any(self.is_register(module, chain, package) for package in packages):
                    return True
        return isinstance(tree, ast.ClassDef) and self._has_class_hook(module, tree)

    def _is_own(self, module: Module, chain: Chain) -> bool:
        """Returns whether a chain leads to code of the packages."""
        targets = self.resolve(module, chain)
        return any(isinstance(key, Key) and key.kind != "registry" for key in targets)

    def _has_class_hook(self, module: Module, tree: ast.ClassDef, seen: tuple = ()) -> bool:
        """Returns whether making a class runs code of its bases or of a metaclass."""
        if tree.keywords:
            return True
        for chain in filter(None, map(get_chain, tree.bases)):
            for key in self._find_definitions(module, chain):
                base, other = self.get_statement(key).tree, self.sources.get_module(key.module)
                if not isinstance(base, ast.ClassDef) or base in seen:
                    continue
                methods = {getattr(member, "name", "") for member in base.body}
                if "__init_subclass__" in methods or self._has_class_hook(
                    other, base, (*seen, tree)
                ):
                    return True
        return False


def _list_decorators(tree: ast.stmt) -> list[tuple[ast.expr, Chain | None]]:
    """Returns each decorator of a definition, with the chain that it is or calls."""
    return [(d, get_chain(d.func if isinstance(d, ast.Call) else d)) for d in tree.decorator_list]


class _CodeGraph:
    """Definitions and the effects of modules, and what they lead to."""

    def __init__(self, names: _Names):
        self.names = names
        self._nodes: dict[Key, Node] = {}

    def compute_digest(self, roots: list[Key]) -> str:
        """Returns the digest of all that roots lead to.

        Nodes are numbered in the order in which they are first reached, so neither the names of
        modules nor cycles matter. Effects are ordered by their texts.
        """
        effects = [
            key
            for key in self.find_reachable(roots)
            if key.kind == "effects" and self._get_node(key).text
        ]
        order = dict.fromkeys([*roots, *sorted(effects, key=self._get_sort_key)])
        numbers = {key: number for number, key in enumerate(order)}
        pending, parts = list(order), []
        for key in pending:
            node = self._get_node(key)
            targets = []
            for label, target in node.edges:
                if isinstance(target, Key) and target not in numbers:
                    numbers[target] = len(numbers)
                    pending.append(target)
                targets.append([label, target if isinstance(target, str) else numbers[target]])
            parts.append([node.text, targets])
        return hashing.hash_json(parts)

    def _get_sort_key(self, key: Key) -> tuple:
        node = self._get_node(key)
        targets = [t if isinstance(t, str) else self._get_node(t).text for _, t in node.edges]
        return node.text, targets, key

    def find_reachable(self, keys: Iterable[Key]) -> set[Key]:
        """Returns keys and all that they lead to."""
        reached, pending = set(keys), list(keys)
        while pending:
            node = self._get_node(pending.pop())
            targets = {target for _, target in node.edges if isinstance(target, Key)}
            new = targets.union(node.links) - reached
            reached |= new
            pending += new
        return reached

    def find_roots(
        self, function: Callable, words: Collection[str], tree: ast.AST | None = None
    ) -> list[Key]:
        """Returns the keys of a function and of the registered functions that it may call."""
        name = _locate(function)[0]
        if name not in self.names.sources.files:
            raise CodeError(
                f"{function.__qualname__} has the module {name}, which cannot be found. "
                "Add its folder to PYTHONPATH."
            )
        module = self.names.sources.get_module(name)
        if tree is not None:
            summary = syntax.summarize(tree)
            roots = [Key(f"tree {hashing.hash_text(summary.text)}", name)]
            self._nodes[roots[0]] = self._build_node(module, summary)
        else:
            outer = inspect.unwrap(function).__qualname__.partition(".")[0]
            roots = [
                Key("root", name, binding.index)
                for binding in module.bindings.get(outer, ())
                if isinstance(binding, Statement) and not binding.has_effect
            ] or [Key("module", name)]
        names = {part for word in words for part in re.findall(r"\w+", word)}
        # Where no name is known all functions count, but only once no more names can appear.
        select_all = False
        while True:
            reached = self.find_reachable(roots)
            strings = {words for key in reached for words in self._get_node(key).strings}
            selected = {
                root: None
                for lookup in sorted(key for key in reached if key.kind == "registry")
                for root in self._select_registered(lookup, names, strings, select_all)
                if root not in roots
            }
            if select_all and not selected:
                return roots
            select_all = not selected
            roots += selected

    def _select_registered(
        self, lookup: Key, names: set[str], strings: set[frozenset[str]], select_all: bool
    ) -> list[Key]:
        """Returns what a look-up in a registry may find, in the order of the names."""
        registered = self.names.list_registered(lookup.module)
        selected = registered.keys() & names
        for words in strings:
            if registered.keys() >= words:
                selected |= words
        if lookup.index or (select_all and not selected):
            selected = registered.keys()
        return [key for name in sorted({*selected, ""}) for key in registered.get(name, ())]

    def _get_node(self, key: Key) -> Node:
        if key not in self._nodes:
            self._nodes[key] = self._make_node(key)
        return self._nodes[key]

    def _make_node(self, key: Key) -> Node:
        if key.kind == "registry":
            return Node(f"registry {key.index}")
        module = self.names.sources.get_module(key.module)
        if key.kind == "effects":
            return self._build_effects(module)
        if key.kind in ("module", "package"):
            return self._build_module(module, key)
        statement = module.statements[key.index]
        summary = statement.summary
        if key.kind == "root":
            summary = syntax.summarize(statement.tree, keep_annotations=True)
        node = self._build_node(module, summary, statement)
        if statement.is_assignment and module.names_in_effects & set(statement.bound):
            node.edges.append(("effects", Key("effects", module.name)))
        return node

    def _build_module(self, module: Module, key: Key) -> Node:
        """Returns the node of all names of a module, and of those below it for a package."""
        node = Node("module", links=[Key("effects", module.name)])
        if key.kind == "package":
            node.edges += [("", Key("module", n)) for n in self.names.list_inside(module.name)]
        for name, bindings in sorted(module.bindings.items()):
            for binding in bindings:
                if isinstance(binding, Statement):
                    targets = self.names.resolve_statement(module, binding, ())
                    # Passing on a registry with its module looks nothing up.
                    targets = [t for t in targets if t.kind != "registry"]
                elif self._is_re_export(module, binding):
                    targets = self.names.resolve_import(module, binding, ())
                else:
                    continue
                node.edges += [(name, target) for target in targets]
        return node

    def _is_re_export(self, module: Module, imported: Import) -> bool:
        """Returns whether an import adds to a module's content: a name, or a submodule."""
        base = module.resolve_module(imported)
        if not self.names.is_known(base):
            return False
        if imported.name and not self.names.is_known(f"{base}.{imported.name}"):
            return True
        return module.is_package and is_below(base, [module.name])

    def _build_node(
        self, module: Module, summary: syntax.Summary, statement: Statement | None = None
    ) -> Node:
        names = self.names
        node = Node(summary.text, links=[Key("effects", module.name)])
        for chain in summary.names:
            for index, target in enumerate(names.resolve(module, chain)):
                node.edges.append((f"{'.'.join(chain)} {index}", target))
        for index, (imported, attributes) in enumerate(summary.inner_uses):
            for target in names.resolve_import(module, imported, attributes):
                node.edges.append((f"import {index}", target))
        for imported in summary.inner_imports:
            run = names.list_run_modules(module, imported)
            node.links += [Key("effects", name) for name in run]
            if not run:
                node.edges.append(("inner import", module.resolve_module(imported)))
        is_registry = statement is not None and names.find_registry(module, statement)
        for index, string in enumerate(summary.dotted_strings):
            name = string.rstrip(".")
            while "." in name and not names.is_known(name):
                name = name.rpartition(".")[0]
            if "." not in name:
                continue
            rest = string[len(name) :]
            node.text = node.text.replace(
                syntax.format_string(string), f"(Constant of a module {rest!r})"
            )
            if not is_registry:
                node.edges += [(f"string {index}", t) for t in self._resolve_string(name, rest)]
                node.links.append(Key("effects", name))
        strings = filter(_WORDS.fullmatch, summary.strings)
        node.strings = {frozenset(re.findall(r"\w+", string)) for string in strings}
        return node

    def _resolve_string(self, name: str, rest: str) -> list[Key | str]:
        attributes = tuple(filter(None, rest.split(".")))
        if not attributes and self.names.sources.files[name].is_package:
            return [Key("package", name)]
        return self.names.resolve_in_module(name, attributes)

    def _build_effects(self, module: Module) -> Node:
        """Returns what a module does besides defining, in order, and what importing it runs."""
        node, texts = Node(""), []
        parent = module.name.rpartition(".")[0]
        run = [parent] if self.names.is_known(parent) else []
        for imported in module.imports:
            run += self.names.list_run_modules(module, imported)
        node.links = [Key("effects", name) for name in dict.fromkeys(run)]
        for statement in module.statements:
            if statement.has_effect:
                effect = self._build_node(module, statement.summary, statement)
                node.edges += [(f"{len(texts)} {label}", t) for label, t in effect.edges]
                node.links += effect.links
                node.strings |= effect.strings
                texts.append(effect.text)
            elif self.names.has_effect(module, statement):
                key = Key("definition", module.name, statement.index)
                node.edges.append((str(len(texts)), key))
                texts.append("acts")
            elif statement.is_assignment and module.names_in_effects & {
                *statement.bound,
                *(chain[0] for chain in statement.summary.names),
            }:
                texts.append(f"sets {sorted(statement.bound)}")
        for imported in module.imports:
            if imported.name == "*":
                targets = self.names.resolve_import(module, imported, ())
                node.edges += [("star", target) for target in targets]
                texts.append("star")
        for imported in module.unused_imports:
            # Imported for what it does.
            name = module.resolve_module(imported)
            if not self.names.is_known(name):
                texts.append(f"import {name}")
        node.text = "\n".join(texts)
        return node
