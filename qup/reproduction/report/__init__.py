"""The report of a reproduction: made from rows and arrays alone.

```python
material = Material.read(pathlib.Path("runs/reproduction"))
document = compose(material)
```
"""
