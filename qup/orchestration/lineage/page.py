"""Lineages as one HTML page: a drawing, and a table of all executions.

```python
pathlib.Path("lineage.html").write_text(format_page(lineage), encoding="utf-8")
```

The page loads nothing, needs no JavaScript, and contains no host name and no path outside of the
pipeline root.
"""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import jinja2

from qup.orchestration.artifacts import Artifact
from qup.orchestration.executions import Execution, State
from qup.orchestration.lineage import layout as lineage_layout
from qup.orchestration.lineage import text
from qup.orchestration.lineage.graph import Lineage
from qup.orchestration.lineage.redaction import Redaction

_BOX_WIDTH, _BOX_HEIGHT = 200, 64
# Maximum number of characters of each line of a box.
_BOX_CHARACTERS = (27, 31, 31)
_FINISHED_STATES = (State.COMPLETE, State.CACHED)


def format_page(lineage: Lineage) -> str:
    """Returns the page, to be written as UTF-8."""
    owners = [execution.owner for execution in lineage.executions.values()]
    owners += [lineage.run.owner] if lineage.run else []
    redaction = Redaction(lineage.root, {owner.host for owner in owners})
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Control characters could hide text or change its direction.
        finalize=lambda v: text.to_printable(v) if type(v) is str else v,
    )
    events = lineage.list_events()
    edges = {_get_edge(event): ", ".join(event.keys) for event in events}
    boxes = {box["anchor"]: box for box in _list_boxes(lineage)}
    return environment.get_template("lineage.html").render(
        lineage=lineage,
        run=lineage.run,
        title=_describe_subject(lineage),
        executions=[lineage.executions[number] for number in sorted(lineage.executions)],
        layout=lineage_layout.arrange_boxes(boxes, edges, width=_BOX_WIDTH, height=_BOX_HEIGHT),
        boxes=boxes,
        edges=edges,
        box_width=_BOX_WIDTH,
        box_height=_BOX_HEIGHT,
        digest_length=text.DIGEST_LENGTH,
        describe_origin=text.describe_origin,
        format_elapsed=text.format_elapsed,
        format_path=lambda artifact: _format_path(lineage, artifact),
        format_state=text.format_state,
        format_time=text.format_time,
        redact_text=redaction.redact_text,
        redact_value=redaction.redact_value,
        to_json=lambda value: json.dumps(value, ensure_ascii=False),
    )


def _describe_subject(lineage: Lineage) -> str:
    if lineage.run:
        return f"run {lineage.run.id}"
    return ", ".join(_format_path(lineage, lineage.artifacts[n]) for n in lineage.results)


def _format_path(lineage: Lineage, artifact: Artifact) -> str:
    """Returns the path of an artifact relative to its root, wherever the root is."""
    path = pathlib.PurePath(lineage.get_path(artifact))
    is_outside = path.is_absolute() or "://" in artifact.uri
    # Its last parts are always NODE/OUTPUT/EXECUTION.
    return "/".join(("…", *path.parts[-3:])) if is_outside else str(path)


def _list_boxes(lineage: Lineage) -> Iterator[dict[str, Any]]:
    """Yields the anchor, CSS class, lines and tooltip of each box; the oldest execution first."""
    for number, execution in sorted(lineage.executions.items()):
        kind = "execution" if execution.state in _FINISHED_STATES else "execution unfinished"
        yield _make_box(f"execution-{number}", kind, _describe_execution(lineage, execution))
    for number, artifact in sorted(lineage.artifacts.items()):
        facts = (artifact.digest[: text.DIGEST_LENGTH], text.describe_damage(artifact))
        lines = [f"{artifact.type_name} {number}", _format_path(lineage, artifact)]
        kind = "artifact end" if number in lineage.results else "artifact"
        yield _make_box(f"artifact-{number}", kind, [*lines, " · ".join(filter(None, facts))])


def _make_box(anchor: str, kind: str, lines: list[str]) -> dict[str, Any]:
    printable_lines = map(text.to_printable, lines)
    short_lines = list(map(_shorten, printable_lines, _BOX_CHARACTERS))
    tooltip = ", ".join(filter(None, lines))
    return {"anchor": anchor, "kind": kind, "lines": short_lines, "tooltip": tooltip}


def _describe_execution(lineage: Lineage, execution: Execution) -> list[str]:
    component = f"{execution.component} · " if execution.component != execution.node else ""
    facts = [
        text.format_state(execution),
        text.format_elapsed(execution),
        text.describe_origin(lineage, execution),
    ]
    return [execution.node, f"{component}execution {execution.id}", " · ".join(filter(None, facts))]


def _get_edge(event) -> tuple[str, str]:
    edge = (f"artifact-{event.artifact}", f"execution-{event.execution}")
    return edge[::-1] if event.output else edge


def _shorten(value: str, length: int) -> str:
    """Returns a text without its middle if it has more than `length` characters."""
    head = length // 2
    return value if len(value) <= length else f"{value[:head]}…{value[head + 1 - length :]}"
