"""The verdict page: each claim, its rule, and what the rows say."""

from qup.report import claims, sections
from qup.report.blocks import Cell, Section, Table, Words
from qup.report.claims import Outcome
from qup.report.material import Material

_TONES = {Outcome.SUPPORTED: "good", Outcome.CONTRADICTED: "bad"}
_HEAD = (
    "claim", "where", "outcome", "what was measured", "another outcome under",
    "rule",
)  # fmt: skip


@sections.register(order=10)
def verdicts(material: Material) -> Section:
    """Returns the table of verdicts."""
    body = []
    for name in claims.names():
        told, verdict = claims.traits(name), claims.get(name)(material)
        tone = _TONES.get(verdict.outcome, "muted")
        body.append((
            Cell(f'"{told["quote"]}"'), Cell(told["where"]),
            Cell(verdict.outcome.value, verdict.rows, tone),
            Cell(verdict.words), Cell(verdict.switch or "-"),
            Cell(told["threshold"]),
        ))  # fmt: skip
    words = Words(
        "Each claim of the paper is a rule with a threshold that stood in "
        "the code before anything was measured, except where the rule itself "
        "says that it did not. An outcome is what the rows "
        "of this report say under the rule, no more; an undecided one has an "
        "interval that reaches across the threshold."
    )
    return Section("verdicts", "Verdicts", (words, Table(_HEAD, tuple(body))))
