"""Engines that run the nodes of a pipeline: the built-in runner, and adapters to other programs.

```python
engine = Engine("tfx-local")
engine.check()  # the packages that it needs are installed
run_nodes(run, nodes, "ifa", {}, engine=engine)  # qup/pipelines/run.py
```

The module of an engine has the function `run_nodes(engine, run, nodes, pipeline, run_parameters,
*, on_event, on_failure, on_success)`, which does what `qup.pipelines.run.run_nodes` does, with the
same arguments and result; or, if the engine only writes a file for another machine, the function
`write_specification(engine, run, nodes, pipeline)`. The built-in runner has no module.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import io
import pathlib
import types
from collections.abc import Mapping
from typing import Any

from qup.core import errors, extras
from qup.core.parts import WHOLE, Part

# Name of an engine -> its module in this package; "" for the built-in runner.
MODULES = {"local": "", "ray": "ray", "tfx-local": "tfx", "tfx-beam": "tfx", "kubeflow": "tfx"}
# Name of an engine -> the imports that it needs, and the file that pins their versions.
_REQUIREMENTS = {
    "tfx-local": (("ml_metadata", "tfx", "portpicker", "googleapiclient"), "requirements-tfx.txt"),
    "tfx-beam": (("ml_metadata", "tfx", "apache_beam"), "requirements-tfx-full.txt"),
    "kubeflow": (("ml_metadata", "tfx", "apache_beam", "kfp"), "requirements-tfx-full.txt"),
}


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
        if not module:
            return None
        # TFX prints which of its own components it cannot import; they are not used here.
        with contextlib.redirect_stderr(io.StringIO()):
            return importlib.import_module(f"{__name__}.{module}")

    @property
    def part(self) -> Part:
        """The part of the work that this process does.

        Raises:
          InputError: The option "part" is not one.
        """
        text = self.options.get("part")
        return WHOLE if text is None else Part.parse(text)

    @property
    def is_divided(self) -> bool:
        """Whether several processes share the work of a step, in one folder."""
        return self.name == "ray" or "part" in self.options

    @property
    def only_writes(self) -> bool:
        """Whether the engine writes a file for another machine and runs nothing."""
        return self.name == "kubeflow"

    def get_root(self, pipeline_root: pathlib.Path) -> pathlib.Path:
        """Returns the folder in a pipeline root that has this engine's artifacts and metadata."""
        return pipeline_root / "tfx" if MODULES[self.name] == "tfx" else pipeline_root

    def check(self) -> None:
        """Raises an `InputError` if the engine cannot be used here, before any work."""
        if self.name not in MODULES:
            raise errors.make_unknown_error("engine", self.name, MODULES)
        if self.name == "ray":
            extras.check_installed("The engine ray", "ray")
        modules, requirements = _REQUIREMENTS.get(self.name, ((), ""))
        for module in modules:
            if importlib.util.find_spec(module) is None:
                raise extras.MissingExtraError(
                    f"The engine {self.name} needs {module}, which is not installed. Install it "
                    f"in an environment of its own: pip install --no-deps -r {requirements} "
                    "(docs/engines-tfx.md)."
                )


LOCAL = Engine()
