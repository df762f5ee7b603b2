"""A number of one label, or the least and the greatest of several."""

from collections.abc import Sequence

import numpy as np

from qup import uncertainty_networks as networks
from qup.uncertainty_measured import RelationRecord
from qup.uncertainty_text.numbers import STAYS, UNKNOWN, classify_change, format_estimate


def select_known(records: Sequence[RelationRecord], measure: str) -> list[RelationRecord]:
    """Returns those of which a measure could be estimated."""
    return [record for record in records if np.isfinite(record.mean(measure).value)]


def format_range(records: Sequence[RelationRecord], measure: str, with_labels: bool = True) -> str:
    """Returns a number; of several labels the least and the greatest."""
    known_records = select_known(records, measure)
    if not known_records:
        return f"a number that {UNKNOWN.upper()}"

    def value(record: RelationRecord) -> float:
        return record.mean(measure).value

    least, greatest = (choose(known_records, key=value) for choose in (min, max))
    selected = [least, greatest]
    if classify_change(least.mean(measure), greatest.mean(measure)) == STAYS:
        selected = [known_records[0]]
    show_labels = with_labels and len(records) > 1
    format_name = networks.format_labels if len(selected) > 1 else _format_alike
    return " to ".join(
        format_estimate(record.mean(measure)) + f" ({format_name([record])})" * show_labels
        for record in selected
    )


def _format_alike(records: Sequence[RelationRecord]) -> str:
    return f"{networks.format_labels(records)}, the others alike"
