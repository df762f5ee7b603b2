"""The paper's claims as rules: which rows are read, what decides.

Each rule says what was known when it was written: `SEEN` where one network
had been measured, `CHANGED` where it took its form after the runs over seeds.
A rule returns a `Verdict`; what no row speaks of is "not run".
"""

import dataclasses
import enum
from collections.abc import Callable

from qup.measurements import Row
from qup.registry import Registry
from qup.report.material import Material

SEEN = " (Written after one network had been measured.)"
CHANGED = " (Given this form after the results had been seen.)"


class Outcome(enum.Enum):
    """What the rows say of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    MIXED = "mixed"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Attributes:
      outcome: See `Outcome`.
      words: Why, with the numbers.
      rows: What was read.
      switch: Under which other setting the outcome is another one; "" where
        none was found.
      scope: How much of what the claim speaks of was measured.
    """

    outcome: Outcome
    words: str
    rows: tuple[Row, ...] = ()
    switch: str = ""
    scope: str = ""


NOT_RUN = Verdict(Outcome.NOT_RUN, "No measurement speaks of it yet.")
Rule = Callable[[Material], Verdict]

_registry = Registry("qup.report.claims", "claim")
register = _registry.register
get = _registry.get
traits = _registry.traits


def names() -> tuple[str, ...]:
    """Returns all claims in the order of the paper."""
    return tuple(sorted(_registry.names(), key=lambda n: traits(n)["order"]))


def lines(material: Material) -> int:
    """Returns how many lines Tables 2 and 3 have: networks at their epochs."""
    tables = material.scale.tables.values()
    return sum(len(table.networks) * len(table.epochs) for table in tables)


def tally(outcomes: list[Outcome], asked: int, what: str) -> str:
    """Returns "networks: 2 supported, 1 undecided, 1 not run".

    Args:
      outcomes: One each of those that were run.
      asked: How many the claim speaks of.
      what: What they are, in the plural.
    """
    every = outcomes + [Outcome.NOT_RUN] * (asked - len(outcomes))
    counts = {outcome: every.count(outcome) for outcome in Outcome}
    told = (f"{n} {outcome.value}" for outcome, n in counts.items() if n)
    return f"{what}: {', '.join(told)}"


def every(outcomes: list[Outcome]) -> Outcome:
    """Returns what all say together: supported only where each says so.

    Contradicted where one is and none is supported; "mixed" where they
    differ.
    """
    found = set(outcomes)
    if {Outcome.SUPPORTED, Outcome.CONTRADICTED} <= found:
        return Outcome.MIXED
    for outcome in (Outcome.CONTRADICTED, Outcome.UNDECIDED):
        if outcome in found:
            return outcome
    return Outcome.SUPPORTED if found else Outcome.NOT_RUN


def combined(outcomes: list[Outcome]) -> Outcome:
    """Returns what several networks say together.

    Supported or contradicted only where none says the opposite and no more
    are undecided than resolved; "mixed" where they differ.
    """
    if not outcomes:
        return Outcome.NOT_RUN
    open_ = outcomes.count(Outcome.UNDECIDED)
    resolved = set(outcomes) - {Outcome.UNDECIDED}
    if len(resolved) > 1:
        return Outcome.MIXED
    if not resolved or 2 * open_ > len(outcomes):
        return Outcome.UNDECIDED
    return resolved.pop()


def of_sign(sign: int) -> Outcome:
    """Returns what a change says that a claim wants to be positive."""
    return {
        1: Outcome.SUPPORTED, -1: Outcome.CONTRADICTED, 0: Outcome.UNDECIDED
    }[sign]  # fmt: skip
