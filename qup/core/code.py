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

import ast
import contextlib
import functools
import gc
import inspect
import pathlib
import re
import sys
from collections.abc import Callable, Collection, Iterator

from qup.core import graphs, hashing, meanings, syntax
from qup.core.meanings import Key, chain_of
from qup.core.modules import CodeError, Finder, Module, Statement, below
from qup.core.syntax import Chain, Import

_NAMES = re.compile(r"\w+([\s,;|:/+]+\w+)*")


_graphs: dict[tuple, "_Code"] = {}


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


class _Code(meanings.Meanings, graphs.Graph):
    """The definitions of some packages, as a graph."""

    def digest(self, roots: list[Key]) -> str:
        """Returns the digest of roots, the first of them the function."""
        facts = self.facts_of(roots)
        effects = {key for key in facts if isinstance(key, Key)}
        told = [self.digest_of(roots[0])]
        for keys in (roots[1:], (k for k in effects if k.kind == "effects")):
            told.append(sorted({self.digest_of(key) for key in keys}))
        return hashing.json_digest(told)

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
            key = Key(f"tree {hashing.text_digest(reading.text)}", name)
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

    def node(self, key: Key) -> graphs.Node:
        """Returns a node's text, and what it leads to."""
        if key.kind == "registry":
            return graphs.Node(f"registry {key.place}", facts=[key])
        module = self.finder.module(key.module)
        if key.kind in ("definition", "root"):
            return self._definition(module, key)
        if key.kind == "effects":
            return self._effects(module, key)
        if key.kind == "touch":
            return graphs.Node("", links=[*self._touched(module)])
        found = graphs.Node("whole", links=[Key("touch", module.name)])
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

    def _definition(self, module: Module, key: Key) -> graphs.Node:
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
    ) -> graphs.Node:
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
        return graphs.Node(text, edges, links, names)

    def _effects(self, module: Module, key: Key) -> graphs.Node:
        """Returns what a module does beyond defining, in its order."""
        found = graphs.Node("effects", facts=[key])
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
