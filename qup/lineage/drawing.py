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
from qup.lineage.outline import SHORT, damage, origin
from qup.lineage.phrases import printable
from qup.orchestration.artifacts import Artifact
from qup.orchestration.executions import Execution, State

_WIDTH, _HEIGHT = 200, 64
_MARGIN = 4
# Class, baseline and number of characters of each line in a box.
_LINES = (("name", 20, 27), ("fact", 38, 31), ("fact", 54, 31))
_GOOD = (State.COMPLETE, State.CACHED)

# Blue and orange of Okabe and Ito's palette, and never colour alone.
STYLE = """
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


def svg(lineage: Lineage) -> str:
    """Returns the drawing; its boxes lead to `#execution-ID` and so on."""
    labels = _labels(lineage)
    events = lineage.events()
    titles = {_edge(event): ", ".join(event.keys) for event in events}
    layout = layers.arrange({k: (_WIDTH, _HEIGHT) for k in labels}, titles)
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
            f'<title id="drawing-title">Lineage of {text(subject(lineage))}'
            "</title>",
            f'<desc id="drawing-description">{counts}</desc>',
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" '
            'markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>',
            *(_line(line, titles) for line in layout.lines),
            *(
                _box(anchor, corner, *labels[anchor])
                for anchor, corner in layout.boxes.items()
            ),
            "</svg>",
        ]
    )


def text(value: str) -> str:
    """Returns text that HTML and SVG show as it is."""
    return html.escape(printable(value))


def subject(lineage: Lineage) -> str:
    """Returns what a lineage is of, in words."""
    if lineage.run:
        return f"run {lineage.run.id}"
    return ", ".join(place(lineage, lineage.artifacts[n]) for n in lineage.ends)


def place(lineage: Lineage, artifact: Artifact) -> str:
    """Returns where an artifact lies, not saying where the root is."""
    where = lineage.path(artifact)
    parts = pathlib.PurePath(where).parts
    # Whatever the root, the rest is NODE/OUTPUT/EXECUTION.
    outside = pathlib.PurePath(where).is_absolute()
    return "/".join(("…", *parts[-3:])) if outside else where


def _labels(lineage: Lineage) -> dict[str, tuple[str, list[str]]]:
    """Returns (class, lines) of every box; the oldest execution first."""
    found = {}
    for number, execution in sorted(lineage.executions.items()):
        good = execution.state in _GOOD
        kind = "execution" if good else "execution unfinished"
        found[f"execution-{number}"] = (kind, _told(lineage, execution))
    for number, artifact in sorted(lineage.artifacts.items()):
        kind = "artifact end" if number in lineage.ends else "artifact"
        ending = filter(None, [artifact.digest[:SHORT], damage(artifact)])
        found[f"artifact-{number}"] = (
            kind,
            [name(artifact), place(lineage, artifact), " · ".join(ending)],
        )
    return found


def name(artifact: Artifact) -> str:
    """Returns what an artifact is called: its type and its id."""
    return f"{artifact.type_name} {artifact.id}"


def _told(lineage: Lineage, execution: Execution) -> list[str]:
    number = f"execution {execution.id}"
    if execution.component != execution.node:
        number = f"{execution.component} · {number}"
    ending = [
        phrases.state(execution),
        phrases.lasted(execution),
        origin(lineage, execution),
    ]
    return [execution.node, number, " · ".join(filter(None, ending))]


def _edge(event) -> tuple[str, str]:
    ends = (f"artifact-{event.artifact}", f"execution-{event.execution}")
    return ends[::-1] if event.output else ends


def _line(line: layers.Line, titles: dict[tuple[str, str], str]) -> str:
    (x, y), (end_x, end_y) = line.start, line.end
    half = (line.bend + end_y) / 2
    path = (
        f"M{x:.1f} {y:.1f}V{line.bend:.1f}"
        f"C{x:.1f} {half:.1f} {end_x:.1f} {half:.1f} {end_x:.1f} {end_y:.1f}"
    )
    if line.edge is None:
        return f'<path class="line" d="{path}"/>'
    return (
        f'<path class="line" d="{path}" marker-end="url(#arrow)">'
        f"<title>{text(titles[line.edge])}</title></path>"
    )


def _box(
    anchor: str, corner: tuple[float, float], kind: str, lines: list[str]
) -> str:
    x, y = corner
    radius = 20 if kind.startswith("artifact") else 0
    told = "".join(
        f'<text class="{style}" x="{x + _WIDTH / 2:.1f}" '
        f'y="{y + baseline:.1f}">{text(_cut(printable(line), room))}</text>'
        for line, (style, baseline, room) in zip(lines, _LINES, strict=True)
    )
    whole = text(", ".join(filter(None, lines)))
    return (
        f'<a href="#{anchor}"><g class="{kind}"><title>{whole}</title>'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'rx="{radius}"/>{told}</g></a>'
    )


def _cut(value: str, room: int) -> str:
    """Returns text without its middle where it is too wide."""
    if _wide(value) <= room:
        return value
    kept = len(value)
    while kept > 1:
        kept -= 1
        head = (kept + 1) // 2
        cut = f"{value[:head]}…{value[len(value) - kept + head :]}"
        if _wide(cut) <= room:
            return cut
    return "…"


def _wide(value: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in value)
