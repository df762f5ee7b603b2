"""The paper's claims as rules: which rows are read, what decides.

Each rule says what was known when it was written: `POST_HOC_ONE_NETWORK` where one network
had been measured, `POST_HOC` where it took its form after the runs over seeds.
A rule returns a `ClaimResult`; what no row speaks of is "not run".
"""

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence

from qup.core.measurements import Row
from qup.core.registry import Registry
from qup.reproduction.report.data import AccuracyKind, ReportData

POST_HOC_ONE_NETWORK = " (Written after one network had been measured.)"
POST_HOC = " (Given this form after the results had been seen.)"


class Outcome(enum.Enum):
    """What the rows say of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    MIXED = "mixed"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


@dataclasses.dataclass(frozen=True)
class ClaimResult:
    """What became of a claim.

    Attributes:
      outcome: See `Outcome`.
      text: Why, with the numbers.
      rows: What was read.
      sensitivity: Under which other setting the outcome is another one; "" where
        none was found.
      scope: How much of what the claim speaks of was measured.
    """

    outcome: Outcome
    text: str
    rows: tuple[Row, ...] = ()
    sensitivity: str = ""
    scope: str = ""


NOT_RUN_RESULT = ClaimResult(Outcome.NOT_RUN, "No measurement speaks of it yet.")
Rule = Callable[[ReportData], ClaimResult]

_registry = Registry("qup.reproduction.report.claims", "claim")
register = _registry.register
get = _registry.get
traits = _registry.traits


def names() -> tuple[str, ...]:
    """Returns all claims in the order of the paper."""
    return tuple(sorted(_registry.names(), key=lambda n: traits(n)["order"]))


def count_table_rows(data: ReportData) -> int:
    """Returns how many lines Tables 2 and 3 have: networks at their epochs."""
    tables = data.scale.tables.values()
    return sum(len(table.networks) * len(table.epochs) for table in tables)


def format_tally(outcomes: list[Outcome], num_total: int, noun: str) -> str:
    """Returns "networks: 2 supported, 1 undecided, 1 not run".

    Args:
      outcomes: One each of those that were run.
      num_total: How many the claim speaks of.
      noun: What they are, in the plural.
    """
    all_outcomes = outcomes + [Outcome.NOT_RUN] * (num_total - len(outcomes))
    counts = {outcome: all_outcomes.count(outcome) for outcome in Outcome}
    counts_texts = (f"{n} {outcome.value}" for outcome, n in counts.items() if n)
    return f"{noun}: {', '.join(counts_texts)}"


def combine_unanimously(outcomes: list[Outcome]) -> Outcome:
    """Returns what all say together: supported only where each says so.

    Contradicted where one is and none is supported; "mixed" where they
    differ.
    """
    distinct = set(outcomes)
    if {Outcome.SUPPORTED, Outcome.CONTRADICTED} <= distinct:
        return Outcome.MIXED
    for outcome in (Outcome.CONTRADICTED, Outcome.UNDECIDED):
        if outcome in distinct:
            return outcome
    return Outcome.SUPPORTED if distinct else Outcome.NOT_RUN


def combine_by_majority(outcomes: list[Outcome]) -> Outcome:
    """Returns what several networks say together.

    Supported or contradicted only where none says the opposite and no more
    are undecided than resolved; "mixed" where they differ.
    """
    if not outcomes:
        return Outcome.NOT_RUN
    num_undecided = outcomes.count(Outcome.UNDECIDED)
    resolved = set(outcomes) - {Outcome.UNDECIDED}
    if len(resolved) > 1:
        return Outcome.MIXED
    if not resolved or 2 * num_undecided > len(outcomes):
        return Outcome.UNDECIDED
    return resolved.pop()


def judge_sign(sign: int) -> Outcome:
    """Returns what a change says that a claim wants to be positive."""
    return {1: Outcome.SUPPORTED, -1: Outcome.CONTRADICTED, 0: Outcome.UNDECIDED}[sign]


# Under which other attack a verdict is another one.


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
    combine: Callable[[list[Outcome]], Outcome] = combine_by_majority,
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
