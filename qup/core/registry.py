"""Plug-ins by name: one file registers one thing, nobody keeps a list.

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
from collections.abc import Callable, Mapping
from typing import Any

from qup.core import errors


class Registry:
    """Functions under their own names, found in the files of one package."""

    def __init__(self, package: str, kind: str):
        """Makes an empty registry.

        Args:
          package: Dotted name of the package whose files hold the plug-ins;
            they are imported at the first look-up.
          kind: What a plug-in is called in messages ("attack").
        """
        self._package = package
        self._kind = kind
        self._functions: dict[str, Callable] = {}
        self._traits: dict[str, Mapping[str, Any]] = {}
        self._plugins_imported = False

    def register(self, function: Callable | None = None, **traits: Any):
        """Enters a function under its own name; use it as a decorator.

        Args:
          function: The plug-in, when used without parentheses.
          **traits: Facts about the plug-in, for `traits`.

        Returns:
          The function itself, or a decorator.

        Raises:
          ValueError: The name is taken.
        """
        if function is None:
            return lambda decorated: self._add(decorated, traits)
        return self._add(function, traits)

    def _add(self, function: Callable, traits: Mapping[str, Any]) -> Callable:
        name = function.__name__
        if name in self._functions:
            raise ValueError(f"Two {self._kind}s are called {name!r}.")
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
        """Returns the function registered as `name`.

        Raises:
          InputError: No such name; the message lists the known ones.
        """
        self._import_plugins()
        if name not in self._functions:
            raise errors.make_unknown_error(self._kind, name, self._functions)
        return self._functions[name]

    def traits(self, name: str) -> Mapping[str, Any]:
        """Returns the facts that `name` was registered with."""
        self.get(name)
        return self._traits[name]


def find_registered_names(folder: pathlib.Path) -> tuple[str, ...]:
    """Returns the names of functions that files of a package register, sorted.

    From the syntax trees alone: nothing is imported, so that a command line
    can list its choices before TensorFlow is there.

    Args:
      folder: The package's folder. A registered function is one decorated
        with `register`, alone or called, of any module.
    """
    names = []
    for path in folder.glob("*.py"):
        for statement in ast.parse(path.read_bytes()).body:
            for decorator in getattr(statement, "decorator_list", ()):
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                if ast.unparse(called).rpartition(".")[2] == "register":
                    names.append(statement.name)
    return tuple(sorted(names))
