"""Figures of a measured uncertainty relation.

```python
found = [uncertainty.records.load(path) for path in paths]
for name, figure in uncertainty_figures.draw(found, rows).items():
    figure.savefig(f"{name}.png", dpi=100)
```
"""

from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from qup.core.measurements import Row
from qup.uncertainty.figures import comparisons, maps, trends
from qup.uncertainty.records import RelationRecord, build_records, group_by_setting


def plot_relations(records: Iterable[tuple], rows: Sequence[Row]) -> dict[str, Figure]:
    """Draws whatever the records allow.

    Args:
      records: Pairs (arrays, told), as `uncertainty.records.load` returns
        each.
      rows: Measurements; those of the networks' accuracies are shown.

    Returns:
      Name to figure: "maps", "directions", "product-by-epoch",
      "product-histogram", "temperature", "controls", "checks" and "traces".
      Where there are several packets or domains a name goes on with theirs:
      "maps-loss-window-0.1".
    """
    relation_records = build_records(records, rows)
    figures: dict[str, Figure | None] = {}
    settings = group_by_setting(relation_records)
    for key, group in settings.items():
        suffix = _build_suffix(key, settings)
        figures |= {f"{name}{suffix}": figure for name, figure in _plot_group(group, rows)}
    domain_groups = _group_by_domain(relation_records)
    for key, group in domain_groups.items():
        figures[f"checks{_build_suffix(key, domain_groups)}"] = comparisons.plot_checks(group)
    return {name: figure for name, figure in figures.items() if figure}


def _plot_group(group: Sequence[RelationRecord], rows: Sequence[Row]):
    """Yields name and figure of one packet in one domain."""
    yield "maps", maps.plot_maps(group)
    yield "directions", trends.plot_directions(group)
    yield "product-by-epoch", trends.plot_by_epoch(group, rows)
    yield "product-histogram", maps.plot_histogram(group)
    yield "temperature", trends.plot_by_temperature(group, rows)
    yield "controls", trends.plot_controls(group, rows)
    yield "traces", maps.plot_traces(group)


def _group_by_domain(records: Sequence[RelationRecord]) -> dict[tuple, list[RelationRecord]]:
    groups: dict[tuple, list[RelationRecord]] = {}
    for record in records:
        groups.setdefault((record["packet"], record.domain), []).append(record)
    return groups


def _build_suffix(key: tuple[str, ...], keys: Iterable[tuple[str, ...]]) -> str:
    """Returns what tells a key from the others, for a file's name."""
    columns = zip(key, zip(*keys, strict=True), strict=True)
    parts = [part for part, column in columns if len(set(column)) > 1]
    return "".join(f"-{part}" for part in parts).replace(":", "-")
