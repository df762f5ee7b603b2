"""Lineages as HTML tables: all that is known of every execution.

```python
page = f"<html><table>{table(lineage, redaction)}</table></html>"
```
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from qup.lineage import phrases
from qup.lineage.ancestry import Lineage
from qup.lineage.drawing import escape, format_artifact_name, format_artifact_path
from qup.lineage.outline import DIGEST_LENGTH, describe_origin
from qup.lineage.redaction import Redaction
from qup.orchestration.artifacts import Artifact
from qup.orchestration.executions import Execution, Run

# Width of each column in percent.
_COLUMN_WIDTHS = {
    "Execution": 15,
    "State and time (UTC)": 15,
    "Parameters and code": 26,
    "Inputs": 18,
    "Outputs": 26,
}


def format_table(lineage: Lineage, redaction: Redaction) -> str:
    """Returns the inside of a table: a row an execution, oldest first.

    Rows have the ids `execution-ID`, outputs `artifact-ID`.
    """
    columns = "".join(f'<col style="width:{n}%">' for n in _COLUMN_WIDTHS.values())
    heads = "".join(f'<th scope="col">{head}</th>' for head in _COLUMN_WIDTHS)
    rows = "\n".join(
        _RowFormatter(lineage, redaction).format_row(execution)
        for _, execution in sorted(lineage.executions.items())
    )
    return (
        f"<colgroup>{columns}</colgroup>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>"
    )


def format_timing(record: Execution | Run) -> list[str]:
    """Returns state, beginning and, if it has ended, duration."""
    start = phrases.format_time(record.created, utc=True)
    elapsed = phrases.format_elapsed(record)
    return [
        escape(phrases.format_state(record)),
        f'<time datetime="{start}">{start[:-1].replace("T", " ")}</time>',
        *([elapsed] if elapsed else []),
    ]


def format_parameters(values: Mapping[str, Any], redaction: Redaction) -> str:
    """Returns names and values as items of a list."""
    return "".join(
        f"<li>{escape(key)} = <code>{escape(json.dumps(value, ensure_ascii=False))}</code></li>"
        for key, value in redaction.redact_value(dict(values)).items()
    )


class _RowFormatter:
    """How a row of the table is written."""

    def __init__(self, lineage: Lineage, redaction: Redaction):
        self._lineage = lineage
        self._redaction = redaction

    def format_row(self, execution: Execution) -> str:
        notes = [f"execution {execution.id}"]
        if execution.component != execution.node:
            notes.insert(0, f"component {escape(execution.component)}")
        notes = "".join(f"<small>{note}</small>" for note in notes)
        cells = "".join(f"<td>{cell}</td>" for cell in self._format_cells(execution))
        return (
            f'<tr id="execution-{execution.id}"><th scope="row">'
            f"<strong>{escape(execution.node)}</strong>{notes}</th>{cells}</tr>"
        )

    def _format_cells(self, execution: Execution) -> list[str]:
        error = self._redaction.redact_text(" ".join(execution.error.split()))
        state = [*format_timing(execution), describe_origin(self._lineage, execution)]
        items = format_parameters(execution.parameters, self._redaction)
        return [
            "<br>".join(filter(None, [*state, escape(error)])),
            f"<ul>{items}<li>code <code>{escape(execution.code)}</code></li></ul>",
            self._format_artifacts(execution.inputs, self._format_input),
            self._format_artifacts(execution.outputs, self._format_output),
        ]

    def _format_artifacts(
        self, channels: Mapping[str, list[Artifact]], format_item: Callable[[str, Artifact], str]
    ) -> str:
        items = "".join(
            format_item(key, artifact)
            for key, artifacts in channels.items()
            for artifact in artifacts
        )
        return f"<ul>{items}</ul>" if items else "none"

    def _format_input(self, key: str, artifact: Artifact) -> str:
        digest = f"<small><code>{escape(artifact.digest[:DIGEST_LENGTH])}</code></small>"
        return (
            f'<li>{escape(key)}: <a href="#artifact-{artifact.id}">'
            f"{escape(format_artifact_name(artifact))}</a>{digest}</li>"
        )

    def _format_output(self, key: str, artifact: Artifact) -> str:
        path = format_artifact_path(self._lineage, artifact)
        properties = format_parameters(artifact.properties, self._redaction)
        return (
            f'<li id="artifact-{artifact.id}">{escape(key)}: '
            f"{escape(format_artifact_name(artifact))}<small>{escape(path)}</small>"
            f"<small><code>{escape(artifact.digest)}</code></small>"
            f"{f'<ul>{properties}</ul>' if properties else ''}</li>"
        )
