"""What the arguments of components are declared to be, and checks of it."""

import dataclasses
import enum
import functools
import inspect
import math
import pathlib
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from qup.core import hashing
from qup.orchestration import errors
from qup.orchestration.artifacts import Artifact, Channel

# Parameters of components: JSON values of the type the annotation says.


_SCALARS = (bool, int, float, str, type(None))


def convert_value(annotation: Any, value: Any) -> Any:
    """Returns a copy of `value` in the type that `annotation` declares.

    Args:
      annotation: bool, int, float, str, None, list, tuple, dict with strings
        as keys, these with element types, Literal, unions of them, or Any.
      value: What was given; an int is taken for a float, a list for a
        tuple, a tuple for a list.

    Returns:
      The copy; JSON can express it.

    Raises:
      PipelineError: The value is of another type, or no JSON value.
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
    # The value's own type first: 1 stays an int in float | int.
    for member_type in sorted(member_types, key=lambda c: c is not type(value)):
        try:
            return convert_value(member_type, value)
        except errors.PipelineError:
            continue
    raise _build_type_error(union, value)


def _infer_type(value: Any) -> Any:
    """Returns the JSON type that `value` is of."""
    for kind in _SCALARS:
        if isinstance(value, kind):
            return kind
    if isinstance(value, list | tuple):
        return list
    return dict if isinstance(value, Mapping) else types.GenericAlias


T = TypeVar("T")


class Role(enum.Enum):
    """What an argument is to its component."""

    INPUT = "input"
    OUTPUT = "output"
    PARAMETER = "parameter"
    LOCATION = "place"
    STATEFUL = "stateful"


# An artifact, or a list of artifacts, that another node makes.
In = Annotated[T, Role.INPUT]
# An artifact to make.
Out = Annotated[T, Role.OUTPUT]
# A parameter that is recorded, but no part of what identifies the result:
# where the same data lie. Not where a result is to go.
Location = Annotated[T, Role.LOCATION]
# A folder that survives retries, for checkpoints; removed on completion.
StatefulDir = Annotated[pathlib.Path, Role.STATEFUL]


@dataclasses.dataclass(frozen=True)
class Argument:
    """One declared argument of a component.

    Attributes:
      label: Its name and its component's, for messages.
      role: What it is.
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
        """Returns the channels given for an input, checked.

        Args:
          value: A channel, or a list of channels where `many`.

        Raises:
          PipelineError: They are none, or of another type.
        """
        if isinstance(value, list | tuple) and not self.many:
            raise errors.PipelineError(
                f"{self.label} takes one channel; got {len(value)} in a {type(value).__name__}."
            )
        channels = value if isinstance(value, list | tuple) else [value]
        for channel in channels:
            if not isinstance(channel, Channel):
                raise errors.PipelineError(
                    f"{self.label} takes a channel, such as node.outputs['name']; got {channel!r}."
                )
            if not issubclass(channel.type, self.type):
                raise errors.PipelineError(
                    f"{self.label} takes {self.type.TYPE_NAME}; {channel} "
                    f"holds {channel.type.TYPE_NAME}."
                )
        return list(channels)

    def convert(self, value: Any) -> Any:
        """Returns a parameter's value in its declared type.

        Raises:
          PipelineError: It is of another type.
        """
        try:
            return convert_value(self.type, value)
        except errors.PipelineError as error:
            raise errors.PipelineError(f"{self.label}: {error}.") from error


def parse_argument(component: str, parameter: inspect.Parameter, hint: Any) -> Argument:
    """Reads one argument of a component's function.

    Args:
      component: Name of the component.
      parameter: The argument in the function's signature.
      hint: Its annotation; None if it has none.

    Returns:
      The argument.

    Raises:
      PipelineError: The declaration makes no sense.
    """
    label = f"Argument {parameter.name!r} of {component}"
    if hint is None or parameter.kind not in (
        parameter.POSITIONAL_OR_KEYWORD,
        parameter.KEYWORD_ONLY,
    ):
        raise errors.PipelineError(
            f"{label} must be given by name and annotated: In[...], "
            "Out[...], StatefulDir, Place[...] or a JSON type."
        )
    declared_type, role = _unwrap_annotation(hint)
    argument = Argument(label, role, declared_type, parameter.default)
    if role in (Role.INPUT, Role.OUTPUT):
        return _parse_artifact(argument)
    if parameter.default is not parameter.empty:
        argument.convert(parameter.default)
    return argument


def _parse_artifact(argument: Argument) -> Argument:
    kind, role = argument.type, argument.role
    many = role is Role.INPUT and typing.get_origin(kind) is list
    (kind,) = typing.get_args(kind) if many else (kind,)
    if not (isinstance(kind, type) and issubclass(kind, Artifact)):
        raise errors.PipelineError(
            f"{argument.label} must name a subclass of Artifact; got {kind!r}."
        )
    optional = (None,) if role is Role.INPUT else ()
    if argument.default not in (inspect.Parameter.empty, *optional):
        raise errors.PipelineError(
            f"{argument.label} cannot have {argument.default!r} as its "
            "default; an input may have None, an output nothing."
        )
    return dataclasses.replace(argument, type=kind, many=many)


def _unwrap_annotation(hint: Any) -> tuple[Any, Role]:
    """Returns what In[...], In[...] | None and the like hold, and its role."""
    for annotation in (hint, *typing.get_args(hint)):
        if typing.get_origin(annotation) is Annotated:
            role = annotation.__metadata__[0]
            if isinstance(role, Role):
                return annotation.__origin__, role
    return hint, Role.PARAMETER


def check_name(kind: str, name: str) -> str:
    """Returns `name` if it can be a folder.

    Args:
      kind: What it names, for the message.
      name: The name.

    Raises:
      PipelineError: It cannot.
    """
    if not re.fullmatch(r"\w[\w.-]{0,99}", str(name), re.ASCII):
        raise errors.PipelineError(
            f"{kind} {name!r} must be 1 to 100 ASCII letters, digits, '_', "
            "'.' and '-', and not begin with '.' or '-'."
        )
    return name


# Components, functions with annotated arguments, and nodes, their uses.
#
# ```python
# @component
# def Trainer(
#     examples: In[Examples],
#     model: Out[Model],
#     checkpoints: StatefulDir,
#     *,
#     epochs: int = 1,
#     data_dir: Place[str] = "",
# ) -> None: ...
#
# trainer = Trainer(examples=gen.outputs["examples"], epochs=3)
# evaluator = Evaluator(model=trainer.outputs["model"])
# Trainer.fn(...)  # the plain function, for tests
# ```
#
# An input is an `Artifact`, `In[list[Model]]` a list of them; both may have
# None as their default. An output is an `Artifact` with an empty folder to
# fill and properties to set. Parameters are JSON values.


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
            name: parse_argument(self.name, parameter, hints.get(name))
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
        self.id = check_name("Node id", node_id)
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
        return hashing.hash_json(identity)


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
