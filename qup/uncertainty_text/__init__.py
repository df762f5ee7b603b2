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


def format_summary(records: Iterable[tuple], rows: Sequence[Row]) -> str:
    """Returns a paragraph for each packet and domain, Markdown.

    Args:
      records: Pairs (arrays, told), as `uncertainty.records.load` returns
        each.
      rows: Measurements: the networks' accuracies, and the means of
        `uncertainty_rows.of_relation`.

    Raises:
      InputError: There is no record.
    """
    relation_records = measuring.build_records(records, rows)
    paragraphs = []
    for (packet, _), group in networks.group_by_setting(relation_records).items():
        key = packet, group[0].domain
        domain_records = [
            record for record in relation_records if (record["packet"], record.domain) == key
        ]
        sentences = [
            *findings.describe_network(group),
            *verdicts.describe_checks(domain_records),
            *trends.describe_trends(group, domain_records, rows),
            *controls.describe_controls(group, rows),
        ]
        paragraphs.append(" ".join(sentence for sentence in sentences if sentence))
    return "\n\n".join(paragraphs)
