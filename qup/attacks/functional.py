"""An attack as a function: `name(logits_fn, images, labels, *, ...)`."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from qup.attacks import engine, inputs, stages
from qup.attacks import method as attacks_method
from qup.attacks.engine import Program
from qup.attacks.inputs import ExampleBatch
from qup.attacks.method import Examples, Method
from qup.core import errors
from qup.core.types import LogitsFn

# An attack on one batch of tensors: to its end, or to its last field.


def run_one_batch(
    method: Method, logits_fn: LogitsFn, images: tf.Tensor, labels: tf.Tensor, ids: tf.Tensor | None
) -> tf.Tensor:
    """Attacks one batch: the attack as a function of tensors.

    Args:
      method: The attack, checked.
      logits_fn: The classifier.
      images: float [batch, ...] inside the bounds.
      labels: int [batch], true classes or targets.
      ids: int64 [batch]; None means 0, 1, 2, ...

    Returns:
      float32 [batch, ...]: where the attack ended. One of several parts
      gives the clean image where no part succeeded.

    Raises:
      InputError: An argument that cannot be used.
    """
    program, scalars, stage, examples = _prepare_batch(method, logits_fn, images, labels, ids)
    if not len(examples.labels):
        return examples.images
    if len(method.stages()) > 1:
        batch = ExampleBatch(*(column.numpy() for column in examples[:4]))
        classifiers = stages.ClassifierPair(logits_fn, logits_fn)
        result = stages.run_stages(method, classifiers, batch, batch_size=len(batch.labels))
        return tf.constant(result.images)
    return run_to_end(program, scalars, examples, stage.count_fixed_steps())


def compute_conjugate(
    method: Method, logits_fn: LogitsFn, images: tf.Tensor, labels: tf.Tensor, ids: tf.Tensor | None
) -> tf.Tensor:
    """Returns the field of each row's last step, see `run_one_batch`.

    Raises:
      InputError: None is known, or an argument cannot be used.
    """
    program, scalars, _, examples = _prepare_batch(method, logits_fn, images, labels, ids)
    if not len(examples.labels):
        return examples.images
    return compute_last_conjugate(program, scalars, examples)


def _prepare_batch(method: Method, logits_fn, images, labels, ids):
    """Returns the first part's program and scalars, itself, the batch."""
    images, labels = inputs.check_batch(images, labels, method.bounds)
    count = images.shape[0]
    ids = inputs.validate_ids(ids, count)
    epsilon = np.nan if method.budget is None else method.budget
    examples = Examples(
        images,
        labels,
        tf.constant(ids),
        tf.fill([count], tf.cast(epsilon, tf.float32)),
        tf.constant(0),
    )
    stage = method.stages()[0]
    if not count:
        return None, {}, stage, examples
    classifier_info = inputs.inspect_classifier(logits_fn, images)
    inputs.check_label_range(labels.numpy(), classifier_info.num_classes)
    program, scalars = engine.compile_attack(logits_fn, stage, classifier_info)
    return program, scalars, stage, examples


def run_to_end(
    program: Program, scalars: dict, examples: Examples, num_steps: int | None
) -> tf.Tensor:
    """Attacks one batch to its end.

    Args:
      program: The compiled attack.
      scalars: Its scalar options.
      examples: The batch.
      num_steps: Number of steps where all rows take the same, else None.

    Returns:
      float32 [batch, ...].
    """
    state, done = program.init(examples, scalars)
    if num_steps is not None:
        state = program.run_steps(examples, state, scalars, num_steps)
    else:
        while not done.numpy().all():
            state, done = program.masked_step(examples, state, done, scalars)
    return program.images(examples, state, scalars)


def compute_last_conjugate(program: Program, scalars: dict, examples: Examples) -> tf.Tensor:
    """Attacks one batch to its end; returns each row's last field.

    Args:
      program: The compiled attack.
      scalars: Its scalar options.
      examples: The batch.

    Returns:
      float32 [batch, ...], the conjugate at the state before the row's last
      step.
    """
    state, done = program.init(examples, scalars)
    last_state = state
    while not done.numpy().all():
        last_state = engine.select_rows(done, last_state, state)
        state, done = program.masked_step(examples, state, done, scalars)
    return program.conjugate(examples, last_state, scalars)


_POSITIONAL = ("logits_fn", "images", "labels")


def create_method(method_class: type[Method], options: dict[str, Any]) -> Method:
    """Returns a method with options, checked.

    Raises:
      InputError: An option that is unknown, missing or out of its range.
    """
    fields = {field.name: field for field in dataclasses.fields(method_class)}
    for option in options:
        if option not in fields:
            raise errors.make_unknown_error(f"option of {method_class.name}", option, fields)
    for name, field in fields.items():
        is_required = field.default is dataclasses.MISSING
        if is_required and name not in options:
            raise errors.InputError(
                f"{method_class.name} needs {name}=..., in the units of the pixels."
            )
    return attacks_method.validate_method(method_class(**options))


def build_function(method_class: type[Method]) -> Callable[..., tf.Tensor]:
    """Returns the attack as a function of one batch.

    It takes logits_fn, images and labels, and by keyword `ids` and the
    options; it returns float32 images.
    """

    def attack(logits_fn: LogitsFn, images, labels, *, ids=None, **options) -> tf.Tensor:
        if not tf.executing_eagerly():
            raise errors.InputError(
                f"{method_class.name} compiles its own steps: call it outside tf.function."
            )
        return run_one_batch(create_method(method_class, options), logits_fn, images, labels, ids)

    keyword_only = inspect.Parameter.KEYWORD_ONLY
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    options = [
        inspect.Parameter(
            field.name,
            keyword_only,
            default=inspect.Parameter.empty
            if field.default is dataclasses.MISSING
            else field.default,
            annotation=field.type,
        )
        for field in dataclasses.fields(method_class)
    ]
    ids = inspect.Parameter("ids", keyword_only, default=None)
    attack.__signature__ = inspect.Signature(
        [inspect.Parameter(name, positional) for name in _POSITIONAL] + [*options, ids]
    )
    attack.__name__ = attack.__qualname__ = method_class.name
    attack.__module__ = method_class.__module__
    attack.__doc__ = method_class.__doc__
    return attack
