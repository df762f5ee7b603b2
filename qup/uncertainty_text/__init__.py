"""What a measured uncertainty relation says, and does not say, in words.

```python
found = [uncertainty.records.load(path) for path in paths]
print(uncertainty_text.paragraph(found, rows))
```

Every sentence is chosen by the numbers: a difference is named beyond three
standard errors only, a check that failed stands in capitals.
"""

from collections.abc import Iterable, Sequence

from qup import uncertainty_measured as measuring
from qup import uncertainty_networks as networks
from qup.measurements import Row
from qup.uncertainty_text import controls, findings, trends, verdicts


def paragraph(records: Iterable[tuple], rows: Sequence[Row]) -> str:
    """Returns a paragraph for each packet and domain, Markdown.

    Args:
      records: Pairs (arrays, told), as `uncertainty.records.load` returns
        each.
      rows: Measurements: the networks' accuracies, and the means of
        `uncertainty_rows.of_relation`.

    Raises:
      InputError: There is no record.
    """
    found = measuring.measured(records, rows)
    parts = []
    for (packet, _), group in networks.settings(found).items():
        key = packet, group[0].domain
        kind = [of for of in found if (of["packet"], of.domain) == key]
        sentences = [
            *findings.sentences(group),
            *verdicts.sentences(kind),
            *trends.sentences(group, kind, rows),
            *controls.sentences(group, rows),
        ]
        parts.append(" ".join(part for part in sentences if part))
    return "\n\n".join(parts)
