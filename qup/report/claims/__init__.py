"""The paper's claims as rules: which rows are read, what decides.

Each rule and its threshold stood here before the rows were measured, or says
that it did not. A rule returns a `Verdict`; what no row speaks of is "not run".
"""

import dataclasses
import enum
from collections.abc import Callable

from qup.measurements import Row
from qup.registry import Registry
from qup.report.material import Material


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
    """

    outcome: Outcome
    words: str
    rows: tuple[Row, ...] = ()
    switch: str = ""


NOT_RUN = Verdict(Outcome.NOT_RUN, "No measurement speaks of it yet.")
Rule = Callable[[Material], Verdict]

_registry = Registry("qup.report.claims", "claim")
register = _registry.register
get = _registry.get
traits = _registry.traits


def names() -> tuple[str, ...]:
    """Returns all claims in the order of the paper."""
    return tuple(sorted(_registry.names(), key=lambda n: traits(n)["order"]))


def combined(outcomes: list[Outcome]) -> Outcome:
    """Returns what several networks say together.

    Supported or contradicted only where none says the opposite and at least
    one is resolved; "mixed" where they differ.
    """
    resolved = set(outcomes) & {Outcome.SUPPORTED, Outcome.CONTRADICTED}
    if len(resolved) > 1:
        return Outcome.MIXED
    if resolved:
        return resolved.pop()
    return Outcome.UNDECIDED if outcomes else Outcome.NOT_RUN
