"""The claims of the paper as rules: the measurements they read, and their thresholds.

Each rule states what was known when it was written: `POST_HOC_ONE_NETWORK` if one network had been
measured, `POST_HOC` if its present form is from after the runs over seeds. A rule returns a
`ClaimResult`, "not run" without measurements.
"""

import dataclasses
import enum
from collections.abc import Callable, Sequence

from qup.core.measurements import Row
from qup.core.registry import Registry
from qup.reproduction.report.data import AccuracyKind, ReportData
from qup.reproduction.report.statistics import IntervalEstimate

POST_HOC_ONE_NETWORK = " (Written after one network had been measured.)"
POST_HOC = " (Given its present form after the results were known.)"
# The attacks besides PGD-4 with the clip, the strongest first.
ALTERNATIVE_ATTACKS = (
    AccuracyKind.WORST_CASE,
    AccuracyKind.PGD_STRONG,
    AccuracyKind.PGD4_UNCLIPPED,
)

_registry = Registry("qup.reproduction.report.claims", "claim")
register = _registry.register
get = _registry.get
traits = _registry.traits


def names() -> tuple[str, ...]:
    """Returns all claims in the order of the report."""
    return tuple(sorted(_registry.names(), key=lambda name: traits(name)["order"]))


class Outcome(enum.Enum):
    """What the measurements say about a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    MIXED = "mixed"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


@dataclasses.dataclass(frozen=True)
class ClaimResult:
    """The result of a rule.

    Attributes:
      outcome: See `Outcome`.
      text: The reason, with the numbers.
      rows: The measurements that were read.
      sensitivity: Other settings with another outcome; "" without any.
      scope: How much of the claim's subject was measured.
    """

    outcome: Outcome
    text: str
    rows: tuple[Row, ...] = ()
    sensitivity: str = ""
    scope: str = ""


NOT_RUN_RESULT = ClaimResult(Outcome.NOT_RUN, "No measurement yet.")


def combine_unanimously(outcomes: Sequence[Outcome]) -> Outcome:
    """Returns the joint outcome of networks: supported only if all are.

    Contradicted if one is and none is supported; mixed if they differ.
    """
    distinct = set(outcomes)
    if {Outcome.SUPPORTED, Outcome.CONTRADICTED} <= distinct:
        return Outcome.MIXED
    for outcome in (Outcome.CONTRADICTED, Outcome.UNDECIDED):
        if outcome in distinct:
            return outcome
    return Outcome.SUPPORTED if distinct else Outcome.NOT_RUN


def combine_by_majority(outcomes: Sequence[Outcome]) -> Outcome:
    """Returns the joint outcome of networks.

    Supported or contradicted only if none is the opposite and at most half are undecided; mixed
    if they differ.
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
    """Returns the outcome of a claim that a change is positive, by the sign of its interval."""
    return {1: Outcome.SUPPORTED, -1: Outcome.CONTRADICTED, 0: Outcome.UNDECIDED}[sign]


def judge_signs(*estimates: IntervalEstimate) -> Outcome:
    """Returns the outcome of a claim that several changes are all positive."""
    return judge_sign(min(estimate.sign for estimate in estimates))


def create_attack_alternatives(data: ReportData) -> dict[str, list[Outcome]]:
    """Returns the titles of `ALTERNATIVE_ATTACKS`, each to an empty list."""
    return {kind.format_title(data): [] for kind in ALTERNATIVE_ATTACKS}


@dataclasses.dataclass
class Evidence:
    """The outcomes of single networks, collected for a result.

    Attributes:
      outcomes: One per network.
      texts: Its numbers, one per network.
      rows: The measurements that were read.
      alternatives: A setting to the outcomes under it.
      combine: Returns the joint outcome.
    """

    combine: Callable[[Sequence[Outcome]], Outcome] = combine_by_majority
    outcomes: list[Outcome] = dataclasses.field(default_factory=list)
    texts: list[str] = dataclasses.field(default_factory=list)
    rows: tuple[Row, ...] = ()
    alternatives: dict[str, list[Outcome]] = dataclasses.field(default_factory=dict)

    def add(self, outcome: Outcome, text: str, *estimates: IntervalEstimate) -> None:
        """Adds a network: its outcome, its numbers, and the estimates that were read."""
        self.outcomes.append(outcome)
        self.texts.append(text)
        self.rows += tuple(row for estimate in estimates for row in estimate.rows)

    def conclude(
        self,
        *,
        prefix: str = "",
        suffix: str = "",
        num_total: int | None = None,
        noun: str = "networks",
        scope: str = "",
    ) -> ClaimResult:
        """Returns the result, with the settings under which it differs.

        Args:
          prefix: Before the numbers.
          suffix: After them.
          num_total: How many networks the claim is about, for a scope such as "networks: 2
            supported, 1 not run".
          noun: Of that scope.
          scope: A fixed scope instead.
        """
        if not self.outcomes:
            return NOT_RUN_RESULT
        outcome = self.combine(self.outcomes)
        sensitivity = "; ".join(
            f"{setting}: {alternative.value}"
            for setting, outcomes in self.alternatives.items()
            if outcomes and (alternative := self.combine(outcomes)) is not outcome
        )
        if num_total is not None:
            all_outcomes = self.outcomes + [Outcome.NOT_RUN] * (num_total - len(self.outcomes))
            counts = {each: all_outcomes.count(each) for each in Outcome}
            tally = ", ".join(f"{count} {each.value}" for each, count in counts.items() if count)
            scope = f"{noun}: {tally}"
        text = f"{prefix}{'; '.join(self.texts)}.{suffix}"
        return ClaimResult(outcome, text, self.rows, sensitivity, scope)
