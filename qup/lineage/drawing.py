"""Lineages as drawings: boxes in layers, sources at the top, as SVG.

```python
page = f"<html><style>{STYLE}</style>{svg(lineage)}</html>"
```
"""

import html
import pathlib
import unicodedata

from qup.lineage import layers, phrases
from qup.lineage.ancestry import Lineage
from qup.lineage.outline import DIGEST_LENGTH, describe_damage, describe_origin
from qup.lineage.phrases import to_printable
from qup.orchestration.artifacts import Artifact
from qup.orchestration.executions import Execution, State

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
    layout = layers.arrange_boxes({k: (_BOX_WIDTH, _BOX_HEIGHT) for k in labels}, titles)
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
        phrases.format_state(execution),
        phrases.format_elapsed(execution),
        describe_origin(lineage, execution),
    ]
    return [execution.node, details, " · ".join(filter(None, facts))]


def _get_edge(event) -> tuple[str, str]:
    edge = (f"artifact-{event.artifact}", f"execution-{event.execution}")
    return edge[::-1] if event.output else edge


def _draw_segment(segment: layers.EdgeSegment, titles: dict[tuple[str, str], str]) -> str:
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
