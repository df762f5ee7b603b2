"""Attacks: one file each, `name(logits_fn, images, labels, *, ...)`.

```python
images = attacks.get("pgd")(classifier, images, labels, epsilon=0.1)
attack = attacks.bind("pgd", epsilon=0.1)  # for evaluation.attacked
```
"""

import inspect
from typing import Any

import tensorflow as tf

from qup import errors
from qup.registry import Registry
from qup.types import Attack, LogitsFn

_registry = Registry("qup.attacks", "attack")
register = _registry.register
names = _registry.names
get = _registry.get
traits = _registry.traits


def bind(name: str, **options: Any) -> Attack:
    """Fixes an attack's options, for those who run it over many batches.

    Args:
      name: A registered attack.
      **options: Its keyword arguments (epsilon, num_steps, seed, ...).

    Returns:
      attack(logits_fn, images, labels, *, ids) -> images, where ids int64
      [batch] reach the attack if it is random.

    Raises:
      InputError: Unknown attack or option.
    """
    function = get(name)
    known = list(inspect.signature(function).parameters)[3:]
    for option in options:
        if option not in known:
            raise errors.unknown(f"option of {name}", option, known)
    random = "ids" in known

    def attack(
        logits_fn: LogitsFn,
        images: tf.Tensor,
        labels: tf.Tensor,
        *,
        ids: tf.Tensor,
    ) -> tf.Tensor:
        drawn = {"ids": ids} if random else {}
        return function(logits_fn, images, labels, **options, **drawn)

    # What it is, for those who keep what it made.
    attack.__name__ = f"{name}({sorted(options.items())})"
    return attack
