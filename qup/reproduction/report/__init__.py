"""The report of a reproduction, from its measurements and arrays alone.

```python
data = ReportData.read(pathlib.Path("runs/reproduction"))
render.write_report(data, pathlib.Path("runs/reproduction/report"))
```
"""
