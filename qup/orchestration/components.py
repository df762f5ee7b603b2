"""Components, functions with annotated arguments, and nodes, their uses.

```python
@component
def Trainer(
    examples: In[Examples],
    model: Out[Model],
    checkpoints: StatefulDir,
    *,
    epochs: int = 1,
    data_dir: Place[str] = "",
) -> None: ...

trainer = Trainer(examples=gen.outputs["examples"], epochs=3)
evaluator = Evaluator(model=trainer.outputs["model"])
Trainer.fn(...)  # the plain function, for tests
```

An input is an `Artifact`, `In[list[Model]]` a list of them; both may have
None as their default. An output is an `Artifact` with an empty folder to
fill and properties to set. Parameters are JSON values.
"""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from qup.core import hashing
from qup.orchestration import annotations, errors
from qup.orchestration.annotations import Argument, Role
from qup.orchestration.artifacts import Artifact, Channel


class Component:
    """A step that can stand in pipelines; made by `component`.

    Attributes:
      fn: The plain function.
      name: Its name.
      cached: Whether its results are reused.
      arguments: What it declares, by name.
    """

    def __init__(self, fn: Callable[..., None], cached: bool = True):
        """Reads the function's annotations; see `component`."""
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.name = fn.__name__
        self.cached = cached
        hints = typing.get_type_hints(fn, include_extras=True)
        if hints.pop("return", type(None)) is not type(None):
            raise errors.PipelineError(
                f"Component {self.name} must be annotated -> None: what it "
                "makes goes into its Out[...] artifacts."
            )
        self.arguments = {
            name: annotations.parse_argument(self.name, parameter, hints.get(name))
            for name, parameter in inspect.signature(fn).parameters.items()
        }

    def get_arguments(self, *roles: Role) -> dict[str, Argument]:
        """Returns the arguments of the given roles, by name."""
        return {
            name: argument for name, argument in self.arguments.items() if argument.role in roles
        }

    def __call__(self, **arguments: Any) -> "Node":
        """Makes a node of a pipeline.

        Args:
          **arguments: A channel for each input (a list of channels where it
            takes a list), a value for each parameter.

        Returns:
          The node; its id is the component's name.

        Raises:
          PipelineError: An argument is unknown, missing or of a wrong type.
        """
        known = self.get_arguments(Role.INPUT, Role.PARAMETER, Role.LOCATION)
        for name in arguments:
            if name not in known:
                raise errors.make_unknown_error(f"argument of {self.name}", name, known)
        inputs, parameters = {}, {}
        for name, argument in known.items():
            value = arguments.get(name, argument.default)
            if value is inspect.Parameter.empty:
                raise errors.PipelineError(
                    f"{argument.label} is missing. Give it: {self.name}({name}=...)."
                )
            if argument.role is not Role.INPUT:
                parameters[name] = argument.convert(value)
            elif not (value is None and argument.default is None):
                inputs[name] = argument.check_channels(value)
        return Node(self, inputs, parameters)


class Node:
    """One use of a component in a pipeline.

    Attributes:
      component: What it runs.
      id: Its name in the pipeline and its folder in the pipeline root.
      inputs: Channels by input; optional ones not given are left out.
      parameters: Values by parameter.
      outputs: A channel for each output.
    """

    def __init__(
        self, component: Component, inputs: dict[str, list[Channel]], parameters: dict[str, Any]
    ):
        """Keeps checked arguments; call a component to make a node."""
        self.component = component
        self.inputs = inputs
        self.parameters = parameters
        self.outputs: Mapping[str, Channel] = _OutputChannels(
            (key, Channel(argument.type, self, key))
            for key, argument in component.get_arguments(Role.OUTPUT).items()
        )
        self.with_id(component.name)

    def with_id(self, node_id: str) -> "Node":
        """Names the node, and returns it.

        Raises:
          PipelineError: The name cannot be a folder.
        """
        self.id = annotations.check_name("Node id", node_id)
        return self

    def counted(self) -> dict[str, Any]:
        """Returns the parameters that shape the result: all but places."""
        counted = self.component.get_arguments(Role.PARAMETER)
        return {key: self.parameters[key] for key in counted}

    def compute_fingerprint(self, inputs: Mapping[str, list[Artifact]], code: str) -> str:
        """Returns what identifies the result, whatever the node is called.

        Args:
          inputs: The artifacts that it will read.
          code: Fingerprint of the code.
        """
        identity = {
            "component": self.component.name,
            "parameters": self.counted(),
            "inputs": {k: [a.get_identity() for a in v] for k, v in inputs.items()},
            "code": code,
        }
        return hashing.json_digest(identity)


class _OutputChannels(dict[str, Channel]):
    def __missing__(self, key: str) -> Channel:
        raise errors.make_unknown_error("output", key, self)


def component(fn: Callable[..., None] | None = None, *, cached: bool = True) -> Any:
    """Makes a component of a function; use it as a decorator.

    Args:
      fn: The function; its name is the component's.
      cached: False for one whose effect lies elsewhere: it runs every time.

    Returns:
      The component, or a decorator.

    Raises:
      PipelineError: An annotation is missing or makes no sense.
    """
    if fn is None:
        return functools.partial(Component, cached=cached)
    return Component(fn, cached)
