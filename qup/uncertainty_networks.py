"""Which network of a run a record is of, and which are shown.

```python
for (packet, domain), group in settings(found).items():
    chosen = main(group)
```
"""

from collections.abc import Iterable, Sequence

from qup.measurements import Row
from qup.uncertainty_measured import Measured

_DOMAINS = {
    "box": "the box of images",
    "window": "Gaussian window of width s = {}",
    "sine": "the sine window",
}
_ESTIMATORS = {"importance": "importance sampling", "mcmc": "MCMC"}


def main(found: Sequence[Measured]) -> list[Measured]:
    """Returns those of the network itself with the most epochs, at T = 1."""
    own = [each for each in found if not each["control"]] or list(found)
    own = [each for each in own if each["temperature"] == 1] or own
    most = max((each["epochs"] for each in own), default=0)
    return [each for each in own if each["epochs"] == most]


def snapshots(found: Sequence[Measured]) -> list[Measured]:
    """Returns those of the network itself at T = 1, by epochs."""
    own = [e for e in found if not e["control"] and e["temperature"] == 1]
    return sorted(own, key=lambda each: each["epochs"])


def settings(found: Sequence[Measured]) -> dict[tuple, list[Measured]]:
    """Groups by packet and domain, such as ("loss", "window:0.1").

    Of domains of one kind only those with the most records: further widths
    serve comparison alone.
    """
    groups: dict[tuple, list[Measured]] = {}
    for each in found:
        key = (each["packet"], each["domain_text"])
        groups.setdefault(key, []).append(each)
    most: dict[tuple, int] = {}
    for key, group in groups.items():
        kind = (key[0], group[0].domain)
        most[kind] = max(most.get(kind, 0), len(group))
    return {
        key: group
        for key, group in groups.items()
        if len(group) == most[key[0], group[0].domain]
    }


def exact(found: Sequence[Measured]) -> list[Measured]:
    """Returns, for each label, the relation with the least error."""
    best: dict[tuple, Measured] = {}
    for each in found:
        key = (each["label"], str(each["centre"]))
        held = best.setdefault(key, each)
        if not _error(held) <= _error(each):
            best[key] = each
    return list(best.values())


def _error(of: Measured) -> float:
    return of.average("uncertainty_product").stderr


def accuracy(
    rows: Iterable[Row], of: Measured, measure: str = "test_accuracy"
) -> Row | None:
    """Returns the row of a network's accuracy; None where there is none.

    Args:
      rows: Their parameters tell "control", where they are of one; a TA
        without "temperature" holds at every one, an RA at 1.
      of: The network.
      measure: "test_accuracy" or "robust_accuracy".
    """
    heat = of["temperature"]
    # Decisions do not depend on temperature; what an attack finds may.
    plain = heat if measure == "test_accuracy" else 1
    found = [
        row
        for row in rows
        if row.measure == measure
        and (row.model, row.epochs) == (of["model"], of["epochs"])
        and row.parameters.get("control", "") == of["control"]
        and row.parameters.get("temperature", plain) == heat
    ]
    return max(found, key=lambda r: "temperature" in r.parameters, default=None)


def accuracies(rows: Iterable[Row], of: Measured) -> dict[str, Row]:
    """Returns TA and RA of a network by their measures, where known."""
    names = ("test_accuracy", "robust_accuracy")
    found = {name: accuracy(rows, of, name) for name in names}
    return {name: row for name, row in found.items() if row is not None}


def attack(row: Row) -> str:
    """Returns what a robust accuracy was measured with, in brackets."""
    if not row.attack:
        return ""
    budget = "" if row.epsilon is None else f", ε = {row.epsilon:.3g}"
    return f" ({row.attack}{budget})"


def network(of: Measured) -> str:
    """Returns what tells a network from the others of its run."""
    words = of["control"].replace("_", " ")
    words = words or f"{of['epochs']} {plural(of['epochs'], 'epoch')}"
    if of["temperature"] != 1:
        words += f", T = {of['temperature']:g}"
    return words


def domain(found: Sequence[Measured]) -> str:
    """Returns the domain in words, with every width of a window."""
    of = found[0]
    widths = {f"{each.width:g}": each.width for each in found}
    listed = ", ".join(sorted(widths, key=widths.__getitem__))
    kind, _, number = str(of["centre"]).partition(":")
    around = {
        "mean": " around the class mean",
        "image": f" around test image {number}",
    }
    words = _DOMAINS.get(of.domain, of["domain_text"]).format(listed)
    return words + (around.get(kind, "") if of.domain == "window" else "")


def plural(count: int, noun: str) -> str:
    """Returns the noun, with an s unless it is one."""
    return noun if count == 1 else f"{noun}s"


def labels(found: Sequence[Measured]) -> str:
    """Returns "label 3", "labels 3, 8" or "labels 0 to 9"; "" for none."""
    values = sorted({of["label"] for of in found} - {None})
    listed = ", ".join(map(str, values))
    if len(values) > 2 and values == list(range(values[0], values[-1] + 1)):
        listed = f"{values[0]} to {values[-1]}"
    return f"{plural(len(values), 'label')} {listed}" if values else ""


def estimator(name: str) -> str:
    """Returns an estimator in words."""
    return _ESTIMATORS.get(name, name)
