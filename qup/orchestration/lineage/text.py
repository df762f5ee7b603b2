"""Lineages as text: a tree from the results down to their sources.

```python
print(format_tree(lineage))
# Model 2  Trainer/model/2  5f1c0d2a9b3e
# │ by Trainer, execution 2: COMPLETE 2026-03-01T16:01:21, 3.20 s, code 9a...
# │ epochs=3 rate=0.25
# └─ examples: Examples 1  ExampleGen/examples/1  77d0c1a2b3c4
#      by ExampleGen, execution 1: ...
```
"""

import datetime
import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from qup.orchestration.artifacts import Artifact, ArtifactState
from qup.orchestration.executions import Execution, Run, State
from qup.orchestration.lineage.graph import Lineage

# Number of displayed characters of a digest or fingerprint.
DIGEST_LENGTH = 12
_MAX_VALUE_LENGTH = 60
# Strings that need no quotes, because they cannot be mistaken for other JSON values.
_UNQUOTED = re.compile(r"""(?!(?:true|false|null)$)[^\s\d"\[{-]\S*""")


def format_time(milliseconds: int, *, utc: bool = False) -> str:
    """Returns an ISO 8601 time to the second.

    Args:
      milliseconds: Since 1970.
      utc: Whether the time is in UTC, with a Z; default: local time.
    """
    zone = datetime.UTC if utc else None
    timestamp = datetime.datetime.fromtimestamp(milliseconds / 1000, zone)
    text = timestamp.replace(tzinfo=None).isoformat(timespec="seconds")
    return f"{text}Z" if utc else text


def format_duration(milliseconds: int) -> str:
    """Returns a duration with about three digits, such as "3 min 12 s"."""
    seconds = milliseconds / 1000
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def format_state(record: Execution | Run) -> str:
    """Returns the state; "abandoned" if it is RUNNING but its process has ended."""
    if record.state is not State.RUNNING:
        return record.state.name
    return "abandoned" if record.owner.is_alive() is False else "RUNNING"


def format_elapsed(record: Execution | Run) -> str:
    """Returns the duration of an execution or run that has ended, or ""."""
    if record.state is State.RUNNING:
        return ""
    return format_duration(record.updated - record.created)


def format_settings(values: Mapping[str, Any], prefix: str = "") -> str:
    """Returns "name=value group.name=value", with at most 60 characters per value."""
    return " ".join(
        format_settings(value, f"{prefix}{name}.")
        if isinstance(value, Mapping) and value
        else f"{to_printable(prefix + name)}={_format_value(value)}"
        for name, value in values.items()
    )


def to_printable(text: str) -> str:
    """Returns text that cannot move the cursor or break the line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _format_value(value: Any) -> str:
    text = value
    if not isinstance(value, str) or not _UNQUOTED.fullmatch(value):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = to_printable(text)
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[: _MAX_VALUE_LENGTH - 1]}…"


def format_tree(lineage: Lineage, width: int = 100) -> str:
    """Returns the lineage as an indented tree; a repeated part refers to its first place.

    Args:
      lineage: The lineage.
      width: Number of columns to which parameters and errors are wrapped.
    """
    return "\n".join([*_format_header(lineage, width), *_TreeFormatter(lineage, width).lines])


def describe_damage(artifact: Artifact) -> str:
    """Returns the state of an artifact's files, or "" if they are intact."""
    if artifact.state is ArtifactState.LIVE:
        return ""
    if artifact.state is ArtifactState.DELETED:
        return "removed"
    return artifact.state.name.lower().replace("_", " ")


def describe_origin(lineage: Lineage, execution: Execution) -> str:
    """Returns "reused" or "earlier" for an execution that is not of the lineage's run, else "".

    Earlier executions are sources of the results that the run reused.
    """
    if lineage.run is None or execution.id in lineage.executed:
        return ""
    return "reused" if execution.id in lineage.reused else "earlier"


def _format_header(lineage: Lineage, width: int) -> list[str]:
    run = lineage.run
    if run is None:
        return []
    facts = [
        f"Run {run.id}: {format_state(run)} {format_time(run.created)}",
        format_elapsed(run),
        f"{len(lineage.executed)} executed",
        f"{len(lineage.reused)} reused",
    ]
    parameters = _wrap_lines(format_settings(run.parameters), "  ", width)
    return [", ".join(filter(None, facts)), *parameters]


def _wrap_lines(text: str, prefix: str, width: int) -> list[str]:
    columns = max(40, width - len(prefix))
    wrapped = textwrap.wrap(text, columns, break_long_words=False, break_on_hyphens=False)
    return [prefix + part for part in wrapped]


class _TreeFormatter:
    """Writes the lines of a tree, depth first; with a stack, because the depth is not limited."""

    def __init__(self, lineage: Lineage, width: int):
        self.lines: list[str] = []
        self._lineage = lineage
        self._width = width
        self._producers = lineage.find_producers()
        self._seen: set[tuple[str, int]] = set()
        stack = [("", "", "", end) for end in self._list_starts()]
        while stack:
            first, rest, label, item = stack.pop()
            if lineage.run and not first:
                self.lines.append("")
            if isinstance(item, Artifact):
                children = self._format_artifact(first, rest, label, item)
            else:
                children = self._format_execution(first, rest, "", item)
            stack += reversed(children)

    def _list_starts(self) -> list[Artifact | Execution]:
        """Returns the results, and the executions without any; the last one is written first."""
        lineage, producers = self._lineage, self._producers
        starts = [
            (producers[n].id if n in producers else 0, lineage.artifacts[n])
            for n in lineage.results
        ]
        producing = {execution.id for execution in producers.values()}
        starts += [
            (number, execution)
            for number, execution in lineage.executions.items()
            if number not in producing
        ]
        return [start for _, start in sorted(starts, key=lambda end: end[0])]

    def _is_repeated(self, kind: str, number: int) -> bool:
        repeated = (kind, number) in self._seen
        self._seen.add((kind, number))
        return repeated

    def _format_artifact(
        self, first: str, rest: str, label: str, artifact: Artifact
    ) -> list[tuple]:
        facts = [
            f"{label}{artifact.type_name} {artifact.id}",
            self._lineage.get_path(artifact),
            artifact.digest[:DIGEST_LENGTH],
            describe_damage(artifact),
        ]
        line = first + to_printable("  ".join(filter(None, facts)))
        if self._is_repeated("artifact", artifact.id):
            self.lines.append(f"{line}  (see above)")
            return []
        self.lines.append(line)
        producer = self._producers.get(artifact.id)
        if producer is None:
            self.lines.append(f"{rest}  of unknown origin")
            return []
        return self._format_execution(rest, rest, "by ", producer)

    def _format_execution(
        self, first: str, rest: str, label: str, execution: Execution
    ) -> list[tuple]:
        name = execution.node
        if execution.component != name:
            name += f" ({execution.component})"
        line = to_printable(f"{label}{name}, execution {execution.id}")
        repeated = self._is_repeated("execution", execution.id)
        children = [] if repeated else self._list_inputs(rest, execution)
        bar = f"{rest}{'│ ' if children else '  '}"
        first = bar if label else first
        if repeated:
            self.lines.append(f"{first}{line} (see above)")
            return []
        self.lines.append(f"{first}{line}: {self._format_facts(execution)}")
        error = to_printable(" ".join(execution.error.split()))
        for text in (format_settings(execution.parameters), error):
            self.lines += _wrap_lines(text, bar, self._width)
        return children

    def _format_facts(self, execution: Execution) -> str:
        state = format_state(execution)
        facts = [
            f"{state} {format_time(execution.created)}",
            format_elapsed(execution),
            f"code {execution.code[:DIGEST_LENGTH]}" if execution.code else "",
            describe_origin(self._lineage, execution),
        ]
        return ", ".join(filter(None, facts))

    def _list_inputs(self, rest: str, execution: Execution) -> list[tuple]:
        keys: dict[int, dict[str, Artifact]] = {}
        for key, artifacts in execution.inputs.items():
            for artifact in artifacts:
                keys.setdefault(artifact.id, {})[key] = artifact
        inputs = [(", ".join(k), next(iter(k.values()))) for k in keys.values()]
        return [
            (f"{rest}├─ ", f"{rest}│  ", f"{key}: ", artifact)
            if number < len(inputs)
            else (f"{rest}└─ ", f"{rest}   ", f"{key}: ", artifact)
            for number, (key, artifact) in enumerate(inputs, 1)
        ]
