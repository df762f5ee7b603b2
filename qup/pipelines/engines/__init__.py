"""Engines that run the nodes of a pipeline: the built-in runner, and adapters to other programs.

```python
engine = Engine("tfx-local")
engine.check()  # the packages that it needs are installed
run_nodes(run, nodes, "ifa", {}, engine=engine)  # qup/pipelines/run.py
```

The module of an engine has these functions; the built-in runner has no module:

- `check(engine)` raises an `InputError` if the engine cannot be used, before any work.
- `run_nodes(engine, run, nodes, pipeline, run_parameters, *, on_event, on_failure, on_success)`
  does what `qup.pipelines.run.run_nodes` does, with the same arguments and result.
"""

import dataclasses
import importlib
import types
from collections.abc import Mapping
from typing import Any

from qup.core import errors

# Name of an engine -> its module in this package; "" for the built-in runner.
MODULES = {"local": ""}


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine and its options.

    Attributes:
      name: One of `MODULES`.
      options: JSON values by name; each engine has its own.
    """

    name: str = "local"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def load(self) -> types.ModuleType | None:
        """Returns the module of the engine; None for the built-in runner.

        Raises:
          InputError: There is no such engine.
        """
        if self.name not in MODULES:
            raise errors.make_unknown_error("engine", self.name, MODULES)
        module = MODULES[self.name]
        return importlib.import_module(f"{__name__}.{module}") if module else None

    def check(self) -> None:
        """Raises an `InputError` if the engine cannot be used here."""
        if module := self.load():
            module.check(self)


LOCAL = Engine()
