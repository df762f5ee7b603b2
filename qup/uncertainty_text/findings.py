"""What was measured, and the numbers."""

from collections.abc import Iterator, Sequence

from qup import uncertainty_networks as networks
from qup.measures.uncertainty import importance
from qup.uncertainty_measured import RelationRecord
from qup.uncertainty_text import averages, bounds, matrices
from qup.uncertainty_text.numbers import UNKNOWN, join_words

_PRODUCT = "uncertainty_product"
_MIN_SAMPLES = importance.MIN_EFFECTIVE_SAMPLES


def describe_network(group: Sequence[RelationRecord]) -> Iterator[str]:
    """Yields sentences on the network itself.

    Args:
      group: Records of one packet in one domain.
    """
    records = networks.select_final_records(group)
    exact_records = networks.select_most_exact(records)
    yield _describe_setting(records)
    yield _describe_estimators(records)
    yield _describe_means(exact_records)
    yield _describe_unknown(exact_records)
    yield from bounds.describe_bound(exact_records)
    yield from matrices.describe_matrix_form(exact_records)


def _describe_setting(records: Sequence[RelationRecord]) -> str:
    first = records[0]
    network_name = networks.format_network(first)
    network_name += " network" if first["control"] else ""
    packet_name = f"{first['packet']} packet of {first['model']}"
    packet_name += f" on {first['dataset']}" if first["dataset"] else ""
    phrases = [
        packet_name,
        network_name,
        networks.format_labels(records),
        networks.format_domain(records),
    ]
    return f"**The {', '.join(part for part in phrases if part)}.**"


def _describe_estimators(records: Sequence[RelationRecord]) -> str:
    """Says along what and by which estimators was measured."""
    parts = []
    for kind in sorted({record["estimator"] for record in records}):
        estimator_records = [record for record in records if record["estimator"] == kind]
        sizes = [record["effective_sample_size"] for record in estimator_records]
        text = f"{networks.format_estimator(kind)} ({estimator_records[0]['n']:,} samples"
        if None not in sizes:
            at_least = "at least " * (len(estimator_records) > 1)
            text += f", effective size {at_least}{min(sizes):,.0f}"
        parts.append(f"{text})")
    count = len(records[0].pixel_values(_PRODUCT)[0])
    unit = networks.pluralize(count, records[0].unit.removesuffix("s"))
    sentence = f"Measured along {count:,} {unit} by {join_words(parts)}."
    if any((record["effective_sample_size"] or _MIN_SAMPLES) < _MIN_SAMPLES for record in records):
        sentence += f" FEWER THAN {_MIN_SAMPLES} EFFECTIVE SAMPLES: do not trust errors."
    return sentence


def _describe_means(records: Sequence[RelationRecord]) -> str:
    names = {_PRODUCT: "the product", "sigma_x": "sigma_x", "sigma_p": "sigma_p"}
    known_measures = [name for name in names if averages.select_known(records, name)]
    parts = [
        f"{names[name]} {averages.format_range(records, name, with_labels=name == known_measures[0])}"
        for name in known_measures
    ]
    text = f"On average over {records[0].unit}: {join_words(parts)}. " * bool(parts)
    unknown_names = [title for name, title in names.items() if name not in known_measures]
    if unknown_names:
        sentence = f"{join_words(unknown_names)} {UNKNOWN.upper()}."
        text += sentence[:1].upper() + sentence[1:]
    return text.rstrip()


def _describe_unknown(records: Sequence[RelationRecord]) -> str:
    record_means = [(record, record.mean(_PRODUCT)) for record in records]
    record, mean = max(record_means, key=lambda pair: pair[1].n - pair[1].num_known)
    if mean.num_known in (0, mean.n):
        return ""
    label_text = f" ({networks.format_labels([record])})" * (len(records) > 1)
    return (
        f"At {mean.n - mean.num_known:,} of {mean.n:,} {record.unit}{label_text} the "
        f"product {UNKNOWN.upper()}."
    )
