"""Under which other attack a verdict is another one."""

from collections.abc import Callable, Mapping, Sequence

from qup.report import claims
from qup.report.claims import Outcome
from qup.report.material import ReportData
from qup.report.selection import AccuracyKind

# Beside the paper's attack, clipped: the strongest first.
ALTERNATIVE_ATTACKS = (
    AccuracyKind.WORST_CASE,
    AccuracyKind.PGD_STRONG,
    AccuracyKind.PGD4_UNCLIPPED,
)


def format_sensitivity(
    data: ReportData,
    outcome: Outcome,
    alternatives: Mapping[AccuracyKind, Sequence[Outcome]],
    combine: Callable[[list[Outcome]], Outcome] = claims.combine_by_majority,
) -> str:
    """Returns "RA, AutoAttack: contradicted; ..."; "" where none differs.

    Args:
      data: Everything.
      outcome: Under the paper's attack.
      alternatives: What each network says under another one.
      combine: How what they say is put together.
    """
    return "; ".join(
        f"{kind.format_title(data)}: {combined.value}"
        for kind, outcomes in alternatives.items()
        if outcomes and (combined := combine(list(outcomes))) is not outcome
    )
