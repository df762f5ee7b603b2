"""What qup adds to the records of other engines, such as TFX, in properties of their own.

These engines know artifacts with plain properties, and parameters as text. A bool, a digest or the
names of the files would be lost; one property with JSON keeps them.
"""

import json
from collections.abc import Mapping
from typing import Any

from qup.orchestration.artifacts import Artifact, ManifestEntry

# Of an artifact: its exact properties, its digest and its manifest, as JSON.
ARTIFACT_KEY = "qup_record"
# Of an execution: the full name of the component, and the fingerprint of its code.
COMPONENT_KEY, CODE_KEY = "qup_component", "qup_code"
# Of a run: its parameters, as JSON.
RUN_KEY = "qup_parameters"


def encode_artifact(artifact: Artifact) -> dict[str, int | float | str]:
    """Returns an artifact's properties for an engine: its own, a bool as 0 or 1, and a record."""
    record = {
        "properties": artifact.properties,
        "digest": artifact.digest,
        "manifest": {name: list(entry) for name, entry in artifact.manifest.items()},
    }
    plain = {k: int(v) if isinstance(v, bool) else v for k, v in artifact.properties.items()}
    return {**plain, ARTIFACT_KEY: json.dumps(record, sort_keys=True)}


def decode_artifact(
    kind: type[Artifact], uri: str, properties: Mapping[str, Any], **fields: Any
) -> Artifact:
    """Returns an artifact from an engine's properties; the inverse of `encode_artifact`.

    Args:
      kind: Its class.
      uri: Its address.
      properties: What `encode_artifact` returned. Without the record, as other components write
        them, they are taken as they are.
      **fields: Other fields of the artifact.
    """
    if ARTIFACT_KEY not in properties:
        return kind(uri=uri, properties=dict(properties), **fields)
    record = json.loads(properties[ARTIFACT_KEY])
    manifest = {name: ManifestEntry(*entry) for name, entry in record["manifest"].items()}
    return kind(
        uri=uri,
        properties=record["properties"],
        digest=record["digest"],
        manifest=manifest,
        **fields,
    )


def encode_parameters(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Returns parameters as JSON, one text per parameter."""
    return {name: json.dumps(value, sort_keys=True) for name, value in parameters.items()}


def decode_execution(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Returns fields of an execution, from the properties that an engine stores; {} if not of qup.

    Args:
      properties: `encode_parameters` of its parameters, with `COMPONENT_KEY` and `CODE_KEY`.
    """
    if COMPONENT_KEY not in properties:
        return {}
    rest = {k: v for k, v in properties.items() if k not in (COMPONENT_KEY, CODE_KEY)}
    return {
        "component": properties[COMPONENT_KEY].rpartition(".")[2],
        "code": properties.get(CODE_KEY, ""),
        "parameters": {k: json.loads(v) for k, v in rest.items() if not k.startswith("__")},
    }
