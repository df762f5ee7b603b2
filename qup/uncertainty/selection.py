"""Which network of a run a record is of, and which are shown.

```python
for (packet, domain), group in settings(found).items():
    chosen = main(group)
```
"""

from collections.abc import Iterable, Sequence

from qup.core.measurements import Row
from qup.uncertainty.records import RelationRecord

_DOMAIN_FORMATS = {
    "box": "the box of images",
    "window": "Gaussian window of width s = {}",
    "sine": "the sine window",
}
_ESTIMATOR_NAMES = {"importance": "importance sampling", "mcmc": "MCMC"}


def select_final_records(records: Sequence[RelationRecord]) -> list[RelationRecord]:
    """Returns those of the network itself with the most epochs, at T = 1."""
    candidates = [record for record in records if not record["control"]] or list(records)
    candidates = [record for record in candidates if record["temperature"] == 1] or candidates
    max_epochs = max((record["epochs"] for record in candidates), default=0)
    return [record for record in candidates if record["epochs"] == max_epochs]


def select_snapshots(records: Sequence[RelationRecord]) -> list[RelationRecord]:
    """Returns those of the network itself at T = 1, by epochs."""
    candidates = [
        record for record in records if not record["control"] and record["temperature"] == 1
    ]
    return sorted(candidates, key=lambda record: record["epochs"])


def group_by_setting(records: Sequence[RelationRecord]) -> dict[tuple, list[RelationRecord]]:
    """Groups by packet and domain, such as ("loss", "window:0.1").

    Of domains of one kind only those with the most records: further widths
    serve comparison alone.
    """
    groups: dict[tuple, list[RelationRecord]] = {}
    for record in records:
        key = (record["packet"], record["domain_text"])
        groups.setdefault(key, []).append(record)
    largest: dict[tuple, int] = {}
    for key, group in groups.items():
        kind = (key[0], group[0].domain)
        largest[kind] = max(largest.get(kind, 0), len(group))
    return {
        key: group
        for key, group in groups.items()
        if len(group) == largest[key[0], group[0].domain]
    }


def select_most_exact(records: Sequence[RelationRecord]) -> list[RelationRecord]:
    """Returns, for each label, the relation with the least error."""
    most_exact: dict[tuple, RelationRecord] = {}
    for record in records:
        key = (record["label"], str(record["centre"]))
        previous = most_exact.setdefault(key, record)
        if not _product_error(previous) <= _product_error(record):
            most_exact[key] = record
    return list(most_exact.values())


def _product_error(record: RelationRecord) -> float:
    return record.mean("uncertainty_product").stderr


def find_accuracy_row(
    rows: Iterable[Row], record: RelationRecord, measure: str = "test_accuracy"
) -> Row | None:
    """Returns the row of a network's accuracy; None where there is none.

    Args:
      rows: Their parameters tell "control", where they are of one; a TA
        without "temperature" holds at every one, an RA at 1.
      record: The network.
      measure: "test_accuracy" or "robust_accuracy".
    """
    temperature = record["temperature"]
    # Decisions do not depend on temperature; what an attack finds may.
    default_temperature = temperature if measure == "test_accuracy" else 1
    matches = [
        row
        for row in rows
        if row.measure == measure
        and (row.model, row.epochs) == (record["model"], record["epochs"])
        and row.parameters.get("control", "") == record["control"]
        and row.parameters.get("temperature", default_temperature) == temperature
    ]
    return max(matches, key=lambda row: "temperature" in row.parameters, default=None)


def find_accuracy_rows(rows: Iterable[Row], record: RelationRecord) -> dict[str, Row]:
    """Returns TA and RA of a network by their measures, where known."""
    names = ("test_accuracy", "robust_accuracy")
    rows_by_measure = {name: find_accuracy_row(rows, record, name) for name in names}
    return {name: row for name, row in rows_by_measure.items() if row is not None}


def format_attack(row: Row) -> str:
    """Returns what a robust accuracy was measured with, in brackets."""
    if not row.attack:
        return ""
    budget = "" if row.epsilon is None else f", ε = {row.epsilon:.3g}"
    return f" ({row.attack}{budget})"


def format_network(record: RelationRecord) -> str:
    """Returns what tells a network from the others of its run."""
    text = record["control"].replace("_", " ")
    text = text or f"{record['epochs']} {pluralize(record['epochs'], 'epoch')}"
    if record["temperature"] != 1:
        text += f", T = {record['temperature']:g}"
    return text


def format_domain(records: Sequence[RelationRecord]) -> str:
    """Returns the domain in words, with every width of a window."""
    record = records[0]
    widths = {f"{record.width:g}": record.width for record in records}
    width_list = ", ".join(sorted(widths, key=widths.__getitem__))
    kind, _, number = str(record["centre"]).partition(":")
    centre_texts = {"mean": " around the class mean", "image": f" around test image {number}"}
    text = _DOMAIN_FORMATS.get(record.domain, record["domain_text"]).format(width_list)
    return text + (centre_texts.get(kind, "") if record.domain == "window" else "")


def pluralize(count: int, noun: str) -> str:
    """Returns the noun, with an s unless it is one."""
    return noun if count == 1 else f"{noun}s"


def format_labels(records: Sequence[RelationRecord]) -> str:
    """Returns "label 3", "labels 3, 8" or "labels 0 to 9"; "" for none."""
    values = sorted({record["label"] for record in records} - {None})
    label_list = ", ".join(map(str, values))
    if len(values) > 2 and values == list(range(values[0], values[-1] + 1)):
        label_list = f"{values[0]} to {values[-1]}"
    return f"{pluralize(len(values), 'label')} {label_list}" if values else ""


def format_estimator(name: str) -> str:
    """Returns an estimator in words."""
    return _ESTIMATOR_NAMES.get(name, name)
