"""What the arguments of components are declared to be, and checks of it."""

import dataclasses
import enum
import inspect
import pathlib
import re
import typing
from typing import Annotated, Any, TypeVar

from qup.orchestration import errors, parameters
from qup.orchestration.artifacts import Artifact, Channel

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
            return parameters.convert_value(self.type, value)
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
