"""Fingerprints of code: what a component can reach of it.

```python
code = Code(
    packages=("qup",),
    distributions=("tensorflow", "keras", "numpy"),
)
code.fingerprint(Trainer.fn, {"model_name": "convnet"})
```

What is reached, and what cannot be seen, `qup.core.code` says. Neither
comments, docstrings and formatting count, nor where in the packages code
lies. Of this package nothing counts: what it does shapes no result. Nor do
files of data.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Any

from qup.core import code, hashing
from qup.orchestration import errors


@dataclasses.dataclass(frozen=True)
class Code:
    """What code counts.

    Attributes:
      packages: Modules of and below these count; without any, those of the
        component's own top-level package.
      distributions: Installed distributions whose versions count.
    """

    packages: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()

    def fingerprint(self, function: Callable, given: Mapping[str, Any] | None = None) -> str:
        """Returns the sha256 of the code that `function` can reach, in hex.

        Args:
          function: A function in a file.
          given: Its parameters; the functions of registries that they name
            are those that count.

        Raises:
          PipelineError: The function is in no file, a file is no Python, or
            a distribution is unknown.
        """
        try:
            reached = code.identity(
                function,
                packages=self.packages,
                without=(__package__,),
                words=set(_texts(given or {})),
            )
        except code.CodeError as error:
            raise errors.PipelineError(str(error)) from error
        versions = {name: _version(name) for name in self.distributions}
        return hashing.json_digest([reached, versions])

    def reached(
        self, function: Callable, given: Mapping[str, Any] | None = None
    ) -> set[tuple[str, str]]:
        """Returns (module, name) of each definition that counts."""
        return code.reached(
            function, packages=self.packages, without=(__package__,), words=set(_texts(given or {}))
        )


def _texts(value: Any) -> Iterator[str]:
    """Returns every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from value
        for own in value.values():
            yield from _texts(own)
    elif isinstance(value, list | tuple):
        for own in value:
            yield from _texts(own)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError as error:
        raise errors.PipelineError(
            f"The distribution {distribution!r} is not installed, so its "
            "version cannot enter the fingerprint. Install it, or correct "
            "the name."
        ) from error
