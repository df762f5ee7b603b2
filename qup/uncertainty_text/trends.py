"""What moves with epochs, with the temperature and with the window."""

from collections.abc import Iterator, Sequence

from qup import uncertainty_networks as networks
from qup.measurements import Row
from qup.uncertainty_measured import RelationRecord
from qup.uncertainty_text import numbers, pairs
from qup.uncertainty_text.numbers import FALLS, RISES, STAYS, format_estimate, join_words


def describe_trends(
    records: Sequence[RelationRecord], domain_records: Sequence[RelationRecord], rows: Sequence[Row]
) -> Iterator[str]:
    """Yields sentences on one network as it changes.

    Args:
      records: Records of one packet in one domain.
      domain_records: Records of that packet in every window, or on the box.
      rows: Those of the accuracies.
    """
    yield _describe_epochs(records, rows)
    yield _describe_temperatures(records)
    yield _describe_widths(domain_records)


def _describe_epochs(records: Sequence[RelationRecord], rows: Sequence[Row]) -> str:
    snapshots = networks.select_snapshots(records)
    if not snapshots or snapshots[0]["epochs"] == snapshots[-1]["epochs"]:
        return ""
    first, last = snapshots[0]["epochs"], snapshots[-1]["epochs"]
    early = [record for record in snapshots if record["epochs"] == first]
    late = [record for record in snapshots if record["epochs"] == last]
    record_pairs = pairs.match_records(early, late)
    if not record_pairs:
        return ""
    accuracy_text = _describe_accuracies(early[0], late[0], rows)
    prefix = f"{accuracy_text}; " if accuracy_text else ""
    return f"From {first} to {last} epochs {prefix}{pairs.describe_changes(record_pairs)}."


def _describe_accuracies(early: RelationRecord, late: RelationRecord, rows: Sequence[Row]) -> str:
    before, after = (networks.find_accuracy_rows(rows, record) for record in (early, late))
    phrases = []
    for measure, name in (("test_accuracy", "TA"), ("robust_accuracy", "RA")):
        if measure not in before or measure not in after:
            continue
        before_row, after_row = before[measure], after[measure]
        change = numbers.classify_change(
            numbers.row_to_estimate(before_row), numbers.row_to_estimate(after_row)
        )
        text = f"goes from {before_row.value:.1f} to {after_row.value:.1f} %"
        if change in (RISES, FALLS):
            text = text.replace("goes", change)
        elif change == STAYS:
            text += " (within its error)"
        phrases.append(f"{name}{networks.format_attack(after_row)} {text}")
    return join_words(phrases)


def match_temperatures(records: Sequence[RelationRecord]) -> list[pairs.RecordPair]:
    """Returns the newest network at its lowest and highest temperature."""
    final_record = networks.select_final_records(records)[0]
    network_records = [record for record in records if record["control"] == final_record["control"]]
    network_records = [
        record for record in network_records if record["epochs"] == final_record["epochs"]
    ]
    temperatures = sorted({record["temperature"] for record in network_records})
    if len(temperatures) < 2:
        return []
    cold = [record for record in network_records if record["temperature"] == temperatures[0]]
    hot = [record for record in network_records if record["temperature"] == temperatures[-1]]
    return pairs.match_records(cold, hot)


def _describe_temperatures(records: Sequence[RelationRecord]) -> str:
    record_pairs = match_temperatures(records)
    if not record_pairs:
        return ""
    lowest, highest = (record["temperature"] for record in record_pairs[0])
    text = (
        "Dividing the logits by T leaves TA and exact RA as they are; from "
        f"T = {lowest:g} to {highest:g} {pairs.describe_changes(record_pairs)}"
    )
    changed = pairs.find_changed(record_pairs)
    if changed:
        text += f": {join_words(changed)} {'are' if len(changed) > 1 else 'is'} no "
        text += "function of TA and RA"
    return f"{text}."


def _describe_widths(records: Sequence[RelationRecord]) -> str:
    window_records = [
        record for record in networks.select_final_records(records) if record.domain == "window"
    ]
    widths = sorted({record.width for record in window_records})
    if len(widths) < 2:
        return ""
    narrow = [record for record in window_records if record.width == widths[0]]
    wide = [record for record in window_records if record.width == widths[-1]]
    record_pairs = pairs.match_records(narrow, wide)
    if not record_pairs:
        return ""
    text = f"From s = {widths[0]:g} to {widths[-1]:g}"
    changes = set(pairs.classify_changes(record_pairs, "excess"))
    if changes & {RISES, FALLS}:
        pair_changes = pairs.classify_changes(record_pairs, "excess")
        index = next(i for i, change in enumerate(pair_changes) if change != STAYS)
        narrow_text, wide_text = (
            format_estimate(record.mean("excess")) for record in record_pairs[index]
        )
        return (
            f"{text} the excess goes from {narrow_text} to {wide_text}: IT DEPENDS ON THE WINDOW."
        )
    if changes == {None}:
        return f"{text} the excess COULD NOT BE COMPARED."
    return f"{text} no change of the excess is resolved."
