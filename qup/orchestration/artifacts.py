"""Artifacts, what components give each other, and channels, their promises.

```python
class Model(Artifact):
    TYPE_NAME = "Model"
```
"""

import dataclasses
import enum
import math
import pathlib
from typing import Any, ClassVar

from qup.orchestration import errors, manifests

Value = bool | int | float | str
_VALUE_TYPES = (bool, int, float, str)


class ArtifactState(enum.IntEnum):
    """ML Metadata's numbers; only what is LIVE is reused."""

    UNKNOWN = 0
    PENDING = 1
    LIVE = 2
    MARKED_FOR_DELETION = 3
    DELETED = 4
    ABANDONED = 5
    REFERENCE = 6


@dataclasses.dataclass(kw_only=True)
class Artifact:
    """A folder of files, unchanging once published; subclass it per type.

    Attributes:
      uri: Where the files lie; for an output, first where to make them.
      properties: Facts that the producer states; numbers, strings, bools.
        Components behind it see them, so they enter their fingerprints.
      id: Number in the metadata; 0 before publication.
      type_name: Name of the type in the metadata.
      digest: sha256 over the names, sizes and bytes of the files.
      manifest: The files as they were published.
      state: Whether the files are still what was published.
    """

    TYPE_NAME: ClassVar[str] = "Artifact"

    uri: str
    properties: dict[str, Value] = dataclasses.field(default_factory=dict)
    id: int = 0
    type_name: str = ""
    digest: str = ""
    manifest: manifests.Manifest = dataclasses.field(default_factory=dict, repr=False)
    state: ArtifactState = ArtifactState.LIVE

    def __init_subclass__(cls):
        cls.TYPE_NAME = cls.__dict__.get("TYPE_NAME", cls.__name__)

    def __post_init__(self):
        self.type_name = self.type_name or self.TYPE_NAME

    @property
    def path(self) -> pathlib.Path:
        """The folder that holds the files."""
        return pathlib.Path(self.uri)

    def cast(self, kind: type["Artifact"]) -> "Artifact":
        """Returns the same artifact as an instance of another class."""
        return kind(**vars(self))

    def mark_damaged(self) -> None:
        """Notes that the files are no longer what was published."""
        self.state = ArtifactState.DELETED
        if self.path.exists():
            self.state = ArtifactState.MARKED_FOR_DELETION

    def check_properties(self, label: str) -> None:
        """Raises a PipelineError if a property cannot be kept.

        Args:
          label: What the artifact is, for the message.
        """
        for name, value in self.properties.items():
            value_type = next((k for k in _VALUE_TYPES if isinstance(value, k)), None)
            too_large = value_type is int and abs(value) >= 2**63
            not_finite = value_type is float and not math.isfinite(value)
            if value_type is None or too_large or not_finite:
                raise errors.PipelineError(
                    f"Property {name!r} of {label} must be a finite number "
                    f"of 64 bits, a string or a bool; got {value!r}. Write "
                    "other things into a file of the artifact."
                )
            self.properties[name] = value_type(value)

    def get_identity(self) -> list[Any]:
        """Returns all that a component can read of it, as a JSON value."""
        return [self.type_name, self.digest, self.properties]


@dataclasses.dataclass(frozen=True, eq=False)
class Channel:
    """The promise of one output of one node.

    Attributes:
      type: What it will hold.
      producer: The node that makes it.
      key: The name of the output.
    """

    type: type[Artifact]
    producer: Any
    key: str

    def __str__(self) -> str:
        return f"{self.producer.id}.outputs[{self.key!r}]"
