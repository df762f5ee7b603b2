"""The experiments: one file each, from a laboratory to nodes.

An experiment is a function that asks the laboratory for networks and looks,
one seed after the other, so that what is broken off is a whole report of
fewer seeds.

```python
for name in names():
    get(name)(lab, seeds=(0, 1))
```
"""

from qup.core.registry import Registry
from qup.reproduction import builder

_registry = Registry("qup.reproduction.experiments", "experiment")
register = _registry.register
get = _registry.get
traits = _registry.traits


def names() -> tuple[str, ...]:
    """Returns all experiments in the order in which they run."""
    return tuple(sorted(_registry.names(), key=lambda n: traits(n)["order"]))


ExperimentBuilder = builder.ExperimentBuilder
