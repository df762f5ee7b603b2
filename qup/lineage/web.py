"""Lineages as one HTML page: a drawing, and a table of every execution.

```python
pathlib.Path("lineage.html").write_text(page(lineage), encoding="utf-8")
```

It loads nothing, needs no JavaScript, and names no host and no path outside
the pipeline root.
"""

from qup.lineage import drawing
from qup.lineage.ancestry import Lineage
from qup.lineage.drawing import escape, format_artifact_name
from qup.lineage.redaction import Redaction
from qup.lineage.table import format_parameters, format_table, format_timing

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
{drawing.DRAWING_STYLE}
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
    title = f"Lineage of {escape(drawing.describe_subject(lineage))}"
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
{drawing.draw_svg(lineage)}
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
