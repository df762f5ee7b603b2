"""The verdict page: each claim, its rule, and what the rows say."""

from qup.report import claims, sections
from qup.report.blocks import Cell, Paragraph, Section, Table
from qup.report.claims import Outcome
from qup.report.material import ReportData

_OUTCOME_TONES = {Outcome.SUPPORTED: "good", Outcome.CONTRADICTED: "bad"}
_VERDICT_COLUMNS = (
    "claim",
    "where",
    "outcome",
    "what was measured",
    "another outcome under",
    "rule",
)


@sections.register(order=10)
def verdicts(data: ReportData) -> Section:
    """Returns the table of verdicts."""
    body = []
    for name in claims.names():
        traits, result = claims.traits(name), claims.get(name)(data)
        tone = _OUTCOME_TONES.get(result.outcome, "muted")
        body.append(
            (
                Cell(f'"{traits["quote"]}"'),
                Cell(traits["where"]),
                Cell(_format_outcome(result), result.rows, tone),
                Cell(result.text),
                Cell(result.sensitivity or "-"),
                Cell(traits["threshold"]),
            )
        )
    introduction = Paragraph(
        "Each claim of the paper is a rule with a threshold. Rules stood in "
        "the code before the runs over seeds, some of them after one network "
        "had been measured, and some took their form after the results had "
        "been seen: each says so. An outcome is what the rows of this report "
        "say under the rule, no more; an undecided one has an interval that "
        "reaches across the threshold. Of several networks, unless the rule "
        "says otherwise, the outcome is that of at least half of those that "
        "were run, where none has the opposite one; mixed where they differ. "
        "Brackets count them, those that were not run too."
    )
    return Section("verdicts", "Verdicts", (introduction, Table(_VERDICT_COLUMNS, tuple(body))))


def _format_outcome(result: claims.ClaimResult) -> str:
    scope = f" ({result.scope})" if result.scope else ""
    return f"{result.outcome.value}{scope}"
