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
from qup.lineage.drawing import name, place, text
from qup.lineage.outline import SHORT, origin
from qup.lineage.redaction import Redaction
from qup.orchestration.artifacts import Artifact
from qup.orchestration.executions import Execution, Run

# Width of each column in percent.
_COLUMNS = {
    "Execution": 15,
    "State and time (UTC)": 15,
    "Parameters and code": 26,
    "Inputs": 18,
    "Outputs": 26,
}


def table(lineage: Lineage, redaction: Redaction) -> str:
    """Returns the inside of a table: a row an execution, oldest first.

    Rows have the ids `execution-ID`, outputs `artifact-ID`.
    """
    columns = "".join(f'<col style="width:{n}%">' for n in _COLUMNS.values())
    heads = "".join(f'<th scope="col">{head}</th>' for head in _COLUMNS)
    rows = "\n".join(
        _Row(lineage, redaction).text(execution)
        for _, execution in sorted(lineage.executions.items())
    )
    return (
        f"<colgroup>{columns}</colgroup>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>"
    )


def when(held: Execution | Run) -> list[str]:
    """Returns state, beginning and, if it has ended, duration."""
    begun = phrases.moment(held.created, universal=True)
    lasted = phrases.lasted(held)
    return [
        text(phrases.state(held)),
        f'<time datetime="{begun}">{begun[:-1].replace("T", " ")}</time>',
        *([lasted] if lasted else []),
    ]


def settings(values: Mapping[str, Any], redaction: Redaction) -> str:
    """Returns names and values as items of a list."""
    return "".join(
        f"<li>{text(key)} = <code>"
        f"{text(json.dumps(value, ensure_ascii=False))}</code></li>"
        for key, value in redaction.value(dict(values)).items()
    )


class _Row:
    """How a row of the table is written."""

    def __init__(self, lineage: Lineage, redaction: Redaction):
        self._lineage = lineage
        self._redaction = redaction

    def text(self, execution: Execution) -> str:
        notes = [f"execution {execution.id}"]
        if execution.component != execution.node:
            notes.insert(0, f"component {text(execution.component)}")
        notes = "".join(f"<small>{note}</small>" for note in notes)
        cells = "".join(f"<td>{cell}</td>" for cell in self._cells(execution))
        return (
            f'<tr id="execution-{execution.id}"><th scope="row">'
            f"<strong>{text(execution.node)}</strong>{notes}</th>{cells}</tr>"
        )

    def _cells(self, execution: Execution) -> list[str]:
        error = self._redaction.text(" ".join(execution.error.split()))
        state = [*when(execution), origin(self._lineage, execution)]
        told = settings(execution.parameters, self._redaction)
        return [
            "<br>".join(filter(None, [*state, text(error)])),
            f"<ul>{told}<li>code <code>{text(execution.code)}</code></li></ul>",
            self._artifacts(execution.inputs, self._read),
            self._artifacts(execution.outputs, self._made),
        ]

    def _artifacts(
        self,
        channels: Mapping[str, list[Artifact]],
        tell: Callable[[str, Artifact], str],
    ) -> str:
        items = "".join(
            tell(key, artifact)
            for key, held in channels.items()
            for artifact in held
        )
        return f"<ul>{items}</ul>" if items else "none"

    def _read(self, key: str, artifact: Artifact) -> str:
        digest = f"<small><code>{text(artifact.digest[:SHORT])}</code></small>"
        return (
            f'<li>{text(key)}: <a href="#artifact-{artifact.id}">'
            f"{text(name(artifact))}</a>{digest}</li>"
        )

    def _made(self, key: str, artifact: Artifact) -> str:
        where = place(self._lineage, artifact)
        known = settings(artifact.properties, self._redaction)
        return (
            f'<li id="artifact-{artifact.id}">{text(key)}: '
            f"{text(name(artifact))}<small>{text(where)}</small>"
            f"<small><code>{text(artifact.digest)}</code></small>"
            f"{f'<ul>{known}</ul>' if known else ''}</li>"
        )
