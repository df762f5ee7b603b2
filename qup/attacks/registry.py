"""The attacks by name, and each as a function of one batch.

Each file of this package registers one family of attacks.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from qup.attacks import engine, inputs, stages
from qup.attacks.batch_sizes import BatchSizes
from qup.attacks.inputs import ExampleBatch
from qup.attacks.method import Examples, Method, create_method
from qup.core import errors
from qup.core.classifier import inspect_classifier, wrap_classifier
from qup.core.registry import Registry
from qup.core.types import Attack, LogitsFn

_registry = Registry("qup.attacks", "attack")
names = _registry.names
get = _registry.get
traits = _registry.traits


def register(name: str, **traits: Any) -> Callable:
    """Registers a `Method`, or an attack that is a plain function.

    Args:
      name: The attack's name.
      **traits: `kind` ("budget": stays inside epsilon; "minimum_norm": the closest adversarial
        image), `norms` (of its distances), `gradients` (whether it needs them), `classes` (the
        fewest it can attack, 2 if missing).

    Returns:
      A decorator that returns its argument.
    """

    def decorate(attack):
        method_class = attack if isinstance(attack, type) else None
        function = attack
        if method_class:
            method_class.name, method_class.traits = name, traits
            function = _build_function(method_class)
        is_targeted = "targeted" in inspect.signature(function).parameters
        _registry.register(function, method=method_class, targeted=is_targeted, **traits)
        return attack

    return decorate


def get_norm(name: str, options: Mapping[str, Any] | None = None) -> str:
    """Returns the norm of an attack's budget, or of the distance that it minimises.

    Args:
      name: Registered name of the attack.
      options: Its options; without "norm" the attack's default counts.
    """
    norm = (options or {}).get("norm")
    if norm is not None:
        return norm
    parameter = inspect.signature(get(name)).parameters.get("norm")
    return traits(name)["norms"][0] if parameter is None else parameter.default


def build_method(name: str, **options: Any) -> Method:
    """Returns an attack with its options as a `Method`.

    Raises:
      InputError: Unknown attack or option, or an option out of its range.
    """
    method_class = traits(name)["method"]
    if method_class is None:
        raise errors.InputError(f"{name} is a plain function without init, step and done.")
    return create_method(method_class, options)


def bind(name: str, **options: Any) -> Attack:
    """Fixes an attack's options, to run it on many batches.

    Args:
      name: A registered attack.
      **options: Its keyword arguments (epsilon, num_steps, seed, ...).

    Returns:
      attack(logits_fn, images, labels, *, ids) -> images; ids are int64 [batch].

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

    # Callers record the name and options with the images.
    attack.__name__ = f"{name}({sorted(options.items())})"
    # Functions may have attributes, which annotations cannot say.
    described: Any = attack
    described.method_name, described.options = name, options
    return attack


def conjugate(
    name: str, logits_fn: LogitsFn, images, labels, *, ids=None, **options: Any
) -> tf.Tensor:
    """Returns the field by which the last step of an attack changes the image.

    These are the "possible effective conjugates" of the paper's Table 4.

    Args:
      name: An attack whose conjugate is known.
      logits_fn: The classifier.
      images: float [batch, ...] inside the bounds.
      labels: int [batch], true classes or targets.
      ids: int64 [batch], or None for 0, 1, 2, ...
      **options: The attack's options.

    Returns:
      float32 [batch, ...]. If the attack takes no step (the image is already misclassified), the
      field at the image.

    Raises:
      InputError: No conjugate is known, or an argument is invalid.
    """
    method = build_method(name, **options)
    examples = _build_examples(method, images, labels, ids)
    if not len(examples.labels):
        return examples.images
    program, scalars = _compile_stage(method.stages()[0], logits_fn, examples)
    return program.compute_last_conjugate(examples, scalars)


def _build_function(method_class: type[Method]) -> Callable[..., tf.Tensor]:
    """Returns the attack as a function: (logits_fn, images, labels, *, ids, **options) -> images.

    The images are float32 [batch, ...]. An attack of several stages returns the clean image if no
    stage succeeds.
    """

    def attack(logits_fn: LogitsFn, images, labels, *, ids=None, **options) -> tf.Tensor:
        if not tf.executing_eagerly():
            raise errors.InputError(
                f"{method_class.name} compiles its own steps: call it outside tf.function."
            )
        method = create_method(method_class, options)
        examples = _build_examples(method, images, labels, ids)
        if not len(examples.labels):
            return examples.images
        classifier_info = inspect_classifier(logits_fn, examples.images)
        method = method.for_classes(classifier_info.num_classes)
        stage, *more_stages = method.stages()
        program, scalars = _compile_stage(stage, logits_fn, examples)
        if more_stages:
            batch = ExampleBatch(*(column.numpy() for column in examples[:4]))
            classifiers = stages.ClassifierPair(logits_fn, logits_fn)
            result = stages.run_stages(
                method, classifiers, batch, sizes=BatchSizes(len(batch.labels))
            )
            return tf.constant(result.images)
        return program.run_to_end(examples, scalars, stage.count_fixed_steps())

    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(name, positional) for name in ("logits_fn", "images", "labels")]
    for field in dataclasses.fields(method_class):
        is_required = field.default is dataclasses.MISSING
        default = inspect.Parameter.empty if is_required else field.default
        parameters.append(
            inspect.Parameter(field.name, keyword_only, default=default, annotation=field.type)
        )
    parameters.append(inspect.Parameter("ids", keyword_only, default=None))
    described: Any = attack
    described.__signature__ = inspect.Signature(parameters)
    attack.__name__ = attack.__qualname__ = method_class.name
    attack.__module__ = method_class.__module__
    attack.__doc__ = method_class.__doc__
    return attack


def _build_examples(method: Method, images, labels, ids) -> Examples:
    images, labels = inputs.check_batch(images, labels, method.bounds)
    count = images.shape[0]
    ids = tf.constant(inputs.validate_ids(ids, count))
    epsilon = tf.cast(np.nan if method.budget is None else method.budget, tf.float32)
    return Examples(images, labels, ids, tf.fill([count], epsilon), tf.constant(0))


def _compile_stage(stage: Method, logits_fn: LogitsFn, examples: Examples):
    inputs.check_unit_box(wrap_classifier(logits_fn), stage.bounds)
    classifier_info = inspect_classifier(logits_fn, examples.images)
    inputs.check_label_range(examples.labels.numpy(), classifier_info.num_classes)
    return engine.compile_attack(logits_fn, stage, classifier_info)
