"""Lineages as one HTML page: a drawing, and a table of every execution.

```python
pathlib.Path("lineage.html").write_text(page(lineage), encoding="utf-8")
```

It loads nothing, needs no JavaScript, and names no host and no path outside
the pipeline root.
"""

import html
import json
import os
import pathlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from qup.orchestration.artifacts import Artifact
from qup.orchestration.executions import Execution, Run, State
from qup.orchestration.lineage import layout as lineage_layout
from qup.orchestration.lineage import text as lineage_text
from qup.orchestration.lineage.graph import Lineage
from qup.orchestration.lineage.text import (
    DIGEST_LENGTH,
    describe_damage,
    describe_origin,
    to_printable,
)

# Lineages as drawings: boxes in layers, sources at the top, as SVG.
#
# ```python
# page = f"<html><style>{STYLE}</style>{svg(lineage)}</html>"
# ```


_BOX_WIDTH, _BOX_HEIGHT = 200, 64
_MARGIN = 4
# Class, baseline and number of characters of each line in a box.
_BOX_LINES = (("name", 20, 27), ("fact", 38, 31), ("fact", 54, 31))
_FINISHED_STATES = (State.COMPLETE, State.CACHED)

# Blue and orange of Okabe and Ito's palette, and never colour alone.
DRAWING_STYLE = """
svg { display: block; margin: 0 auto; }
svg text { font-size: 11px; fill: #1a1a1a; text-anchor: middle; }
svg text.name { font-size: 12px; font-weight: bold; }
svg a { text-decoration: none; }
.line { fill: none; stroke: #555; stroke-width: 1.3; }
.execution rect { fill: #e1effa; stroke: #0072b2; stroke-width: 1.5; }
.artifact rect { fill: #fff1d0; stroke: #b37400; stroke-width: 1.5; }
.unfinished rect { fill: #fff; stroke: #a33b00; stroke-dasharray: 6 4; }
.end rect { stroke-width: 4; }
"""


def draw_svg(lineage: Lineage) -> str:
    """Returns the drawing; its boxes lead to `#execution-ID` and so on."""
    labels = _build_labels(lineage)
    events = lineage.list_events()
    titles = {_get_edge(event): ", ".join(event.keys) for event in events}
    layout = lineage_layout.arrange_boxes({k: (_BOX_WIDTH, _BOX_HEIGHT) for k in labels}, titles)
    width, height = (n + 2 * _MARGIN for n in (layout.width, layout.height))
    counts = (
        f"{len(lineage.executions)} executions and {len(lineage.artifacts)} "
        "artifacts in layers, each below what it came from. The table below "
        "says the same in words."
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" '
            f'height="{height:.0f}" viewBox="{-_MARGIN} {-_MARGIN} '
            f'{width:.0f} {height:.0f}" role="group" '
            'aria-labelledby="drawing-title drawing-description">',
            f'<title id="drawing-title">Lineage of {escape(describe_subject(lineage))}</title>',
            f'<desc id="drawing-description">{counts}</desc>',
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" '
            'markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>',
            *(_draw_segment(segment, titles) for segment in layout.segments),
            *(
                _draw_box(anchor, corner, *labels[anchor])
                for anchor, corner in layout.boxes.items()
            ),
            "</svg>",
        ]
    )


def escape(value: str) -> str:
    """Returns text that HTML and SVG show as it is."""
    return html.escape(to_printable(value))


def describe_subject(lineage: Lineage) -> str:
    """Returns what a lineage is of, in words."""
    if lineage.run:
        return f"run {lineage.run.id}"
    return ", ".join(format_artifact_path(lineage, lineage.artifacts[n]) for n in lineage.results)


def format_artifact_path(lineage: Lineage, artifact: Artifact) -> str:
    """Returns where an artifact lies, not saying where the root is."""
    path = lineage.get_path(artifact)
    parts = pathlib.PurePath(path).parts
    # Whatever the root, the rest is NODE/OUTPUT/EXECUTION.
    outside = pathlib.PurePath(path).is_absolute()
    return "/".join(("…", *parts[-3:])) if outside else path


def _build_labels(lineage: Lineage) -> dict[str, tuple[str, list[str]]]:
    """Returns (class, lines) of every box; the oldest execution first."""
    labels = {}
    for number, execution in sorted(lineage.executions.items()):
        is_finished = execution.state in _FINISHED_STATES
        kind = "execution" if is_finished else "execution unfinished"
        labels[f"execution-{number}"] = (kind, _describe_execution(lineage, execution))
    for number, artifact in sorted(lineage.artifacts.items()):
        kind = "artifact end" if number in lineage.results else "artifact"
        facts = filter(None, [artifact.digest[:DIGEST_LENGTH], describe_damage(artifact)])
        labels[f"artifact-{number}"] = (
            kind,
            [
                format_artifact_name(artifact),
                format_artifact_path(lineage, artifact),
                " · ".join(facts),
            ],
        )
    return labels


def format_artifact_name(artifact: Artifact) -> str:
    """Returns what an artifact is called: its type and its id."""
    return f"{artifact.type_name} {artifact.id}"


def _describe_execution(lineage: Lineage, execution: Execution) -> list[str]:
    details = f"execution {execution.id}"
    if execution.component != execution.node:
        details = f"{execution.component} · {details}"
    facts = [
        lineage_text.format_state(execution),
        lineage_text.format_elapsed(execution),
        describe_origin(lineage, execution),
    ]
    return [execution.node, details, " · ".join(filter(None, facts))]


def _get_edge(event) -> tuple[str, str]:
    edge = (f"artifact-{event.artifact}", f"execution-{event.execution}")
    return edge[::-1] if event.output else edge


def _draw_segment(segment: lineage_layout.EdgeSegment, titles: dict[tuple[str, str], str]) -> str:
    (x, y), (end_x, end_y) = segment.start, segment.end
    half = (segment.bend + end_y) / 2
    path = (
        f"M{x:.1f} {y:.1f}V{segment.bend:.1f}"
        f"C{x:.1f} {half:.1f} {end_x:.1f} {half:.1f} {end_x:.1f} {end_y:.1f}"
    )
    if segment.edge is None:
        return f'<path class="line" d="{path}"/>'
    return (
        f'<path class="line" d="{path}" marker-end="url(#arrow)">'
        f"<title>{escape(titles[segment.edge])}</title></path>"
    )


def _draw_box(anchor: str, corner: tuple[float, float], kind: str, lines: list[str]) -> str:
    x, y = corner
    radius = 20 if kind.startswith("artifact") else 0
    text_elements = "".join(
        f'<text class="{style}" x="{x + _BOX_WIDTH / 2:.1f}" '
        f'y="{y + baseline:.1f}">{escape(_shorten(to_printable(line), room))}</text>'
        for line, (style, baseline, room) in zip(lines, _BOX_LINES, strict=True)
    )
    whole = escape(", ".join(filter(None, lines)))
    return (
        f'<a href="#{anchor}"><g class="{kind}"><title>{whole}</title>'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" '
        f'rx="{radius}"/>{text_elements}</g></a>'
    )


def _shorten(value: str, room: int) -> str:
    """Returns text without its middle where it is too wide."""
    if _count_columns(value) <= room:
        return value
    num_kept = len(value)
    while num_kept > 1:
        num_kept -= 1
        head = (num_kept + 1) // 2
        cut = f"{value[:head]}…{value[len(value) - num_kept + head :]}"
        if _count_columns(cut) <= room:
            return cut
    return "…"


def _count_columns(value: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in value)


# Texts without what tells of a machine: absolute paths, host names.
#
# ```python
# Redaction("/home/anna/runs/pipeline", hosts={"anna-pc"}).text(
#     "no /home/anna/data.csv on anna-pc"
# )  # "no …/data.csv on …"
# ```


_HIDDEN = "…"
# A path that begins at a root, a drive, a server or somebody's home: to the
# end of its quotes, or else to a space. An address keeps its scheme.
_PATH_START = r"(?:(?<![\w.…])~\w*/|(?<![\w.…/])/+|\b[A-Za-z]:[\\/]|(?<!\\)\\\\)"
_QUOTED_PATH = re.compile(rf"""(["'])({_PATH_START}[^"'\n]*)\1""")
_BARE_PATH = re.compile(rf"""{_PATH_START}[^\s"'<>()\[\]{{}},;]+""")


class Redaction:
    """Hides paths outside a pipeline root, and hosts."""

    def __init__(self, root: str | os.PathLike, hosts: Iterable[str] = ()):
        """Sets it up.

        Args:
          root: Paths within this folder are told relative to it.
          hosts: Names to hide wherever they stand as a word.
        """
        self._root = re.compile(rf"{re.escape(str(root))}/+(?=[^/\s])")
        names = "|".join(re.escape(h) for h in sorted(set(hosts)) if h)
        self._hosts = re.compile(rf"(?<![\w-])(?:{names})(?![\w-])")
        self._has_hosts = bool(names)

    def redact_text(self, text: str) -> str:
        """Returns a text without them."""
        text = self._root.sub("", text)
        if re.match(_PATH_START, text) and "\n" not in text:
            text = _shorten_path(text)
        text = _QUOTED_PATH.sub(lambda m: f"{m[1]}{_shorten_path(m[2])}{m[1]}", text)
        text = _BARE_PATH.sub(lambda m: _shorten_path(m[0]), text)
        return self._hosts.sub(_HIDDEN, text) if self._has_hosts else text

    def redact_value(self, value: Any) -> Any:
        """Returns a JSON value without them."""
        if isinstance(value, str):
            return self.redact_text(value)
        if isinstance(value, dict):
            return {self.redact_text(k): self.redact_value(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.redact_value(item) for item in value]
        return value


def _shorten_path(path: str) -> str:
    """Returns the name of a file deep enough to be nobody's home, or "…"."""
    pure_path = pathlib.PureWindowsPath(path)
    is_deep_file = len(pure_path.parts) > 3 and pure_path.suffix
    return f"{_HIDDEN}/{pure_path.name}" if is_deep_file else _HIDDEN


# Lineages as HTML tables: all that is known of every execution.
#
# ```python
# page = f"<html><table>{table(lineage, redaction)}</table></html>"
# ```


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
    start = lineage_text.format_time(record.created, utc=True)
    elapsed = lineage_text.format_elapsed(record)
    return [
        escape(lineage_text.format_state(record)),
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


_PAGE_STYLE = f"""
body {{ font: 14px/1.45 sans-serif; color: #1a1a1a; background: #fff;
  margin: 24px auto; padding: 0 20px; max-width: 1160px; }}
h1 {{ font-size: 22px; overflow-wrap: anywhere; }}
h2 {{ font-size: 17px; margin-top: 32px; }}
figure {{ margin: 20px 0; overflow-x: auto; }}
figcaption {{ margin-top: 12px; color: #444; }}
table {{ border-collapse: collapse; width: 100%; table-layout: fixed; }}
th, td {{ border: 1px solid #bbb; padding: 6px 8px; text-align: left;
  vertical-align: top; font-weight: normal; overflow-wrap: anywhere; }}
thead th {{ background: #eee; font-weight: bold; }}
tr:target, li:target {{ outline: 3px solid #0072b2; }}
ul {{ list-style: none; margin: 0; padding: 0; }}
li + li {{ margin-top: 3px; }}
code, small {{ font-size: 12px; }}
small {{ color: #444; display: block; }}
a {{ color: #005a8c; }}
{DRAWING_STYLE}
@media print {{
  body {{ margin: 0; max-width: none; font-size: 10px; }}
  svg {{ max-width: 100%; max-height: 21cm; height: auto; }}
  tr, figure {{ break-inside: avoid; }}
  code, small {{ font-size: 8px; }}
}}
"""
_CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_LEGEND = (
    "Rectangles are executions, rounded boxes are artifacts; each is below "
    "what it came from. A thick border marks the results, a dashed one what "
    "failed or has not ended."
)
_RUN_LEGEND = " Reused: an earlier run made it; earlier: only a source of what was reused."


def format_page(lineage: Lineage) -> str:
    """Returns the page, to be written as UTF-8."""
    owners = [execution.owner for execution in lineage.executions.values()]
    owners += [lineage.run.owner] if lineage.run else []
    redaction = Redaction(lineage.root, {owner.host for owner in owners})
    title = f"Lineage of {escape(describe_subject(lineage))}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_CONTENT_POLICY}">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{_PAGE_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
{_format_summary(lineage)}
<figure>
{draw_svg(lineage)}
<figcaption>{_LEGEND}{_RUN_LEGEND if lineage.run else ""}</figcaption>
</figure>
<h2>Executions</h2>
<table>
{format_table(lineage, redaction)}
</table>
{_format_run_parameters(lineage, redaction)}
</body>
</html>
"""


def _format_summary(lineage: Lineage) -> str:
    run = lineage.run
    facts = [
        f"{escape(format_artifact_name(artifact))}, digest <code>{escape(artifact.digest)}</code>"
        for artifact in map(lineage.artifacts.get, lineage.results)
    ]
    if run:
        facts = [
            f"Pipeline {escape(run.pipeline)}",
            *format_timing(run),
            f"{len(lineage.executed)} executed",
            f"{len(lineage.reused)} reused from earlier runs",
        ]
    return f"<p>{', '.join(facts)}.</p>"


def _format_run_parameters(lineage: Lineage, redaction: Redaction) -> str:
    if lineage.run is None or not lineage.run.parameters:
        return ""
    parameters = format_parameters(lineage.run.parameters, redaction)
    return f"<h2>Parameters of the run</h2>\n<ul>{parameters}</ul>"
