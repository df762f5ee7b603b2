"""All sections in their order.

```python
document = compose(Material.read(folder))
```
"""

from qup.report import sections
from qup.report.blocks import Document
from qup.report.material import Material


def compose(material: Material) -> Document:
    """Returns the report."""
    title = (
        "Do accuracy and robustness exclude each other? The uncertainty "
        "principle of neural networks, measured"
    )
    found = tuple(sections.get(name)(material) for name in sections.names())
    return Document(title, found)
