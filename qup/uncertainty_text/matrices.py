"""What holds of all combinations of directions at once."""

import math
from collections.abc import Iterator, Sequence

from qup import uncertainty_measured as measuring
from qup import uncertainty_networks as networks
from qup.uncertainty_measured import MeanEstimate, RelationRecord
from qup.uncertainty_text.numbers import UNKNOWN, format_estimate


def describe_matrix_form(records: Sequence[RelationRecord]) -> Iterator[str]:
    """Yields sentences on the matrix form, where there are directions.

    Args:
      records: Records of one network, a record a label.
    """
    matrix_records = [record for record in records if record["matrix"]]
    if not matrix_records:
        return
    known_records = [
        record for record in matrix_records if math.isfinite(record["matrix"]["least"][0])
    ]
    if not known_records:
        yield f"The matrix form {UNKNOWN.upper()}."
        return
    record = min(known_records, key=lambda record: record["matrix"]["least"][0])
    label_text = f" ({networks.format_labels([record])})" * (len(records) > 1)
    yield (
        f"Of the {record['matrix']['count']} directions together the smallest "
        "eigenvalue of Sigma - C P_c^-1 C^T, the distance of their best "
        f"combination from its bound, is {format_estimate(_find_eigenvalue(record, 'least'))}{label_text}: "
        "on no sample is it negative beyond its error, no finding."
    )
    if not record["vanishes"]:
        yield _describe_without_boundary(known_records)


def _describe_without_boundary(records: Sequence[RelationRecord]) -> str:
    """Says whether Eq. 14 for all combinations, Sigma >= P^-1/4, is broken."""
    record = min(records, key=lambda record: record["matrix"]["least_vanishing"][0])
    least = _find_eigenvalue(record, "least_vanishing")
    distance = measuring.z_score(least, MeanEstimate(0.0, 0.0, 1, 1))
    is_violated = least.value < 0 and distance > measuring.Z_THRESHOLD
    verdict = "is broken" if is_violated else "is not seen to be broken"
    return (
        "Without the boundary term, of Sigma - P^-1/4, it is "
        f"{format_estimate(least)}: the paper's bound {verdict} here."
    )


def _find_eigenvalue(record: RelationRecord, name: str) -> MeanEstimate:
    return MeanEstimate(*record["matrix"][name], 1, 1)
