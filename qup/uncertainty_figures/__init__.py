"""Figures of a measured uncertainty relation.

```python
found = [uncertainty.records.load(path) for path in paths]
for name, figure in uncertainty_figures.draw(found, rows).items():
    figure.savefig(f"{name}.png", dpi=100)
```
"""

from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from qup import uncertainty_measured as measuring
from qup import uncertainty_networks as networks
from qup.measurements import Row
from qup.uncertainty_figures import agreement, dots, maps, samples, trends
from qup.uncertainty_measured import Measured


def draw(records: Iterable[tuple], rows: Sequence[Row]) -> dict[str, Figure]:
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
    found = measuring.measured(records, rows)
    figures: dict[str, Figure | None] = {}
    settings = networks.settings(found)
    for key, group in settings.items():
        tail = _tail(key, settings)
        figures |= {f"{name}{tail}": drawn for name, drawn in _one(group, rows)}
    kinds = _kinds(found)
    for key, group in kinds.items():
        figures[f"checks{_tail(key, kinds)}"] = agreement.draw(group)
    return {name: drawn for name, drawn in figures.items() if drawn}


def _one(group: Sequence[Measured], rows: Sequence[Row]):
    """Yields name and figure of one packet in one domain."""
    yield "maps", maps.draw(group)
    yield "directions", dots.directions(group)
    yield "product-by-epoch", trends.by_epoch(group, rows)
    yield "product-histogram", samples.histogram(group)
    yield "temperature", trends.temperature(group, rows)
    yield "controls", dots.controls(group, rows)
    yield "traces", samples.traces(group)


def _kinds(found: Sequence[Measured]) -> dict[tuple, list[Measured]]:
    kinds: dict[tuple, list[Measured]] = {}
    for of in found:
        kinds.setdefault((of["packet"], of.domain), []).append(of)
    return kinds


def _tail(key: tuple[str, ...], keys: Iterable[tuple[str, ...]]) -> str:
    """Returns what tells a key from the others, for a file's name."""
    columns = zip(key, zip(*keys, strict=True), strict=True)
    parts = [own for own, every in columns if len(set(every)) > 1]
    return "".join(f"-{part}" for part in parts).replace(":", "-")
