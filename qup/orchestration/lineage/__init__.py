"""Lineage for people: what came from what, as text and as a page.

```python
records = roots.Records(roots.find("runs/mnist"))
found = ancestry.of_run(records, records.runs()[-1].id)
print(outline.tree(found))
```
"""
