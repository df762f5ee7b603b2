"""Components, functions with annotated arguments, and nodes, their uses in a pipeline.

```python
@component
def Trainer(
    examples: In[Examples],
    model: Out[Model],
    checkpoints: StatefulDir,
    *,
    epochs: int = 1,
    data_dir: Location[str] = "",
) -> None: ...

trainer = Trainer(examples=gen.outputs["examples"], epochs=3)
evaluator = Evaluator(model=trainer.outputs["model"])
Trainer.fn(...)  # the plain function, for tests
```

An input is an `Artifact`, or a list of them for `In[list[Model]]`; both may have None as their
default. An output is an `Artifact` with an empty folder to fill and properties to set. Parameters
are JSON values.
"""

import dataclasses
import enum
import functools
import importlib
import inspect
import math
import pathlib
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from qup.core import hashing
from qup.core.parts import Part
from qup.orchestration import errors
from qup.orchestration.artifacts import Artifact, Channel

_SCALARS = (bool, int, float, str, type(None))


def convert_value(annotation: Any, value: Any) -> Any:
    """Returns a copy of a JSON value in the type that its annotation declares.

    Args:
      annotation: bool, int, float, str, None, list, tuple, dict with strings as keys, these with
        element types, Literal, unions of them, or Any.
      value: The value. An int is accepted as a float, a list as a tuple, a tuple as a list.

    Raises:
      PipelineError: The value has another type, or is not a JSON value.
    """
    kind = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    if kind in (typing.Union, types.UnionType):
        return _convert_union(annotation, arguments, value)
    if kind is Any:
        return convert_value(_infer_type(value), value)
    if kind is typing.Literal:
        if any(value == a and type(value) is type(a) for a in arguments):
            return value
    elif kind in (list, tuple) and isinstance(value, list | tuple):
        element_types = _get_element_types(kind, arguments, len(value))
        if len(element_types) == len(value):
            return kind(map(convert_value, element_types, value))
    elif kind is dict and isinstance(value, Mapping):
        _, value_type = arguments or (str, Any)
        return {convert_value(str, k): convert_value(value_type, v) for k, v in value.items()}
    elif _is_scalar(kind, value):
        return kind(value) if kind in (int, float) else value
    raise _build_type_error(annotation, value)


def _build_type_error(annotation: Any, value: Any) -> errors.PipelineError:
    expected, received = (
        kind.__name__ if type(kind) is type else str(kind) for kind in (annotation, type(value))
    )
    return errors.PipelineError(f"expected {expected}, received {value!r} ({received})")


def _is_scalar(kind: Any, value: Any) -> bool:
    if isinstance(value, bool) or kind not in _SCALARS:
        return kind is bool and isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, kind)


def _get_element_types(kind: type, arguments: tuple, length: int) -> tuple:
    """Returns the annotation of each element of a list or tuple."""
    if not arguments:
        return (Any,) * length
    if kind is tuple and arguments[-1] is not ...:
        return arguments
    return arguments[:1] * length


def _convert_union(union: Any, member_types: tuple, value: Any) -> Any:
    # The type of the value first: 1 stays an int in float | int.
    for member_type in sorted(member_types, key=lambda c: c is not type(value)):
        try:
            return convert_value(member_type, value)
        except errors.PipelineError:
            continue
    raise _build_type_error(union, value)


def _infer_type(value: Any) -> Any:
    """Returns the JSON type of a value."""
    for kind in _SCALARS:
        if isinstance(value, kind):
            return kind
    if isinstance(value, list | tuple):
        return list
    return dict if isinstance(value, Mapping) else types.GenericAlias


T = TypeVar("T")


class Role(enum.Enum):
    """The use of an argument in its component."""

    INPUT = "input"
    OUTPUT = "output"
    PARAMETER = "parameter"
    LOCATION = "location"
    STATEFUL = "stateful"
    PART = "part"


# An artifact, or a list of artifacts, from other nodes.
In = Annotated[T, Role.INPUT]
# An artifact to produce.
Out = Annotated[T, Role.OUTPUT]
# A parameter that is recorded but does not identify the result, such as the folder of a data set.
# Not the destination of a result.
Location = Annotated[T, Role.LOCATION]
# A folder for checkpoints; it survives failures and is removed on completion.
StatefulDir = Annotated[pathlib.Path, Role.STATEFUL]
# The part of the work to do. A component with this argument writes shards to its `StatefulDir` that
# depend on no part, and returns without outputs unless the part is the whole.
DoPart = Annotated[Part, Role.PART]


@dataclasses.dataclass(frozen=True)
class Argument:
    """One declared argument of a component.

    Attributes:
      label: Its name and its component's name, for messages.
      role: Its use.
      type: Type of the artifact, or annotation of the parameter.
      default: Its default, or `inspect.Parameter.empty`.
      many: Whether an input takes a list.
    """

    label: str
    role: Role
    type: Any
    default: Any
    many: bool = False

    def check_channels(self, value: Any) -> list[Channel]:
        """Returns the channels of an input as a list.

        Args:
          value: A channel, or with `many` a list of channels.

        Raises:
          PipelineError: The value is neither, or the channels have another type.
        """
        if isinstance(value, list | tuple) and not self.many:
            raise errors.PipelineError(
                f"{self.label} takes one channel; received {len(value)} in a "
                f"{type(value).__name__}."
            )
        channels = value if isinstance(value, list | tuple) else [value]
        for channel in channels:
            if not isinstance(channel, Channel):
                raise errors.PipelineError(
                    f"{self.label} takes a channel, such as node.outputs['name']; received "
                    f"{channel!r}."
                )
            if not issubclass(channel.type, self.type):
                raise errors.PipelineError(
                    f"{self.label} takes {self.type.TYPE_NAME}; {channel} "
                    f"has the type {channel.type.TYPE_NAME}."
                )
        return list(channels)

    def convert(self, value: Any) -> Any:
        """Returns a parameter's value in its declared type; see `convert_value`."""
        try:
            return convert_value(self.type, value)
        except errors.PipelineError as error:
            raise errors.PipelineError(f"{self.label}: {error}.") from error


def parse_argument(component: str, parameter: inspect.Parameter, hint: Any) -> Argument:
    """Parses the declaration of one argument of a component's function.

    Args:
      component: Name of the component.
      parameter: The argument in the function's signature.
      hint: Its annotation; None if it has none.

    Raises:
      PipelineError: The declaration is invalid.
    """
    label = f"Argument {parameter.name!r} of {component}"
    if hint is None or parameter.kind not in (
        parameter.POSITIONAL_OR_KEYWORD,
        parameter.KEYWORD_ONLY,
    ):
        raise errors.PipelineError(
            f"{label} must be passed by name and have an annotation: In[...], Out[...], "
            "StatefulDir, DoPart, Location[...] or a JSON type."
        )
    declared_type, role = _unwrap_annotation(hint)
    argument = Argument(label, role, declared_type, parameter.default)
    if role in (Role.INPUT, Role.OUTPUT):
        return _parse_artifact(argument)
    if role is Role.PART:
        return argument
    if parameter.default is not parameter.empty:
        argument.convert(parameter.default)
    return argument


def _parse_artifact(argument: Argument) -> Argument:
    kind, role = argument.type, argument.role
    many = role is Role.INPUT and typing.get_origin(kind) is list
    (kind,) = typing.get_args(kind) if many else (kind,)
    if not (isinstance(kind, type) and issubclass(kind, Artifact)):
        raise errors.PipelineError(
            f"{argument.label} must name a subclass of Artifact; received {kind!r}."
        )
    optional = (None,) if role is Role.INPUT else ()
    if argument.default not in (inspect.Parameter.empty, *optional):
        raise errors.PipelineError(
            f"{argument.label} cannot have the default {argument.default!r}; an input may have "
            "None, an output has no default."
        )
    return dataclasses.replace(argument, type=kind, many=many)


def _unwrap_annotation(hint: Any) -> tuple[Any, Role]:
    """Returns the type in In[...], In[...] | None and the like, and the role."""
    for annotation in (hint, *typing.get_args(hint)):
        if typing.get_origin(annotation) is Annotated:
            role = annotation.__metadata__[0]
            if isinstance(role, Role):
                return annotation.__origin__, role
    return hint, Role.PARAMETER


def check_name(kind: str, name: str) -> str:
    """Returns a name if it can be the name of a folder.

    Args:
      kind: What it names, for the message.
      name: The name.

    Raises:
      PipelineError: The name is invalid.
    """
    if not re.fullmatch(r"\w[\w.-]{0,99}", str(name), re.ASCII):
        raise errors.PipelineError(
            f"{kind} {name!r} must consist of 1 to 100 ASCII letters, digits, '_', '.' and '-', "
            "and not begin with '.' or '-'."
        )
    return name


def _import_component(module: str, name: str) -> "Component":
    return getattr(importlib.import_module(module), name)


class Component:
    """A step of pipelines; created by `component`.

    Attributes:
      fn: The plain function.
      name: Its name.
      cached: Whether its results are reused.
      arguments: Its declared arguments, by name.
    """

    def __init__(self, fn: Callable[..., None], cached: bool = True):
        """Parses the function's annotations; see `component`."""
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.name = fn.__name__
        self.cached = cached
        hints = typing.get_type_hints(fn, include_extras=True)
        if hints.pop("return", type(None)) is not type(None):
            raise errors.PipelineError(
                f"Component {self.name} must have the annotation -> None; its results go into its "
                "Out[...] artifacts."
            )
        self.arguments = {
            name: parse_argument(self.name, parameter, hints.get(name))
            for name, parameter in inspect.signature(fn).parameters.items()
        }

    def __reduce__(self):
        """Pickles a component of a module as a reference to it."""
        return _import_component, (self.fn.__module__, self.fn.__qualname__)

    def get_arguments(self, *roles: Role) -> dict[str, Argument]:
        """Returns the arguments of some roles, by name."""
        return {
            name: argument for name, argument in self.arguments.items() if argument.role in roles
        }

    def __call__(self, **arguments: Any) -> "Node":
        """Returns a node for a pipeline, with the component's name as its id.

        Args:
          **arguments: A channel for each input (a list of channels where it takes a list), a value
            for each parameter.

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
                    f"{argument.label} is missing. Pass it: {self.name}({name}=...)."
                )
            if argument.role is not Role.INPUT:
                parameters[name] = argument.convert(value)
            elif not (value is None and argument.default is None):
                inputs[name] = argument.check_channels(value)
        return Node(self, inputs, parameters)


class Node:
    """One use of a component in a pipeline.

    Attributes:
      component: The component.
      id: Its name in the pipeline and its folder in the pipeline root.
      inputs: Channels by input, without optional inputs that were not passed.
      parameters: Values by parameter.
      outputs: Channels by output.
    """

    def __init__(
        self, component: Component, inputs: dict[str, list[Channel]], parameters: dict[str, Any]
    ):
        """Stores checked arguments; call a component to create a node."""
        self.component = component
        self.inputs = inputs
        self.parameters = parameters
        self.outputs: Mapping[str, Channel] = _OutputChannels(
            (key, Channel(argument.type, self, key))
            for key, argument in component.get_arguments(Role.OUTPUT).items()
        )
        self.with_id(component.name)

    def with_id(self, node_id: str) -> "Node":
        """Sets the node's id, and returns the node.

        Raises:
          PipelineError: The id cannot be the name of a folder.
        """
        self.id = check_name("Node id", node_id)
        return self

    def get_counted_parameters(self) -> dict[str, Any]:
        """Returns the parameters that identify the result: all but locations."""
        return {key: self.parameters[key] for key in self.component.get_arguments(Role.PARAMETER)}

    def compute_fingerprint(self, inputs: Mapping[str, list[Artifact]], code: str) -> str:
        """Returns what identifies the result, independent of the node's id.

        Args:
          inputs: The artifacts that it will read.
          code: Fingerprint of the code.
        """
        identity = {
            "component": self.component.name,
            "parameters": self.get_counted_parameters(),
            "inputs": {k: [a.get_identity() for a in v] for k, v in inputs.items()},
            "code": code,
        }
        return hashing.hash_json(identity)


class _OutputChannels(dict[str, Channel]):
    def __missing__(self, key: str) -> Channel:
        raise errors.make_unknown_error("output", key, self)


def component(fn: Callable[..., None] | None = None, *, cached: bool = True) -> Any:
    """Turns a function into a component; a decorator, with or without arguments.

    Args:
      fn: The function. Its name is the component's name.
      cached: False for a component with effects outside of its outputs: it runs every time.

    Raises:
      PipelineError: An annotation is missing or invalid.
    """
    if fn is None:
        return functools.partial(Component, cached=cached)
    return Component(fn, cached)
