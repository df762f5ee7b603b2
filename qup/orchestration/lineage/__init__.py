"""Lineage: which executions and artifacts a result comes from, as text and as a web page.

```python
metadata = graph.ReadOnlyMetadata(graph.find_database("runs/mnist"))
lineage = graph.trace_run(metadata, metadata.list_runs()[-1].id)
print(text.format_tree(lineage))
```
"""
