"""Compiled programs, one per classifier and key.

A `tf.function` that is rebuilt at every call traces at every call. A `tf.function` that takes the
classifier as an argument keeps it in memory forever. So each program is built once per classifier
and key, holds a weak reference to the classifier, and is deleted with it.
"""

import re
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from qup.core import environment, errors
from qup.core.types import LogitsFn

environment.configure_keras()
# The operation in a message of XLA: "... on XLA_CPU_JIT: ResizeBicubic (No registered ...".
_XLA_OPERATION = re.compile(r"XLA_[A-Z]+_JIT: (\w+)")
_programs: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def get_program(
    logits_fn: LogitsFn, key: Hashable, build: Callable[[LogitsFn], Callable]
) -> Callable:
    """Returns `build(logits_fn)`, from a cache after the first call.

    Args:
      logits_fn: A Keras model (run in inference mode) or a function of a tensor, of any outputs;
        for a classifier use `classifier.get_classifier_program`. Pass the same object each time: a
        new lambda or bound method compiles again.
      key: Contains the program's name and every Python value that `build` uses.
      build: Maps a function image -> logits to the program.

    Raises:
      InputError: `logits_fn` is not callable or has no weak references.
    """
    if not callable(logits_fn):
        raise errors.InputError(
            f"A classifier must be callable on a batch of images; got {type(logits_fn).__name__}. "
            "Pass a Keras model or a function."
        )
    try:
        programs = _programs.setdefault(logits_fn, {})
    except TypeError as error:
        raise errors.InputError(
            f"A {type(logits_fn).__name__} cannot be used as a classifier: {error}. "
            "Wrap it in a function of one tensor."
        ) from error
    if key not in programs:
        programs[key] = build(_build_weak_call(logits_fn))
    return programs[key]


def _build_weak_call(logits_fn: LogitsFn) -> LogitsFn:
    """Returns a function that calls `logits_fn` in inference mode through a weak reference."""
    reference = weakref.ref(logits_fn)
    options = {"training": False} if isinstance(logits_fn, keras.Layer) else {}
    return lambda images: reference()(images, **options)


def use_xla(mode: str) -> bool:
    """Returns the value for `tf.function(jit_compile=...)`.

    Args:
      mode: "on", "off", or "auto": on with a GPU, off without. On a CPU, XLA's convolutions are
        slower than oneDNN's: PGD reaches 1/4 (ConvNet) and 1/16 (YGCNN) of the speed
        (`python -m benchmarks.attacks --models=convnet,ygcnn --xla`).

    Raises:
      InputError: Another mode.
    """
    if mode not in ("auto", "on", "off"):
        raise errors.make_unknown_error("xla mode", mode, ("auto", "on", "off"))
    if mode == "auto":
        return bool(tf.config.list_logical_devices("GPU"))
    return mode == "on"


def compile_function(function: Callable, xla: str, **options: Any) -> Callable:
    """Returns a `tf.function`, compiled by XLA if `xla` says so and its operations allow it.

    Args:
      function: A function of tensors.
      xla: See `use_xla`. With "auto" a function that XLA cannot compile runs without it, which is
        logged once; with "on" it is refused.
      **options: Those of `tf.function`.

    Raises:
      InputError: XLA cannot compile an operation; raised by the returned function.
    """
    if not use_xla(xla):
        return tf.function(function, autograph=False, **options)
    compiled = [tf.function(function, autograph=False, jit_compile=True, **options)]

    def run(*args, **kwargs):
        try:
            return compiled[0](*args, **kwargs)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if "XLA" not in str(error) and "unsupported operations" not in str(error):
                raise
            operations = ", ".join(sorted(set(_XLA_OPERATION.findall(str(error))))[:3])
            reason = f"XLA cannot compile the classifier{f' ({operations})' if operations else ''}"
            if xla == "on":
                raise errors.InputError(f"{reason}. Use xla='off'.") from error
            logging.warning("%s. It runs without XLA.", reason)
            compiled[0] = tf.function(function, autograph=False, **options)
            return compiled[0](*args, **kwargs)

    return run


def predict(network: Callable[[tf.Tensor], tf.Tensor], inputs: tf.Tensor) -> tf.Tensor:
    """Returns what a network computes, by a compiled program.

    For the logits of a classifier use `classifier.predict_logits`.
    """
    run = get_program(network, "predict", lambda call: tf.function(call, autograph=False))
    return run(inputs)
