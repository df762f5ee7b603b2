"""All sections in their order.

```python
document = compose(Material.read(folder))
```
"""

from qup.report import sections
from qup.report.blocks import Document
from qup.report.material import ReportData


def build_document(data: ReportData) -> Document:
    """Returns the report."""
    title = (
        "Do accuracy and robustness exclude each other? The uncertainty "
        "principle of neural networks, measured"
    )
    all_sections = tuple(sections.get(name)(data) for name in sections.names())
    return Document(title, all_sections)
