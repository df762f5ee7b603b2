"""An attack on one batch of tensors: to its end, or to its last field."""

import numpy as np
import tensorflow as tf

from qup.attacks.base import checks, integers, parts
from qup.attacks.base import program as programs
from qup.attacks.base.engine import Given
from qup.attacks.base.method import Examples, Method
from qup.attacks.base.program import Program
from qup.types import LogitsFn


def one_batch(
    method: Method,
    logits_fn: LogitsFn,
    images: tf.Tensor,
    labels: tf.Tensor,
    ids: tf.Tensor | None,
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
    program, scalars, part, examples = _prepared(
        method, logits_fn, images, labels, ids
    )
    if not len(examples.labels):
        return examples.images
    if len(method.parts()) > 1:
        given = Given(*(column.numpy() for column in examples[:4]))
        both = parts.Classifiers(logits_fn, logits_fn)
        found = parts.attack(method, both, given, batch_size=len(given.labels))
        return tf.constant(found.images)
    return to_the_end(program, scalars, examples, part.length())


def conjugate(
    method: Method,
    logits_fn: LogitsFn,
    images: tf.Tensor,
    labels: tf.Tensor,
    ids: tf.Tensor | None,
) -> tf.Tensor:
    """Returns the field of each row's last step, see `one_batch`.

    Raises:
      InputError: None is known, or an argument cannot be used.
    """
    program, scalars, _, examples = _prepared(
        method, logits_fn, images, labels, ids
    )
    if not len(examples.labels):
        return examples.images
    return last_field(program, scalars, examples)


def _prepared(method: Method, logits_fn, images, labels, ids):
    """Returns the first part's program and scalars, itself, the batch."""
    images, labels = checks.check_batch(images, labels, method.bounds)
    count = images.shape[0]
    ids = integers.checked_ids(ids, count)
    epsilon = np.nan if method.budget is None else method.budget
    examples = Examples(
        images,
        labels,
        tf.constant(ids),
        tf.fill([count], tf.cast(epsilon, tf.float32)),
        tf.constant(0),
    )
    part = method.parts()[0]
    if not count:
        return None, {}, part, examples
    answers = checks.answers(logits_fn, images)
    checks.check_labels(labels.numpy(), answers.num_classes)
    program, scalars = programs.compiled(logits_fn, part, answers)
    return program, scalars, part, examples


def to_the_end(
    program: Program, scalars: dict, examples: Examples, length: int | None
) -> tf.Tensor:
    """Attacks one batch to its end.

    Args:
      program: The compiled attack.
      scalars: Its scalar options.
      examples: The batch.
      length: Number of steps where all rows take the same, else None.

    Returns:
      float32 [batch, ...].
    """
    state, done = program.init(examples, scalars)
    if length is not None:
        state = program.advanced(examples, state, scalars, length)
    else:
        while not done.numpy().all():
            state, done = program.settle(examples, state, done, scalars)
    return program.images(examples, state, scalars)


def last_field(
    program: Program, scalars: dict, examples: Examples
) -> tf.Tensor:
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
    before = state
    while not done.numpy().all():
        before = programs.merged(done, before, state)
        state, done = program.settle(examples, state, done, scalars)
    return program.conjugate(examples, before, scalars)
