"""Plug-ins by name: each file registers its own function, without a central list.

```python
attacks = Registry("qup.attacks", "attack")

@attacks.register(norms=("linf",))
def fgsm(logits_fn, images, labels, *, epsilon): ...

attacks.get("fgsm")
```
"""

import ast
import importlib
import pathlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from qup.core import errors


class Registry:
    """Maps names to functions that the modules of one package register."""

    def __init__(self, package: str, kind: str):
        """Creates an empty registry.

        Args:
          package: Dotted name of the package. All its modules are imported at the first lookup.
          kind: The kind of plug-in in error messages ("attack").
        """
        self._package = package
        self._kind = kind
        self._functions: dict[str, Callable] = {}
        self._traits: dict[str, Mapping[str, Any]] = {}
        self._plugins_imported = False

    def register(self, function: Callable | None = None, **traits: Any):
        """Registers a function under its `__name__`; a decorator, with or without arguments.

        Args:
          function: The plug-in, when used without parentheses.
          **traits: Properties of the plug-in, see `traits`.

        Raises:
          ValueError: The name is already registered.
        """
        if function is None:
            return lambda decorated: self._add(decorated, traits)
        return self._add(function, traits)

    def _add(self, function: Callable, traits: Mapping[str, Any]) -> Callable:
        name = function.__name__
        if name in self._functions:
            raise ValueError(f"Two {self._kind}s have the name {name!r}.")
        self._functions[name] = function
        self._traits[name] = traits
        return function

    def _import_plugins(self) -> None:
        if not self._plugins_imported:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            self._plugins_imported = True

    def names(self) -> tuple[str, ...]:
        """Returns every registered name, sorted."""
        self._import_plugins()
        return tuple(sorted(self._functions))

    def get(self, name: str) -> Callable:
        """Returns the function registered as `name`; raises an InputError that lists all names."""
        self._import_plugins()
        if name not in self._functions:
            raise errors.make_unknown_error(self._kind, name, self._functions)
        return self._functions[name]

    def traits(self, name: str) -> Mapping[str, Any]:
        """Returns the properties that `name` was registered with."""
        self.get(name)
        return self._traits[name]


def find_registered_names(folder: pathlib.Path) -> tuple[str, ...]:
    """Returns the names of functions and classes that are decorated with `register`, sorted.

    The modules are parsed, not imported: a command line lists its choices before TensorFlow loads.

    Args:
      folder: The package's folder.
    """
    return tuple(sorted(find_registered_options(folder)))


def find_registered_options(folder: pathlib.Path) -> dict[str, tuple[str, ...]]:
    """Returns the options of everything that is decorated with `register`, by its name.

    The options of a function are its keyword-only arguments, those of a class its annotated fields
    and those of its bases in the folder. The modules are parsed, not imported.

    Args:
      folder: The package's folder.
    """
    modules = [ast.parse(path.read_bytes()).body for path in sorted(folder.glob("*.py"))]
    everywhere = _find_definitions(statement for body in modules for statement in body)
    options: dict[str, tuple[str, ...]] = {}
    for body in modules:
        # A base of the same file comes before one of the same name elsewhere.
        definitions = everywhere | _find_definitions(body)
        for statement in body:
            for decorator in getattr(statement, "decorator_list", ()):
                name = _parse_registration(decorator, statement)
                if name is not None:
                    options[name] = tuple(dict.fromkeys(_list_options(statement, definitions)))
    return options


def _find_definitions(statements: Iterable[ast.stmt]) -> dict[str, ast.stmt]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {statement.name: statement for statement in statements if isinstance(statement, kinds)}


def _parse_registration(decorator: ast.expr, statement: ast.stmt) -> str | None:
    """Returns the name that a decorator registers; None for another decorator."""
    call = decorator if isinstance(decorator, ast.Call) else None
    if ast.unparse(call.func if call else decorator).rpartition(".")[2] != "register":
        return None
    first = call.args[0] if call and call.args else None
    is_name = isinstance(first, ast.Constant) and isinstance(first.value, str)
    return first.value if is_name else statement.name


def _list_options(statement: ast.stmt, definitions: Mapping[str, ast.stmt]) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef):
        yield from (argument.arg for argument in statement.args.kwonlyargs)
        return
    for base in statement.bases:
        definition = definitions.get(ast.unparse(base).rpartition(".")[2])
        if definition not in (None, statement):
            yield from _list_options(definition, definitions)
    for field in statement.body:
        if isinstance(field, ast.AnnAssign) and "ClassVar" not in ast.unparse(field.annotation):
            yield ast.unparse(field.target)
