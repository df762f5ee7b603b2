"""Figures of a measured uncertainty relation.

```python
records = [uncertainty.records.load(path) for path in paths]
for name, figure in plot_relations(records, rows).items():
    figure.savefig(f"{name}.png", dpi=100)
```
"""

from collections.abc import Iterable, Sequence

from qup.core import extras
from qup.core.measurements import Row
from qup.uncertainty.records import RelationRecord, build_records, group_by_setting

with extras.explain_missing("qup.uncertainty.figures"):
    from matplotlib.figure import Figure

    from qup.uncertainty.figures import comparisons, maps, trends


def plot_relations(records: Iterable[tuple], rows: Sequence[Row]) -> dict[str, Figure]:
    """Plots every figure that the records allow.

    Args:
      records: Pairs of `records.load`.
      rows: Measurements; accuracies of the networks are plotted.

    Returns:
      Name -> figure: "maps", "directions", "product-by-epoch", "product-histogram",
      "temperature", "controls", "checks" and "traces". With several packets or domains they are
      part of the names: "maps-loss-window-0.1".
    """
    relation_records = build_records(records, rows)
    figures: dict[str, Figure | None] = {}
    settings = group_by_setting(relation_records)
    for key, group in settings.items():
        suffix = _build_suffix(key, settings)
        figures |= {f"{name}{suffix}": figure for name, figure in _plot_group(group, rows)}
    domain_groups: dict[tuple, list[RelationRecord]] = {}
    for record in relation_records:
        domain_groups.setdefault((record["packet"], record.domain), []).append(record)
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


def _build_suffix(key: tuple[str, ...], keys: Iterable[tuple[str, ...]]) -> str:
    """Returns the parts of a key that differ between the keys, for a file name."""
    columns = zip(key, zip(*keys, strict=True), strict=True)
    parts = [part for part, column in columns if len(set(column)) > 1]
    return "".join(f"-{part}" for part in parts).replace(":", "-")
