"""Lineages for the terminal: a tree from results down to their sources.

```python
print(tree(lineage))
# Model 2  Trainer/model/2  5f1c0d2a9b3e
# │ by Trainer, execution 2: COMPLETE 2026-03-01T16:01:21, 3.20 s, code 9a...
# │ epochs=3 rate=0.25
# └─ examples: Examples 1  ExampleGen/examples/1  77d0c1a2b3c4
#      by ExampleGen, execution 1: ...
```
"""

import textwrap

from qup.lineage import phrases
from qup.lineage.ancestry import Lineage
from qup.lineage.phrases import printable, settings
from qup.orchestration.artifacts import Artifact, ArtifactState
from qup.orchestration.executions import Execution

# Characters of a digest or fingerprint.
SHORT = 12


def tree(lineage: Lineage, width: int = 100) -> str:
    """Returns the lineage as an indented tree; what repeats is told once.

    Args:
      lineage: What to tell.
      width: Columns after which parameters and errors are wrapped.
    """
    return "\n".join([*_head(lineage, width), *_Tree(lineage, width).lines])


def damage(artifact: Artifact) -> str:
    """Returns what is known of an artifact's files, "" if they are there."""
    good = artifact.state is ArtifactState.LIVE
    return "" if good else artifact.state.name.lower().replace("_", " ")


def origin(lineage: Lineage, execution: Execution) -> str:
    """Returns "reused" or "earlier" for what a run did not execute itself.

    Earlier is what came before the results that it reused.
    """
    if lineage.run is None or execution.id in lineage.made:
        return ""
    return "reused" if execution.id in lineage.reused else "earlier"


def _head(lineage: Lineage, width: int) -> list[str]:
    run = lineage.run
    if run is None:
        return []
    told = [
        f"Run {run.id}: {phrases.state(run)} {phrases.moment(run.created)}",
        phrases.lasted(run),
        f"{len(lineage.made)} executed",
        f"{len(lineage.reused)} reused",
    ]
    settled = _wrapped(settings(run.parameters), "  ", width)
    return [", ".join(filter(None, told)), *settled]


def _wrapped(text: str, prefix: str, width: int) -> list[str]:
    room = max(40, width - len(prefix))
    parts = textwrap.wrap(
        text, room, break_long_words=False, break_on_hyphens=False
    )
    return [prefix + part for part in parts]


class _Tree:
    """The lines of a tree, depth first; a stack, for any depth."""

    def __init__(self, lineage: Lineage, width: int):
        self.lines: list[str] = []
        self._lineage = lineage
        self._width = width
        self._producers = lineage.producers()
        self._told: set[tuple[str, int]] = set()
        stack = [("", "", "", end) for end in self._ends()]
        while stack:
            first, rest, label, held = stack.pop()
            if lineage.run and not first:
                self.lines.append("")
            if isinstance(held, Artifact):
                children = self._artifact(first, rest, label, held)
            else:
                children = self._execution(first, rest, "", held)
            stack += reversed(children)

    def _ends(self) -> list[Artifact | Execution]:
        """Returns where to begin; the last is told first."""
        lineage, producers = self._lineage, self._producers
        ends = [
            (producers[n].id if n in producers else 0, lineage.artifacts[n])
            for n in lineage.ends
        ]
        making = {execution.id for execution in producers.values()}
        ends += [
            (number, execution)
            for number, execution in lineage.executions.items()
            if number not in making
        ]
        return [end for _, end in sorted(ends, key=lambda end: end[0])]

    def _again(self, kind: str, number: int) -> bool:
        seen = (kind, number) in self._told
        self._told.add((kind, number))
        return seen

    def _artifact(
        self, first: str, rest: str, label: str, artifact: Artifact
    ) -> list[tuple]:
        told = [
            f"{label}{artifact.type_name} {artifact.id}",
            self._lineage.path(artifact),
            artifact.digest[:SHORT],
            damage(artifact),
        ]
        line = first + printable("  ".join(filter(None, told)))
        if self._again("artifact", artifact.id):
            self.lines.append(f"{line}  (see above)")
            return []
        self.lines.append(line)
        producer = self._producers.get(artifact.id)
        if producer is None:
            self.lines.append(f"{rest}  of unknown origin")
            return []
        return self._execution(rest, rest, "by ", producer)

    def _execution(
        self, first: str, rest: str, label: str, execution: Execution
    ) -> list[tuple]:
        name = execution.node
        if execution.component != name:
            name += f" ({execution.component})"
        line = printable(f"{label}{name}, execution {execution.id}")
        again = self._again("execution", execution.id)
        children = [] if again else self._inputs(rest, execution)
        bar = f"{rest}{'│ ' if children else '  '}"
        first = bar if label else first
        if again:
            self.lines.append(f"{first}{line} (see above)")
            return []
        self.lines.append(f"{first}{line}: {self._facts(execution)}")
        error = printable(" ".join(execution.error.split()))
        for text in (settings(execution.parameters), error):
            self.lines += _wrapped(text, bar, self._width)
        return children

    def _facts(self, execution: Execution) -> str:
        state = phrases.state(execution)
        told = [
            f"{state} {phrases.moment(execution.created)}",
            phrases.lasted(execution),
            f"code {execution.code[:SHORT]}",
            origin(self._lineage, execution),
        ]
        return ", ".join(filter(None, told))

    def _inputs(self, rest: str, execution: Execution) -> list[tuple]:
        keys: dict[int, dict[str, Artifact]] = {}
        for key, held in execution.inputs.items():
            for artifact in held:
                keys.setdefault(artifact.id, {})[key] = artifact
        inputs = [(", ".join(k), next(iter(k.values()))) for k in keys.values()]
        return [
            (f"{rest}├─ ", f"{rest}│  ", f"{key}: ", artifact)
            if number < len(inputs)
            else (f"{rest}└─ ", f"{rest}   ", f"{key}: ", artifact)
            for number, (key, artifact) in enumerate(inputs, 1)
        ]
