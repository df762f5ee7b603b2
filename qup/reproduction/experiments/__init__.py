"""The experiments: functions that add nodes to an `ExperimentBuilder`.

An experiment adds all nodes of one seed before those of the next, so that an interrupted run leaves
a whole report of fewer seeds.

```python
for name in names():
    nodes = builder.build(get(name), seeds=(0, 1))
```
"""

from qup.core.registry import Registry

_registry = Registry("qup.reproduction.experiments", "experiment")
register = _registry.register
get = _registry.get
traits = _registry.traits


def names() -> tuple[str, ...]:
    """Returns all experiments in the order in which they run."""
    return tuple(sorted(_registry.names(), key=lambda n: traits(n)["order"]))
