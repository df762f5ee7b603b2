"""What the names that code reads mean: definitions, modules, registries."""

import ast
from typing import NamedTuple

from qup.core.modules import Finder, Module, Statement, below
from qup.core.syntax import Chain, Import

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
