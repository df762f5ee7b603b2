"""What the bound is, and what keeping to it is worth."""

from collections.abc import Iterator, Sequence

import numpy as np

from qup import uncertainty_measured as measuring
from qup import uncertainty_networks as networks
from qup.measures.uncertainty import checks
from qup.uncertainty_measured import MeanEstimate, RelationRecord
from qup.uncertainty_text import averages
from qup.uncertainty_text.numbers import RISES, STAYS, UNKNOWN, classify_change

_PRODUCT, _BOUND = "uncertainty_product", "uncertainty_bound"
# Groups of the jackknife less one, where a record does not tell.
_DEFAULT_DOF = 39


def describe_bound(records: Sequence[RelationRecord]) -> Iterator[str]:
    """Yields sentences on the bound of one network, a record a label."""
    return _describe_half_bound(records) if records[0]["vanishes"] else _describe_box_bound(records)


def _describe_half_bound(records: Sequence[RelationRecord]) -> Iterator[str]:
    """Yields sentences where the bound is 1/2."""
    yield "The packet vanishes at the boundary, so the bound is exactly 1/2."
    yield _describe_window_widths(records)
    num_below = sum(_count_below_half(record) for record in records)
    if averages.select_known(records, _PRODUCT) and not num_below:
        yield ("That it is kept is the Cramér-Rao inequality, true of every network: no finding.")
    if num_below:
        unit = networks.pluralize(num_below, records[0].unit.removesuffix("s"))
        yield (
            f"AT {num_below} {unit.upper()} THE PRODUCT IS BELOW 1/2 by more than "
            "chance allows: the estimate is at fault."
        )
    yield _describe_excess(records)


def _describe_window_widths(records: Sequence[RelationRecord]) -> str:
    """Says whether the widths are those of a Gaussian window alone."""
    width = records[0].width
    if not np.isfinite(width):
        return ""
    window_values = {"sigma_x": width * 0.5**0.5, "sigma_p": 0.5**0.5 / width}
    changes = {
        classify_change(MeanEstimate(value, 0.0, 1, 1), record.mean(measure))
        for measure, value in window_values.items()
        for record in records
    }
    if changes != {STAYS}:
        return ""
    return (
        "No difference of the mean sigma_x and sigma_p from those of the "
        "window without any network is resolved."
    )


def _describe_excess(records: Sequence[RelationRecord]) -> str:
    excesses = {record: record.mean("excess") for record in records}
    if not any(np.isfinite(excess.value) for excess in excesses.values()):
        return f"The excess over 1/2 {UNKNOWN}."
    positive_records = [record for record in records if _is_positive(excesses[record])]
    if not positive_records:
        return "No excess over 1/2 is seen beyond three standard errors."
    method_text = (
        ", freed of most noise by Cov(x, s) = -1/2," * records[0].use_correlation_estimator
    )
    return (
        f"The excess over 1/2{method_text} is {averages.format_range(positive_records, 'excess')}."
    )


def _is_positive(mean: MeanEstimate) -> bool:
    zero = MeanEstimate(0.0, 0.0, 1, 1)
    return mean.value > 0 and measuring.z_score(mean, zero) > measuring.Z_THRESHOLD


def _count_below_half(record: RelationRecord) -> int:
    """Returns at how many axes the product is below 1/2 beyond chance."""
    value, error = record.pixel_values(_PRODUCT)
    threshold = checks.z_quantile(len(value), record.metadata.get("freedom", _DEFAULT_DOF))
    return int(np.sum(0.5 - value > threshold * np.maximum(error, 1e-6)))


def _describe_box_bound(records: Sequence[RelationRecord]) -> Iterator[str]:
    """Yields sentences where the bound has a boundary term."""
    yield (
        "The packet does not vanish at the faces, so the bound is not 1/2 but "
        f"1/2 |1 - B|, on average {averages.format_range(records, _BOUND)}. That it is "
        "kept follows from the arithmetic of any sample: no finding."
    )
    share = min(map(_compute_resolved_share, averages.select_known(records, _BOUND)), default=1.0)
    if share < 0.5:
        yield (
            f"At only {100 * share:.0f} % of the {records[0].unit} is the bound "
            "told from 0: it is mostly noise, an upper limit."
        )
    half = MeanEstimate(0.5, 0.0, 1, 1)
    if all(classify_change(record.mean(_PRODUCT), half) == RISES for record in records):
        yield ("The product is below the 1/2 of the paper's Eq. 14, which does not hold here.")


def _compute_resolved_share(record: RelationRecord) -> float:
    """Returns the share of axes whose bound is told from 0, or is 0."""
    value, error = record.pixel_values("covariance")
    is_exact = np.abs(value) + error < 1e-9
    return float(np.mean((np.abs(value) > 2 * error) | is_exact))
