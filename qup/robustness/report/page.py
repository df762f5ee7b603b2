"""A report as one page: HTML without scripts, and Markdown.

```python
pathlib.Path("robustness.html").write_text(render_html(report))
```
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from qup.core import extras
from qup.core.formatting import format_duration
from qup.core.numbers import format_epsilon
from qup.robustness.masking.case import FLAGGED, NOT_CHECKED
from qup.robustness.report.protocol import get_attack_name
from qup.robustness.report.report import CHECKED, Report, ShownImage

with extras.explain_missing("A page of a report"):
    from markupsafe import Markup

    from qup.core.templates import create_environment
    from qup.robustness.report import figures

_SVG_START = re.compile(r'^.*?<svg [^>]*?viewBox="([^"]*)"[^>]*>', re.DOTALL)
_STATUS_TEXTS = {
    CHECKED: "Checked: AutoAttack was run, and no sign of masked gradients was found.",
    FLAGGED: "Flagged: the robust accuracy may be too high. The reasons:",
}
# Options that other lines of the protocol state, or that follow from the classifier.
_COMMON_OPTIONS = ("seed", "xla", "bounds", "images", "pixel_clip", "num_classes")
_MAX_SHOWN_CLASSES = 100


def render_html(report: Report) -> str:
    """Returns the page, which loads nothing and needs no script."""
    curve = figures.render(report.plot(), "svg").decode()
    # A page needs the element alone, which the styles of the page can size.
    curve = _SVG_START.sub(r'<svg viewBox="\1">', curve)
    return _environment.get_template("robustness.html.j2").render(
        **_collect(report),
        curve=Markup(curve),
        image_groups=[
            ("Broken by the smallest change", _encode_all(report.select_worst_images())),
            ("Drawn at random", _encode_all(report.select_random_images())),
        ],
    )


def render_markdown(report: Report) -> str:
    """Returns the text of the page; its figure is curve.png in the same folder."""
    return _environment.get_template("robustness.md.j2").render(**_collect(report))


def format_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns records as CSV; NaN is empty, and true and false are 1 and 0."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({key: _format_csv_value(value) for key, value in record.items()})
    return text.getvalue()


def _format_csv_value(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return "" if isinstance(value, float) and math.isnan(value) else value


def _collect(report: Report) -> dict[str, Any]:
    """Returns the values of both templates."""
    attacks = report.summarise_attacks()
    classes = report.summarise_classes()
    return {
        "report": report,
        "attacks": [summary for summary in attacks if report.is_headline(summary.epsilon)],
        "worst": [
            (epsilon, report.get_robust_accuracy(epsilon), _list_attacks(report, epsilon))
            for epsilon in report.epsilons
        ],
        "classes": classes[:_MAX_SHOWN_CLASSES],
        "num_hidden_classes": max(0, len(classes) - _MAX_SHOWN_CLASSES),
        "status_text": _STATUS_TEXTS.get(report.status, "Not checked completely:"),
        "reasons": [*report.reasons, *report.gaps],
        "protocol": _describe_protocol(report),
        "checks_text": _count_checks(report),
    }


def _list_attacks(report: Report, epsilon: float) -> str:
    """Returns the attacks with this budget, or without one, and what was flagged of them."""
    names = []
    for run in report.runs:
        if run.epsilon is None or math.isclose(run.epsilon, epsilon, rel_tol=1e-6):
            flags = ", ".join(flag.name.replace("_", " ") for flag in run.result.flags)
            names.append(get_attack_name(run.name) + (f" (flagged: {flags})" if flags else ""))
    return ", ".join(dict.fromkeys(names))


def _count_checks(report: Report) -> str:
    """Returns how many checks were made and flagged, as text."""
    statuses = [check.status for check in report.checks]
    made, flagged = (len(statuses) - statuses.count(NOT_CHECKED), statuses.count(FLAGGED))
    if not statuses:
        return "no search for masked gradients"
    return f"{made} of {len(statuses)} checks for masked gradients made, {flagged} flagged"


def _describe_protocol(report: Report) -> dict[str, str]:
    """Returns what was done, one line per topic."""
    attacks = {run.name: run for run in report.headline_runs}
    lines = {
        "images": f"{len(report):,} of {report.dataset}, seed {report.protocol.get('seed', 0)}",
        "budget": f"{report.format_budget()}; pixels stay in [0, 1]",
    }
    for name, run in attacks.items():
        options = {
            key: value
            for key, value in run.options.items()
            if key not in _COMMON_OPTIONS and value not in (None, False)
        }
        shown = ", ".join(f"{key}={value}" for key, value in options.items())
        lines[get_attack_name(name)] = shown or "default options"
    if left_out := report.protocol.get("left_out"):
        lines["not on this page"] = (
            f"{', '.join(left_out)}: another norm, or a target class, see measurements.csv"
        )
    if report.checks:
        lines["search for masked gradients"] = (
            f"{_count_checks(report)}, on the first {report.checks[0].n} images"
        )
    if report.seconds:
        lines["time"] = ", ".join(
            f"{get_attack_name(name)} {format_duration(value)}"
            for name, value in report.seconds.items()
        )
    lines["versions"] = ", ".join(f"{name} {value}" for name, value in report.versions.items())
    return lines


def _encode_all(images: Sequence[ShownImage]) -> list[dict[str, Any]]:
    encoded = []
    for image in images:
        if image.clean.ndim != 3:
            # The inputs are no pictures.
            continue
        difference, scale = figures.encode_difference(image.clean, image.attacked)
        encoded.append(
            {
                "image": image,
                "clean": figures.encode_image(image.clean),
                "attacked": figures.encode_image(image.attacked),
                "difference": difference,
                "scale": scale,
            }
        )
    return encoded


def _format_number(value: float, digits: int = 3) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if value >= 10**digits else f"{value:.{digits}g}"


_environment = create_environment("qup.robustness.report")
_environment.filters |= {
    "attack_name": get_attack_name,
    "epsilon": format_epsilon,
    "number": _format_number,
}
