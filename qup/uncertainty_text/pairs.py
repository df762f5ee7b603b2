"""Networks two by two, and in what they differ."""

import math
from collections.abc import Sequence

from qup import uncertainty_differences as differences
from qup import uncertainty_networks as networks
from qup.uncertainty_measured import ATOL, RelationRecord
from qup.uncertainty_text import numbers
from qup.uncertainty_text.numbers import FALLS, RISES, STAYS, format_estimate, join_words

RecordPair = tuple[RelationRecord, RelationRecord]


def choose_compared(records: Sequence[RelationRecord]) -> dict[str, str]:
    """Returns what is compared: the excess tells more than the product."""
    first_measure = {"uncertainty_product": "the product"}
    if records[0].use_correlation_estimator:
        first_measure = {"excess": "the excess"}
    return {**first_measure, "sigma_x": "sigma_x", "sigma_p": "sigma_p"}


def match_records(
    first: Sequence[RelationRecord], second: Sequence[RelationRecord]
) -> list[RecordPair]:
    """Returns records of one label, by one estimator where there are such.

    Of several such pairs the one that tells most of the first measure.
    """
    matched_pairs = []
    for label in dict.fromkeys(record["label"] for record in first):
        first_records = [record for record in first if record["label"] == label]
        second_records = [record for record in second if record["label"] == label]
        estimators = {record["estimator"] for record in first_records}
        estimators &= {record["estimator"] for record in second_records}
        candidates = [
            (a, b)
            for a in first_records
            for b in second_records
            if not estimators or a["estimator"] == b["estimator"]
        ]
        if candidates:
            matched_pairs.append(min(candidates, key=_pair_error))
    return matched_pairs


def _pair_error(pair: RecordPair) -> float:
    measure = next(iter(choose_compared(pair)))
    error = differences.compute_difference(*pair, measure).stderr
    return error if math.isfinite(error) else math.inf


def classify_changes(pairs: Sequence[RecordPair], measure: str) -> list[str | None]:
    """Returns how a measure changes in each pair; None where unknown."""
    return [
        numbers.classify_difference(differences.compute_difference(a, b, measure)) for a, b in pairs
    ]


def find_changed(pairs: Sequence[RecordPair]) -> list[str]:
    """Returns the names of what changes for any label."""
    return [
        name
        for measure, name in choose_compared([a for a, _ in pairs]).items()
        if {RISES, FALLS} & set(classify_changes(pairs, measure))
    ]


def describe_changes(pairs: Sequence[RecordPair]) -> str:
    """Returns "the product rises from a to b, while sigma_x stays ..."."""
    phrases, unchanged, unknown = [], [], []
    for measure, name in choose_compared([a for a, _ in pairs]).items():
        classified = classify_changes(pairs, measure)
        if set(classified) == {None}:
            unknown.append(name)
        elif set(classified) <= {STAYS, None}:
            unchanged.append(name)
        else:
            phrases.append(f"{name} {_describe_change(pairs, measure, classified)}")
    text = join_words(phrases)
    if unchanged:
        text += f"{', while ' * bool(phrases)}no change of {join_words(unchanged)} is "
        text += "resolved"
    if unknown:
        text += f"{'; ' * bool(text)}{join_words(unknown)} COULD NOT BE COMPARED"
    return text


def _describe_change(pairs: Sequence[RecordPair], measure: str, classified: list) -> str:
    if len(set(classified)) > 1:
        return join_words(
            f"{direction} for {classified.count(direction)} of {len(classified)} labels"
            for direction in (RISES, FALLS)
            if direction in classified
        )
    before, after = (_format_plain(record.mean(measure).value) for record in pairs[0])
    text = f"{classified[0]} from {before} to {after}"
    if differences.have_same_samples(*pairs[0]):
        change_text = format_estimate(differences.compute_difference(*pairs[0], measure))
        text += f" (by {change_text} on the same samples)"
    if len(pairs) > 1:
        text += f" ({networks.format_labels([pairs[0][0]])}; all labels alike)"
    return text


def _format_plain(value: float) -> str:
    """Returns a number; what float32 does not resolve is said to be small."""
    return f"{value:.3g}" if abs(value) >= ATOL else f"less than {ATOL:.0e}"
