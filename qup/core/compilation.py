"""Compiled programs, made once for each classifier and kept with it.

A `tf.function` that is built anew at every call traces anew at every call;
one that takes the classifier as an argument keeps it alive for ever. So a
program is built once for a classifier and a key, refers to the classifier
weakly, and goes when the classifier goes.
"""

import weakref
from collections.abc import Callable, Hashable

import keras
import tensorflow as tf

from qup.core import errors
from qup.core.types import LogitsFn

_programs: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def get_program(
    logits_fn: LogitsFn, key: Hashable, build: Callable[[LogitsFn], Callable]
) -> Callable:
    """Returns `build(logits_fn)`, from memory after the first call.

    Args:
      logits_fn: A Keras model (run in inference mode) or a function of a
        tensor. Keep and pass the same object: a new lambda or bound method
        at every call is a new classifier, and compiles again.
      key: Names the program and every Python value it was built from.
      build: Takes a function image -> logits, returns the program.

    Returns:
      The program.

    Raises:
      InputError: `logits_fn` cannot be called or referred to.
    """
    if not callable(logits_fn):
        raise errors.InputError(
            "A classifier must be callable on a batch of images; got "
            f"{type(logits_fn).__name__}. Pass a Keras model or a function."
        )
    try:
        programs = _programs.setdefault(logits_fn, {})
    except TypeError as error:
        raise errors.InputError(
            f"A {type(logits_fn).__name__} cannot be used as a classifier: "
            f"{error}. Wrap it in a function of one tensor."
        ) from error
    if key not in programs:
        programs[key] = build(_build_weak_call(logits_fn))
    return programs[key]


def _build_weak_call(logits_fn: LogitsFn) -> LogitsFn:
    """Calls `logits_fn` in inference mode without keeping it alive."""
    reference = weakref.ref(logits_fn)
    options = {"training": False} if isinstance(logits_fn, keras.Layer) else {}
    return lambda images: reference()(images, **options)


def use_xla(mode: str) -> bool:
    """Decides whether XLA compiles a program.

    Args:
      mode: "on", "off", or "auto": on with a GPU, off without, because on
        a CPU XLA's convolutions are several times slower than oneDNN's:
        PGD at a quarter (ConvNet) and a sixteenth (YGCNN) of the speed
        (`python -m benchmarks.attacks --models=convnet,ygcnn --xla`).

    Returns:
      The value for `tf.function(jit_compile=...)`.

    Raises:
      InputError: Another mode.
    """
    if mode not in ("auto", "on", "off"):
        raise errors.make_unknown_error("xla mode", mode, ("auto", "on", "off"))
    if mode == "auto":
        return bool(tf.config.list_logical_devices("GPU"))
    return mode == "on"


def predict(logits_fn: LogitsFn, images: tf.Tensor) -> tf.Tensor:
    """Returns the compiled logits of `images`, float32 [batch, classes]."""
    run = get_program(logits_fn, "predict", lambda call: tf.function(call, autograph=False))
    return run(images)
