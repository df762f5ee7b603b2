"""Fingerprints of the code that a component can reach.

```python
code = Code(packages=("qup",), distributions=("tensorflow", "keras", "numpy"))
code.compute_fingerprint(Trainer.fn, {"model_name": "convnet"})
```

`qup.core.code` documents what is reached and what cannot be seen. Comments, docstrings, formatting
and the place of a definition in the packages do not count. This package does not count either,
because it does not change results. Files of data do not count.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Any

from qup.core import code, hashing
from qup.orchestration import errors


@dataclasses.dataclass(frozen=True)
class Code:
    """Which code counts.

    Attributes:
      packages: Modules of and below these count. Default: the component's top-level package.
      distributions: Installed distributions whose versions count.
      describe_environment: Returns what else counts, as JSON values: the device, the number format.
        None: nothing else.
    """

    packages: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    describe_environment: Callable[[], Mapping[str, Any]] | None = None

    def compute_fingerprint(
        self, function: Callable, parameters: Mapping[str, Any] | None = None
    ) -> str:
        """Returns the SHA-256, in hex, of the code that a function can reach and its surroundings.

        Args:
          function: A function in a file.
          parameters: Its parameters. Registered functions count if a parameter names them.

        Raises:
          PipelineError: The function is not in a file, a file is not Python, or a distribution is
            not installed.
        """
        try:
            digest = code.compute_digest(function, **self._get_options(parameters))
        except code.CodeError as error:
            raise errors.PipelineError(str(error)) from error
        versions = {name: _get_version(name) for name in self.distributions}
        if self.describe_environment is None:
            return hashing.hash_json([digest, versions])
        return hashing.hash_json([digest, versions, dict(self.describe_environment())])

    def list_reached(
        self, function: Callable, parameters: Mapping[str, Any] | None = None
    ) -> set[tuple[str, str]]:
        """Returns (module, name) of each definition that counts."""
        return code.list_reached(function, **self._get_options(parameters))

    def _get_options(self, parameters: Mapping[str, Any] | None) -> dict[str, Any]:
        words = set(_iterate_strings(parameters or {}))
        return {"packages": self.packages, "without": (__package__,), "words": words}


def _iterate_strings(value: Any) -> Iterator[str]:
    """Yields every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _iterate_strings(item)


def _get_version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError as error:
        raise errors.PipelineError(
            f"The distribution {distribution!r} is not installed, so its version cannot enter the "
            "fingerprint. Install it, or correct the name."
        ) from error
