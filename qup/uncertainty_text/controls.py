"""What the controls say, and hence what may not be concluded."""

import itertools
from collections.abc import Iterator, Sequence

from qup import uncertainty_networks as networks
from qup.measurements import Row
from qup.uncertainty_measured import RelationRecord
from qup.uncertainty_text import numbers, pairs, trends
from qup.uncertainty_text.numbers import FALLS, RISES, join_words


def describe_controls(group: Sequence[RelationRecord], rows: Sequence[Row]) -> Iterator[str]:
    """Yields sentences on the controls, and the conclusion.

    Args:
      group: Records of one packet in one domain.
      rows: Those of the accuracies.
    """
    network_records = networks.select_final_records(group)
    if network_records[0]["control"]:
        yield ("ONLY CONTROLS WERE MEASURED: this says nothing of a trained network.")
        return
    pairs_by_control = _match_controls(group, network_records)
    yield from _describe_differences(pairs_by_control, rows)
    yield from _describe_conclusion(group, pairs_by_control, rows)


def _match_controls(
    group: Sequence[RelationRecord], network_records: Sequence[RelationRecord]
) -> dict[str, list[pairs.RecordPair]]:
    """Returns (control, network) of every label, by the control's name."""
    others = [record for record in group if record["control"]]
    pairs_by_control = {}
    for name in dict.fromkeys(networks.format_network(record) for record in others):
        control_records = [record for record in others if networks.format_network(record) == name]
        pairs_by_control[name] = pairs.match_records(control_records, network_records)
    return {name: record_pairs for name, record_pairs in pairs_by_control.items() if record_pairs}


def _describe_differences(
    pairs_by_control: dict[str, list[pairs.RecordPair]], rows: Sequence[Row]
) -> Iterator[str]:
    """Yields a sentence for each way in which controls differ."""
    names_by_change: dict[str, list[str]] = {}
    for name, record_pairs in pairs_by_control.items():
        row = networks.find_accuracy_row(rows, record_pairs[0][0])
        description = f"{name} (TA {row.value:.1f} %)" if row else name
        names_by_change.setdefault(join_words(pairs.find_changed(record_pairs)), []).append(
            description
        )
    for change, names in names_by_change.items():
        others = f"{networks.pluralize(len(names), 'the control')} {join_words(names)}"
        if change:
            yield (f"Beyond three standard errors it differs in {change} from {others}.")
        else:
            yield f"No difference from {others} is resolved."


def _describe_conclusion(
    group: Sequence[RelationRecord],
    pairs_by_control: dict[str, list[pairs.RecordPair]],
    rows: Sequence[Row],
) -> Iterator[str]:
    temperature_pairs = trends.match_temperatures(group)
    changed = pairs.find_changed(temperature_pairs) if temperature_pairs else []
    mixed_text = _describe_mixed(group, rows)
    if mixed_text:
        yield mixed_text
    if not pairs_by_control and not temperature_pairs:
        yield (
            "NO CONTROL WAS MEASURED: nothing may be said of what training or "
            "accuracy have to do with these numbers."
        )
    elif not (changed or mixed_text):
        yield ("Nothing here excludes a link with accuracy, and nothing proves it.")
    yield "One architecture and one seed make no law."


def _classify_accuracy(
    first: RelationRecord, second: RelationRecord, rows: Sequence[Row]
) -> str | None:
    """Returns how TA changes from one network to another."""
    accuracy_rows = [networks.find_accuracy_row(rows, record) for record in (first, second)]
    if None in accuracy_rows:
        return None
    return numbers.classify_change(*(numbers.row_to_estimate(row) for row in accuracy_rows))


def _describe_mixed(group: Sequence[RelationRecord], rows: Sequence[Row]) -> str:
    """Says whether a number rises with TA here and against it there."""
    plain_records = [record for record in group if record["temperature"] == 1]
    measure, name = next(iter(pairs.choose_compared(group).items()))
    names_by_change: dict[str, str] = {}
    for first, second in itertools.permutations(plain_records, 2):
        same_label = first["label"] == second["label"]
        if not (same_label and first["estimator"] == second["estimator"]):
            continue
        change = _classify_accuracy(first, second, rows)
        if pairs.classify_changes([(first, second)], measure) == [RISES]:
            names = f"from {networks.format_network(first)} to {networks.format_network(second)}"
            names_by_change.setdefault(str(change), names)
    if not {RISES, FALLS} <= set(names_by_change):
        return ""
    return (
        f"{name.capitalize()} does not follow TA: both rise {names_by_change[RISES]}, "
        f"but {name} rises and TA falls {names_by_change[FALLS]}."
    )
