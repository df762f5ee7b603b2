"""The sections: one file a part of the paper, from material to blocks.

A section says what was not run as plainly as what was.
"""

from qup.core.registry import Registry

_registry = Registry("qup.reproduction.report.sections", "section")
register = _registry.register
get = _registry.get
traits = _registry.traits


def names() -> tuple[str, ...]:
    """Returns all sections in the order in which they are read."""
    return tuple(sorted(_registry.names(), key=lambda n: traits(n)["order"]))
