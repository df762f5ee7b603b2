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
            Cell(_outcome(verdict), verdict.rows, tone),
            Cell(verdict.words), Cell(verdict.switch or "-"),
            Cell(told["threshold"]),
        ))  # fmt: skip
    words = Words(
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
    return Section("verdicts", "Verdicts", (words, Table(_HEAD, tuple(body))))


def _outcome(verdict: claims.Verdict) -> str:
    scope = f" ({verdict.scope})" if verdict.scope else ""
    return f"{verdict.outcome.value}{scope}"
