"""The attacks by name, and what is known of each.

A file of this package registers one family of attacks; nobody keeps a list.
"""

import inspect
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from qup.attacks import functional
from qup.attacks.method import Method
from qup.core import errors
from qup.core.registry import Registry
from qup.core.types import Attack, LogitsFn

_registry = Registry("qup.attacks", "attack")
names = _registry.names
get = _registry.get
traits = _registry.traits


def register(name: str, **traits: Any) -> Callable:
    """Registers a `base.Method`, or an attack that is a plain function.

    Args:
      name: The attack's name.
      **traits: What is known of it: `kind` ("budget", held inside epsilon,
        or "minimum_norm", as near as it can), `norms` (what it measures
        by), `gradients` (whether it needs them), `classes` (the fewest it
        can attack, 2 unless said).

    Returns:
      A decorator that returns what it decorates.
    """

    def decorate(attack):
        method = attack if isinstance(attack, type) else None
        function = attack
        if method:
            method.name, method.traits = name, traits
            function = functional.build_function(method)
        options = inspect.signature(function).parameters
        _registry.register(function, method=method, targeted="targeted" in options, **traits)
        return attack

    return decorate


def build_method(name: str, **options: Any) -> Method:
    """Returns an attack of init, step and done, its options checked.

    Raises:
      InputError: Unknown attack or option, or an option out of its range.
    """
    method_class = traits(name)["method"]
    if method_class is None:
        raise errors.InputError(f"{name} is a plain function without init, step and done.")
    return functional.create_method(method_class, options)


def conjugate(
    name: str, logits_fn: LogitsFn, images, labels, *, ids=None, **options: Any
) -> tf.Tensor:
    """Returns the field by which an attack's last step moves.

    The "possible effective conjugates" of the paper's Table 4.

    Args:
      name: An attack for which one is known.
      logits_fn: The classifier.
      images: float [batch, ...] inside the bounds.
      labels: int [batch], true classes or targets.
      ids: int64 [batch], or None for 0, 1, 2, ...
      **options: The attack's own.

    Returns:
      float32 [batch, ...]; where no step was taken, as from an image that
      is misclassified already, the field at the image.

    Raises:
      InputError: None is known, or an argument cannot be used.
    """
    return functional.compute_conjugate(
        build_method(name, **options), logits_fn, images, labels, ids
    )


def bind(name: str, **options: Any) -> Attack:
    """Fixes an attack's options, for those who run it over many batches.

    Args:
      name: A registered attack.
      **options: Its keyword arguments (epsilon, num_steps, seed, ...).

    Returns:
      attack(logits_fn, images, labels, *, ids) -> images, where ids int64
      [batch] reach the attack.

    Raises:
      InputError: Unknown attack or option.
    """
    function = get(name)
    known_options = list(inspect.signature(function).parameters)[3:]
    for option in options:
        if option not in known_options:
            raise errors.make_unknown_error(f"option of {name}", option, known_options)

    def attack(
        logits_fn: LogitsFn, images: tf.Tensor, labels: tf.Tensor, *, ids: tf.Tensor
    ) -> tf.Tensor:
        return function(logits_fn, images, labels, ids=ids, **options)

    # What it is, for those who keep what it made.
    attack.__name__ = f"{name}({sorted(options.items())})"
    return attack
