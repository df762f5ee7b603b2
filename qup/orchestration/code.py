"""Fingerprints of code: what a component's module is and imports.

```python
code = Code(
    packages=("qup",),
    plugins=("qup.attacks", "qup.models"),
    distributions=("tensorflow", "keras", "numpy"),
)
code.fingerprint(Trainer.fn, {"qup.models": ["convnet"]})
```

Comments, docstrings and formatting do not count. Imports within functions
do; those whose names are computed at run time are only seen where the
package is one of `plugins`. Neither files of data nor this package count:
what it does shapes no result.
"""

import ast
import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import pathlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import metadata

from qup.orchestration import errors, parameters


@dataclasses.dataclass(frozen=True)
class Code:
    """What code counts.

    Attributes:
      packages: Imports of and below these are followed; without any, those
        of the component's own top-level package.
      plugins: Packages whose modules are imported by name at run time.
      distributions: Installed distributions whose versions count.
    """

    packages: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()

    def fingerprint(
        self,
        function: Callable,
        chosen: Mapping[str, Collection[str]] | None = None,
    ) -> str:
        """Returns the sha256 of the code that `function` may run, in hex.

        Args:
          function: A function in a file.
          chosen: Names of the plug-ins it will use, by package. A package
            left out counts with all of its plug-ins, and so does one with a
            name that is none of its modules.

        Raises:
          PipelineError: The function is in no file, a file is no Python, or
            a distribution or a package of plug-ins is unknown.
        """
        files = {
            name: _parsed(path.read_bytes(), str(path))[0]
            for name, path in self.files(function, chosen or {}).items()
        }
        versions = {name: _version(name) for name in self.distributions}
        text = parameters.canonical([files, versions])
        return hashlib.sha256(text.encode()).hexdigest()

    def files(
        self, function: Callable, chosen: Mapping[str, Collection[str]]
    ) -> dict[str, pathlib.Path]:
        """Returns the files that count, by the names of their modules."""
        for unknown in set(chosen) - set(self.plugins):
            raise errors.unknown("plug-in package", unknown, self.plugins)
        origin, path = _origin(function)
        packages = self.packages or (origin.partition(".")[0],)
        found, pending = {}, {origin, *chosen}
        while pending:
            name = pending.pop()
            inside = _below(name, packages) and not _below(name, [__package__])
            file = path if name == origin else inside and _locate(name)
            if name in found or not file:
                continue
            found[name] = file
            pending |= _imports(name, file)
            if name in self.plugins:
                pending |= _plugins(name, file.parent, chosen.get(name))
        return found


def _below(name: str, packages: Collection[str]) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def _origin(function: Callable) -> tuple[str, pathlib.Path]:
    """Returns the module of a function and its file."""
    name = function.__module__
    spec = getattr(sys.modules.get(name), "__spec__", None)
    try:
        path = pathlib.Path(inspect.getsourcefile(inspect.unwrap(function)))
    except TypeError as error:
        raise errors.PipelineError(
            f"{function.__qualname__} is in no file, so a change of its code "
            "could not be seen. Write it into a module."
        ) from error
    return (spec.name if spec else name), path


def _locate(name: str) -> pathlib.Path | None:
    """Returns the file of a module, without importing anything."""
    top, *below = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:
        return None
    folders = (spec and spec.submodule_search_locations) or ()
    places = [pathlib.Path(folder, *below) for folder in folders]
    files = [place / "__init__.py" for place in places]
    if below:
        files += [place.with_name(f"{place.name}.py") for place in places]
    elif spec and spec.origin and spec.origin.endswith(".py"):
        files.append(pathlib.Path(spec.origin))
    return next((file for file in files if file.is_file()), None)


def _plugins(
    package: str, folder: pathlib.Path, names: Collection[str] | None
) -> set[str]:
    """Returns the modules of a package of plug-ins that may be imported."""
    modules = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        module = ".".join((package, *parts)).removesuffix(".__init__")
        modules[module] = parts[0]
    known = set(modules.values())
    wanted = known if names is None or not known.issuperset(names) else names
    return {module for module, name in modules.items() if name in wanted}


def _imports(name: str, path: pathlib.Path) -> set[str]:
    """Returns every module that a file may import, parents included."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    found = {name}
    for level, module in _parsed(path.read_bytes(), str(path))[1]:
        parts = package.split(".") if level else []
        base = parts[: max(len(parts) - level + 1, 0)]
        found.add(".".join([*base, module] if module else base))
    return {prefix for full in found for prefix in _prefixes(full)}


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        yield ".".join(parts[:length])


@functools.lru_cache(maxsize=4096)
def _parsed(source: bytes, path: str) -> tuple[str, tuple]:
    """Returns a file's digest and its imports [(level, dotted name)]."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise errors.PipelineError(f"{path} is no Python: {error}") from error
    imports = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {(0, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = [node.module] if node.module else []
            imports |= {
                (node.level, ".".join([*module, alias.name]))
                for alias in node.names
            }
        elif (
            isinstance(
                node,
                ast.Module
                | ast.ClassDef
                | ast.FunctionDef
                | ast.AsyncFunctionDef,
            )
            and ast.get_docstring(node, clean=False) is not None
        ):
            del node.body[0]
    digest = hashlib.sha256(ast.dump(tree).encode(errors="surrogatepass"))
    return digest.hexdigest(), tuple(sorted(imports))


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError as error:
        raise errors.PipelineError(
            f"The distribution {distribution!r} is not installed, so its "
            "version cannot enter the fingerprint. Install it, or correct "
            "the name."
        ) from error
