"""What code a function can reach, as one digest without names of modules.

```python
identity(train, packages=("qup",), words={"pgd"})
```

Code is taken apart into definitions: functions, classes and values of
modules. A function reaches those whose names it reads, through imports
wherever they stand, and what these read in turn; of `module.name` the
definition alone, re-exported or not. It reaches a whole module where the
module is passed on, imported by `*`, named by a string, or has no such name.
Of each module that is imported on the way count the statements that do more
than define: calls, blocks such as if and try, names bound twice, decorators
and values that call the packages' own code.

Definitions are known by their trees and by what their names mean, not by
where they lie: one that moves stays the same. Of other packages the names
of what is imported count.

A registry, an object of a module made by a class with `register` and `get`
of the name of a package, finds functions by name. Who reaches its `get` or
`traits` reaches those registered functions whose names are among `words` or
are spelled as strings in the code; where none is, and where anything else is
done with the registry, all. So a function that takes names from elsewhere,
such as from a file, must look into `names()` of the registry. Nothing can be
seen of modules and attributes whose names are computed otherwise.
"""

import abc
import ast
import contextlib
import dataclasses
import functools
import gc
import inspect
import pathlib
import re
import sys
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from typing import Any, NamedTuple

from qup.core import hashing, syntax
from qup.core.syntax import Chain, CodeError, Finder, Import, Module, Statement, below

# Digests of the nodes of a graph with cycles, by all that they lead to.
#
# Two nodes have the same digest if their texts are the same, and edges of the
# same labels lead to nodes of the same digests. Their keys do not count.


@dataclasses.dataclass
class Node:
    """A node.

    Attributes:
      text: Its own content.
      edges: (label, key or text) of all that its digest depends on.
      links: Keys of what it leads to beside that.
      facts: What holds of whatever leads to it.
    """

    text: str
    edges: list[tuple[str, Any]] = dataclasses.field(default_factory=list)
    links: list[Hashable] = dataclasses.field(default_factory=list)
    facts: list[Hashable] = dataclasses.field(default_factory=list)


class Graph(abc.ABC):
    """A graph whose nodes are made when they are first reached."""

    def __init__(self):
        """Knows no node yet."""
        self._nodes: dict[Hashable, Node] = {}
        self._digests: dict[Hashable, str] = {}
        # Sets of facts as the bits of integers.
        self._bits: dict[Hashable, int] = {}
        self._facts: dict[Hashable, int] = {}

    @abc.abstractmethod
    def node(self, key: Hashable) -> Node:
        """Returns the node of a key; called once for each."""

    def enter(self, key: Hashable, node: Node) -> None:
        """Enters a node that `node` does not know; a second time is none."""
        self._nodes.setdefault(key, node)

    def digest_of(self, key: Hashable) -> str:
        """Returns the digest of a node."""
        if key not in self._digests:
            for part in _components(key, self._targets, self._digests):
                self._digests.update(self._refined(part))
        return self._digests[key]

    def facts_of(self, keys: Iterable[Hashable]) -> set[Hashable]:
        """Returns the facts of all that keys lead to."""
        whole = 0
        for key in keys:
            if key not in self._facts:
                for part in _components(key, self._led_to, self._facts):
                    self._gather(part)
            whole |= self._facts[key]
        names = list(self._bits)
        found = set()
        while whole:
            lowest = whole & -whole
            found.add(names[lowest.bit_length() - 1])
            whole ^= lowest
        return found

    def closure(self, keys: Iterable[Hashable]) -> set[Hashable]:
        """Returns keys and all that they lead to."""
        pending = list(keys)
        found = set(pending)
        while pending:
            new = set(self._led_to(pending.pop())) - found
            found |= new
            pending += new
        return found

    def _at(self, key: Hashable) -> Node:
        if key not in self._nodes:
            self._nodes[key] = self.node(key)
        return self._nodes[key]

    def _targets(self, key: Hashable) -> list[Hashable]:
        edges = self._at(key).edges
        return [target for _, target in edges if not isinstance(target, str)]

    def _led_to(self, key: Hashable) -> list[Hashable]:
        return [*self._targets(key), *self._at(key).links]

    def _gather(self, part: list[Hashable]) -> None:
        whole = 0
        for key in part:
            for fact in self._at(key).facts:
                whole |= 1 << self._bits.setdefault(fact, len(self._bits))
            for target in self._led_to(key):
                whole |= self._facts.get(target, 0)
        self._facts.update(dict.fromkeys(part, whole))

    def _refined(self, part: list[Hashable]) -> dict[Hashable, str]:
        """Returns the digests of nodes that all lead to one another.

        They are told apart by what they lead to in ever more steps, until
        one more step tells no more of them apart.
        """
        colours: dict[Hashable, str] = dict.fromkeys(part, "")
        if len(part) == 1 and part[0] not in self._targets(part[0]):
            return {part[0]: self._coloured(part[0], colours)}
        classes = 0
        while True:
            colours = {key: self._coloured(key, colours) for key in part}
            if len(set(colours.values())) == classes:
                return colours
            classes = len(set(colours.values()))

    def _coloured(self, key: Hashable, colours: dict[Hashable, str]) -> str:
        node = self._at(key)
        parts = {
            f"{label}\0{target}"
            if isinstance(target, str)
            else f"{label}\1{colours.get(target) or self._digests.get(target)}"
            for label, target in node.edges
        }
        return hashing.hash_text("\n".join([colours[key], node.text, *sorted(parts)]))


def _components(
    start: Hashable, targets: Callable[[Hashable], list[Hashable]], done: dict[Hashable, Any]
) -> Iterable[list[Hashable]]:
    """Yields groups of nodes that lead to one another, inner ones first.

    By Tarjan 1972, doi 10.1137/0201010, without recursion.

    Args:
      start: Where to begin.
      targets: Returns what a node leads to.
      done: Nodes that need no visit; the caller enters those yielded.
    """
    order: dict[Hashable, int] = {}
    lowest: dict[Hashable, int] = {}
    stack: list[Hashable] = []
    waiting: set[Hashable] = set()
    calls = []

    def enter(key: Hashable) -> None:
        order[key] = lowest[key] = len(order)
        stack.append(key)
        waiting.add(key)
        calls.append((key, iter(targets(key))))

    enter(start)
    while calls:
        key, left = calls[-1]
        for target in left:
            if target in done:
                continue
            if target not in order:
                enter(target)
                break
            if target in waiting:
                lowest[key] = min(lowest[key], order[target])
        else:
            calls.pop()
            if calls:
                above = calls[-1][0]
                lowest[above] = min(lowest[above], lowest[key])
            if lowest[key] == order[key]:
                part = []
                while not part or part[-1] != key:
                    part.append(stack.pop())
                    waiting.discard(part[-1])
                yield part


# What the names that code reads mean: definitions, modules, registries.


# Attributes of a registry that name what they take, or look up nothing.
_BY_NAME, _ENTRY = ("get", "traits"), "register"


class Key(NamedTuple):
    """A node: a "definition", "root", "effects", "whole", "below", ..."""

    kind: str
    module: str = ""
    place: int = 0


class Meanings:
    """Looks names up in modules, through imports, without running any."""

    def __init__(self, finder: Finder, without: tuple[str, ...]):
        """Looks nothing up yet.

        Args:
          finder: Finds the modules that count.
          without: Modules of and below these do not count all the same.
        """
        super().__init__()
        self.finder = finder
        self._without = without
        self._registered: dict[str, dict[str, set[Key]]] = {}
        self._knows: dict[str, bool] = {}
        self._resolving: set[tuple] = set()
        self._registries: dict[Statement, str | None] = {}

    def statement(self, key: Key) -> Statement:
        """Returns the statement of a definition."""
        module = self.finder.module(key.module)
        return module.outline.statements[key.place]

    def known(self, name: str) -> bool:
        """Returns whether there is a module of this name that counts."""
        if name not in self._knows:
            self._knows[name] = (
                self.finder.counts(name)
                and not below(name, self._without)
                and self.finder.module(name) is not None
            )
        return self._knows[name]

    def of_name(self, module: Module, chain: Chain) -> list[Key | str]:
        """Returns what a name of a module and its attributes may mean."""
        asked = (module.name, chain)
        if asked in self._resolving:
            return []
        self._resolving.add(asked)
        try:
            found = []
            for held in module.bindings.get(chain[0], ()):
                if isinstance(held, Statement):
                    found += self.of_statement(module, held, chain[1:])
                else:
                    found += self.of_import(module, held, chain[1:])
            return found
        finally:
            self._resolving.discard(asked)

    def of_statement(
        self, module: Module, statement: Statement, attributes: Chain, quiet: bool = False
    ) -> list[Key | str]:
        """Returns what attributes of a statement's value may mean.

        Args:
          module: Where it stands.
          statement: What gives the value.
          attributes: Those taken of it.
          quiet: Look nothing up, should it be a registry.
        """
        found = [Key("touch", module.name)]
        if statement.effect:
            return [*found, Key("effects", module.name)]
        found.append(Key("definition", module.name, statement.place))
        package = self.registry(module, statement)
        if package and not quiet and attributes[:1] != (_ENTRY,):
            every = attributes[:1] not in [(name,) for name in _BY_NAME]
            found.append(Key("registry", package, int(every)))
        return found

    def of_import(self, module: Module, imported: Import, attributes: Chain) -> list[Key | str]:
        """Returns what attributes of something imported may mean."""
        base = module.absolute(imported)
        if imported.name is None or imported.name == "*":
            return self.of_module(base, attributes)
        return self.of_module(base, (imported.name, *attributes))

    def of_module(self, name: str, attributes: Chain) -> list[Key | str]:
        """Returns what attributes of a module may mean."""
        if below(name, self._without):
            return [f"left out {'.'.join(attributes[:1])}"]
        if not self.known(name):
            deeper = f"{name}.{attributes[0]}" if attributes else ""
            if self.finder.counts(deeper) and not self.finder.counts(name):
                return self.of_module(deeper, attributes[1:])
            return [f"from {name} {'.'.join(attributes[:1])}"]
        module = self.finder.module(name)
        touch = Key("touch", name)
        if not attributes:
            return [touch, Key("whole", name)]
        first, rest = attributes[0], attributes[1:]
        if first in module.bindings:
            return [touch, *self.of_name(module, attributes)]
        deeper = f"{name}.{first}"
        if below(deeper, self._without) or self.known(deeper):
            return [touch, *self.of_module(deeper, rest)]
        if first in ("__name__", "__file__", "__doc__", "__version__"):
            return [touch]
        return [touch, Key("whole", name)]

    def run_by(self, module: Module, imported: Import) -> list[Key | str]:
        """Returns the modules that an import runs."""
        base = module.absolute(imported)
        names = [base]
        if imported.name not in (None, "*"):
            names.append(f"{base}.{imported.name}")
        found = [Key("touch", name) for name in names if self.known(name)]
        return found or [base]

    def entries(self, package: str) -> dict[str, set[Key]]:
        """Returns what is registered in a package, by name.

        Under "" is what is registered by no decorator: it always counts.
        """
        if package in self._registered:
            return self._registered[package]
        found: dict[str, set[Key]] = {}
        module = self.finder.module(package)
        for name in self.finder.inside(module):
            module = self.finder.module(name)
            for statement in module.outline.statements:
                if statement.defines and not statement.effect:
                    key = Key("definition", name, statement.place)
                    for entered in self._entered(module, statement, package):
                        found.setdefault(entered, set()).add(key)
                elif (
                    any(self.registers(module, chain, package) for chain in statement.reading.names)
                    and name != package
                ):
                    found.setdefault("", set()).add(Key("touch", name))
        return self._registered.setdefault(package, found)

    def _entered(self, module: Module, statement: Statement, package: str) -> set[str]:
        """Returns the names under which decorators register a definition."""
        names = set()
        for decorator in statement.tree.decorator_list:
            call = isinstance(decorator, ast.Call)
            chain = chain_of(decorator.func if call else decorator)
            if chain and self.registers(module, chain, package):
                names.add(statement.tree.name)
                given = decorator.args[:1] if call else []
                given += [
                    one.value for one in (decorator.keywords if call else ()) if one.arg == "name"
                ]
                names |= {
                    one.value
                    for one in given
                    if isinstance(one, ast.Constant) and isinstance(one.value, str)
                }
        return names

    def registers(self, module: Module, chain: Chain, package: str) -> bool:
        """Returns whether a chain registers in a package's registry."""
        if chain[-1] == _ENTRY and self._is_registry(module, chain[:-1], package):
            return True
        for key in self.of_name(module, chain):
            if not isinstance(key, Key) or key.kind != "definition":
                continue
            statement = self.statement(key)
            other = self.finder.module(key.module)
            if self.registry(other, statement) is None and any(
                inner[-1] == _ENTRY and self._is_registry(other, inner[:-1], package)
                for inner in statement.reading.names
            ):
                return True
        return False

    def _is_registry(self, module: Module, chain: Chain, package: str) -> bool:
        return bool(chain) and any(
            key.kind == "definition"
            and self.registry(self.finder.module(key.module), self.statement(key)) == package
            for key in self.of_name(module, chain)
            if isinstance(key, Key)
        )

    def registry(self, module: Module, statement: Statement) -> str | None:
        """Returns the package of a statement that makes a registry."""
        if statement not in self._registries:
            self._registries[statement] = None
            self._registries[statement] = self._made(module, statement)
        return self._registries[statement]

    def _made(self, module: Module, statement: Statement) -> str | None:
        call = getattr(statement.tree, "value", None)
        if not (statement.assigns and isinstance(call, ast.Call) and call.args):
            return None
        package = getattr(call.args[0], "value", None)
        chain = chain_of(call.func)
        if not (isinstance(package, str) and chain and self.known(package)):
            return None
        for key in self.of_name(module, chain):
            if isinstance(key, Key) and key.kind == "definition":
                tree = self.statement(key).tree
                methods = {getattr(own, "name", "") for own in getattr(tree, "body", ())}
                if isinstance(tree, ast.ClassDef) and {_ENTRY, "get"} <= methods:
                    return package
        return None


def chain_of(node: ast.AST) -> Chain | None:
    """Returns a name and its attributes; None of any other expression."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return (node.id, *reversed(names))


_NAMES = re.compile(r"\w+([\s,;|:/+]+\w+)*")


_graphs: dict[tuple, "_Code"] = {}


def clear_cache() -> None:
    """Forgets all code that was read, as a new process would."""
    _graphs.clear()


def identity(
    function: Callable,
    *,
    packages: Collection[str] = (),
    without: Collection[str] = (),
    words: Collection[str] = (),
    tree: ast.AST | None = None,
) -> str:
    """Returns the digest of the code that a function can reach.

    Args:
      function: A function in a file; of one within another, the outer one
        counts.
      packages: Modules of and below these count; without any, those of the
        function's own top-level package.
      without: Modules of and below these do not.
      words: Texts that may name registered functions.
      tree: The function's own, to count instead of what it lies in.

    Raises:
      CodeError: The function is in no file, or a file is no Python.
    """
    with _collecting_nothing():
        code = _code(function, packages, without)
        return code.digest(code.roots(function, words, tree))


def reached(
    function: Callable,
    *,
    packages: Collection[str] = (),
    without: Collection[str] = (),
    words: Collection[str] = (),
) -> set[tuple[str, str]]:
    """Returns (module, name) of the definitions that `identity` counts."""
    with _collecting_nothing():
        code = _code(function, packages, without)
        return code.names(code.roots(function, words))


@contextlib.contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Keeps trees from being searched for garbage while they grow."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _code(function: Callable, packages: Collection[str], without: Collection[str]) -> "_Code":
    """Returns the code as it lies on the disk now."""
    name, path = _origin(function)
    packages = tuple(packages) or (name.partition(".")[0],)
    inside = below(name, packages) and name != "__main__"
    key = (packages, tuple(without), None if inside else (name, path))
    held = _graphs.pop(key, None)
    if held is None or not held.finder.current():
        held = _Code(Finder(packages, key[-1]), tuple(without))
    _graphs[key] = held
    while len(_graphs) > 8:
        del _graphs[next(iter(_graphs))]
    return held


def _origin(function: Callable) -> tuple[str, pathlib.Path]:
    """Returns the module of a function and its file."""
    inner = inspect.unwrap(function)
    name = inner.__module__
    spec = getattr(sys.modules.get(name), "__spec__", None)
    try:
        path = pathlib.Path(inspect.getsourcefile(inner) or "")
    except TypeError:
        path = pathlib.Path()
    if not path.is_file():
        raise CodeError(
            f"{function.__qualname__} is in no file, so a change of its code "
            "could not be seen. Write it into a module."
        )
    return (spec.name if spec else name), path


class _Code(Meanings, Graph):
    """The definitions of some packages, as a graph."""

    def digest(self, roots: list[Key]) -> str:
        """Returns the digest of roots, the first of them the function."""
        facts = self.facts_of(roots)
        effects = {key for key in facts if isinstance(key, Key)}
        told = [self.digest_of(roots[0])]
        for keys in (roots[1:], (k for k in effects if k.kind == "effects")):
            told.append(sorted({self.digest_of(key) for key in keys}))
        return hashing.hash_json(told)

    def names(self, roots: list[Key]) -> set[tuple[str, str]]:
        """Returns (module, name) of the definitions that roots lead to."""
        found = set()
        for key in self.closure(roots):
            if key.kind in ("definition", "root"):
                statement = self.statement(key)
                found |= {(key.module, name) for name in statement.bound}
        return found

    def roots(
        self, function: Callable, words: Collection[str], tree: ast.AST | None = None
    ) -> list[Key]:
        """Returns a function, and the registered ones that it may call."""
        name = _origin(function)[0]
        module = self.finder.module(name)
        if module is None:
            raise CodeError(
                f"{function.__qualname__} says that it is of {name}, which "
                "cannot be found. Put its folder on the path."
            )
        outer = inspect.unwrap(function).__qualname__.partition(".")[0]
        roots = [
            Key("root", name, held.place)
            for held in module.bindings.get(outer, ())
            if isinstance(held, Statement) and not held.effect
        ] or [Key("whole", name)]
        if tree is not None:
            reading = syntax.read(tree)
            key = Key(f"tree {hashing.hash_text(reading.text)}", name)
            self.enter(key, self._node(module, reading))
            roots = [key]
        named = {part for word in words for part in re.findall(r"\w+", word)}
        # Where none is named all count, but only once no more can be named.
        every = False
        while True:
            facts = self.facts_of(roots)
            spelled = [word for word in facts if isinstance(word, str)]
            more = set()
            for key in facts:
                if isinstance(key, Key) and key.kind == "registry":
                    more |= self._chosen(key, named, spelled, every)
            more -= set(roots)
            if every and not more:
                return roots
            every = not more
            roots += sorted(more)

    def _chosen(self, lookup: Key, named: set[str], spelled: list[str], every: bool) -> set[Key]:
        """Returns what a look-up in a registry may find."""
        known = self.entries(lookup.module)
        wanted = known.keys() & named
        for text in spelled:
            parts = _split(text)
            if known.keys() >= parts:
                wanted |= parts
        if lookup.place or (every and not wanted - {""}):
            wanted = known.keys()
        return {key for name in {*wanted, ""} for key in known.get(name, ())}

    def node(self, key: Key) -> Node:
        """Returns a node's text, and what it leads to."""
        if key.kind == "registry":
            return Node(f"registry {key.place}", facts=[key])
        module = self.finder.module(key.module)
        if key.kind in ("definition", "root"):
            return self._definition(module, key)
        if key.kind == "effects":
            return self._effects(module, key)
        if key.kind == "touch":
            return Node("", links=[*self._touched(module)])
        found = Node("whole", links=[Key("touch", module.name)])
        if key.kind == "below":
            for name in self.finder.inside(module):
                found.edges.append(("", Key("whole", name)))
        for name, held in sorted(module.bindings.items()):
            for one in held:
                if isinstance(one, Statement):
                    targets = self.of_statement(module, one, (), quiet=True)
                elif self._inner(module, one):
                    targets = self.of_import(module, one, ())
                else:
                    continue
                found.edges += [(name, target) for target in targets]
        return found

    def _inner(self, module: Module, imported: Import) -> bool:
        """Returns whether an import is re-exported: names, and own modules."""
        base = module.absolute(imported)
        if not self.known(base):
            return False
        submodule = self.finder.module(f"{base}.{imported.name or ''}")
        if imported.name and submodule is None:
            return True
        return module.folder is not None and below(base, [module.name])

    def _definition(self, module: Module, key: Key) -> Node:
        statement = module.outline.statements[key.place]
        reading = statement.reading
        if key.kind == "root":
            reading = syntax.read(statement.tree, annotations=True)
        found = self._node(module, reading, statement)
        if statement.assigns and set(statement.bound) & module.mentioned:
            found.edges.append(("effects", Key("effects", module.name)))
        return found

    def _node(
        self, module: Module, reading: syntax.Reading, statement: Statement | None = None
    ) -> Node:
        text = reading.text
        edges = []
        links = [Key("touch", module.name)]
        for chain in reading.names:
            targets = self.of_name(module, chain)
            links += filter(_is_link, targets)
            targets = [key for key in targets if not _is_link(key)]
            for place, target in enumerate(targets):
                edges.append((f"{'.'.join(chain)} {place}", target))
        for place, (imported, attributes) in enumerate(reading.imported):
            for target in self.of_import(module, imported, attributes):
                edges.append((f"import {place}", target))
        for imported in reading.lazy:
            edges += [("lazy", own) for own in self.run_by(module, imported)]
        is_registry = statement and self.registry(module, statement)
        for place, dotted in enumerate(reading.dotted):
            name = dotted.rstrip(".")
            while "." in name and not self.known(name):
                name = name.rpartition(".")[0]
            if "." not in name:
                continue
            written = syntax.written_module(dotted)
            rest = dotted[len(name) :]
            text = text.replace(written, f"(Constant of a module {rest!r})")
            package = self.finder.module(name).folder is not None
            attributes = tuple(part for part in rest.split(".") if part)
            if is_registry:
                continue
            if package and not attributes:
                targets = [Key("below", name)]
            else:
                targets = self.of_module(name, attributes)
            edges += [(f"string {place}", target) for target in targets]
        links += [key for _, key in edges if _is_link(key)]
        edges = [edge for edge in edges if not _is_link(edge[1])]
        names = [word for word in reading.words if _NAMES.fullmatch(word)]
        return Node(text, edges, links, names)

    def _effects(self, module: Module, key: Key) -> Node:
        """Returns what a module does beyond defining, in its order."""
        found = Node("effects", facts=[key])
        mentioned = module.mentioned
        told = []
        for statement in module.outline.statements:
            if statement.effect:
                own = self._node(module, statement.reading, statement)
                edges = [(f"{len(told)} {a}", b) for a, b in own.edges]
                told.append(own.text)
                found.links.extend(own.links)
                found.facts.extend(own.facts)
            elif self._acts(module, statement):
                own = Key("definition", module.name, statement.place)
                edges = [(str(len(told)), own)]
                told.append("acts")
            elif statement.assigns and mentioned & {
                *statement.bound,
                *(chain[0] for chain in statement.reading.names),
            }:
                edges = []
                told.append(f"sets {sorted(statement.bound)}")
            else:
                continue
            found.edges.extend(edges)
        for imported in module.outline.touched:
            if imported.name == "*":
                for target in self.of_import(module, imported, ()):
                    found.edges.append(("star", target))
                    told.append("star")
        for imported in module.outline.unused:
            # Imported for what it does.
            name = module.absolute(imported)
            if not self.known(name):
                told.append(f"import {name}")
        found.text = "\n".join(told)
        return found

    def _acts(self, module: Module, statement: Statement) -> bool:
        """Returns whether a definition does something when it is made."""
        tree = statement.tree
        if statement.assigns:
            # Own code that is called may change anything.
            called = {chain_of(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
            return any(
                self._own(module, chain)
                for chain in called
                if chain and not self.registry(module, statement)
            )
        for decorator in tree.decorator_list:
            call = isinstance(decorator, ast.Call)
            chain = chain_of(decorator.func if call else decorator)
            if chain is None:
                return True
            if chain[-1].startswith("register") or self._own(module, chain):
                packages = _packages(module.name)
                if not any(self.registers(module, chain, own) for own in packages):
                    return True
        return isinstance(tree, ast.ClassDef) and self._announced(module, tree)

    def _own(self, module: Module, chain: Chain) -> bool:
        """Returns whether a chain leads to code of the packages."""
        return any(
            isinstance(key, Key) and key.kind not in ("touch", "registry")
            for key in self.of_name(module, chain)
        )

    def _announced(self, module: Module, tree: ast.ClassDef, seen: tuple = ()) -> bool:
        """Returns whether a class's bases are told of it."""
        if tree.keywords:
            return True
        for chain in filter(None, map(chain_of, tree.bases)):
            for key in self.of_name(module, chain):
                if not isinstance(key, Key) or key.kind != "definition":
                    continue
                base = self.statement(key).tree
                if not isinstance(base, ast.ClassDef) or base in seen:
                    continue
                hooks = {getattr(own, "name", "") for own in base.body}
                other = self.finder.module(key.module)
                if "__init_subclass__" in hooks or self._announced(other, base, (*seen, tree)):
                    return True
        return False

    def _touched(self, module: Module) -> Iterator[Key]:
        """Returns what is run when a module is imported."""
        yield Key("effects", module.name)
        parent = module.name.rpartition(".")[0]
        if parent and self.known(parent):
            yield Key("touch", parent)
        for imported in module.outline.touched:
            for target in self.run_by(module, imported):
                if isinstance(target, Key):
                    yield target


@functools.lru_cache(maxsize=65536)
def _split(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))


def _is_link(key: Key | str) -> bool:
    return isinstance(key, Key) and key.kind == "touch"


def _packages(name: str) -> list[str]:
    """Returns a module's name and those of the packages around it."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
