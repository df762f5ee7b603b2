"""Classifiers of a user, from files: loaded, fitted to the images of a dataset, and checked.

```python
options = LoadOptions(pixel_range=(0, 255))
classifier = load_user_model("mine.keras", options, image_shape=(28, 28, 1))
check_model(classifier, "mine.keras", (28, 28, 1), num_classes=10)
```
"""

import contextlib
import dataclasses
import importlib
import inspect
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from qup.core import errors
from qup.core.classifier import BINARY_LOGIT, BINARY_PROBABILITY, Classifier, wrap_classifier
from qup.core.types import LogitsFn
from qup.models.keras_files import format_path, read_keras_file
from qup.models.layers import BatchNormalization as BatchNormalization  # Registers it in Keras.
from qup.models.model_input import (
    adapt_model,
    check_declared_shape,
    describe_input,
    format_requirement,
)
from qup.models.saved_model import DEFAULT_SIGNATURE, choose_output, load_saved_model

_NUM_CHECKED_IMAGES = 3
# Longest reason of a message, in characters.
_MAX_REASON_LENGTH = 420


@dataclasses.dataclass(frozen=True)
class LoadOptions:
    """How the file of a user's model is read.

    Attributes:
      signature: Signature of a SavedModel.
      output: Name of the output with the logits (the number of an output, for a list); None for
        "logits", or for the only one.
      imports: Modules with the layers of a Keras model, found on Python's path or in the current
        folder.
      trust: Whether code may run: that of `imports`, and of Lambda layers within the file.
      pixel_range: (lowest, highest) pixel that the model takes; None for [0, 1].
    """

    signature: str = DEFAULT_SIGNATURE
    output: str | None = None
    imports: tuple[str, ...] = ()
    trust: bool = False
    pixel_range: tuple[float, float] | None = None

    def list_differences(self) -> dict[str, Any]:
        """Returns the options that decide about results and differ from their defaults, as JSON."""
        options = dataclasses.asdict(self)
        options.pop("trust")
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in options.items()
            if value != getattr(LoadOptions(), name)
        }


def load_user_model(
    path: pathlib.Path | str,
    options: LoadOptions = LoadOptions(),
    image_shape: Sequence[int] | None = None,
) -> Classifier:
    """Loads a model of a user as a classifier of images in [0, 1].

    A Keras model with code and a SavedModel are programs: load only what you trust.

    Args:
      path: A `.keras`, `.h5` or `.hdf5` file, or the folder of a SavedModel.
      options: How it is read.
      image_shape: (height, width, channels) of the images that it will see; None leaves the model
        as it is.

    Returns:
      float32 images [batch, height, width, channels] in [0, 1], of any batch size, to logits.

    Raises:
      InputError: It cannot be read, or it declares other images.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        model = load_saved_model(path, signature=options.signature, output=options.output)
    else:
        custom_objects = _import_objects(options)
        model = read_keras_file(path, custom_objects=custom_objects, trust=options.trust)
        model = _select_output(model, path, options.output, image_shape)
    if image_shape is not None:
        model = adapt_model(model, path, tuple(image_shape), options.pixel_range)
    return Classifier(model, pixel_range=options.pixel_range)


def _import_objects(options: LoadOptions) -> dict[str, Any]:
    """Imports the user's modules; returns their own classes and functions by name."""
    check_trust(options)
    custom_objects: dict[str, Any] = {}
    for name in options.imports:
        module = import_module(name)
        for key, value in vars(module).items():
            is_own = str(getattr(value, "__module__", "")).startswith(module.__name__)
            if is_own and (inspect.isclass(value) or inspect.isfunction(value)):
                custom_objects[key] = value
    return custom_objects


def check_trust(options: LoadOptions) -> None:
    """Raises an InputError if modules are to be imported and their code may not run."""
    if options.imports and not options.trust:
        raise errors.InputError(
            f"--import={','.join(options.imports)[:120]} runs the code of what it names. If you "
            "trust it, add --trust_model."
        )


def import_module(name: str) -> Any:
    """Imports a module of the user, from Python's path or from the current folder.

    Raises:
      InputError: It cannot be imported.
    """
    with _search_current_folder():
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise errors.InputError(
                f"The module {name[:60]!r} of --import cannot be imported: "
                f"{type(error).__name__}: {errors.format_first_line(error)}. It is looked for on "
                f"Python's path and in {format_path(os.getcwd())}."
            ) from error


@contextlib.contextmanager
def _search_current_folder() -> Iterator[None]:
    folder = os.getcwd()
    # At the end, so that it hides no other module.
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def find_module_files(names: Sequence[str]) -> list[pathlib.Path]:
    """Returns the Python files of modules and packages, whose code belongs to a model.

    Raises:
      InputError: A module cannot be found.
    """
    paths: list[pathlib.Path] = []
    for name in names:
        origin = getattr(import_module(name), "__file__", None)
        if origin is not None:
            path = pathlib.Path(origin)
            is_package = path.name == "__init__.py"
            paths += sorted(path.parent.rglob("*.py")) if is_package else [path]
    return paths


def _select_output(
    model: keras.Model, path: pathlib.Path, output: str | None, image_shape: Sequence[int] | None
) -> LogitsFn:
    """Returns a Keras model of one output; the same one if it has no other."""
    description = f"The model {format_path(path)}"
    is_sequential = isinstance(model, keras.Sequential)
    is_functional = bool(getattr(model, "outputs", None)) and not is_sequential
    if is_functional:
        by_name = _name_outputs(model.output)
    elif is_sequential or image_shape is None:
        by_name = None
    else:
        by_name = _name_outputs(_run_once(model, path, image_shape))
    if by_name is None:
        if output is not None:
            raise errors.InputError(
                f"{description} gives one output without a name. Omit --output={output[:40]}."
            )
        if is_functional and isinstance(model.input, list) and len(model.input) == 1:
            # Files of Keras 2 list their only input, of which Keras warns at every call.
            return keras.Model(model.input[0], model.output, name=model.name)
        return model
    name = choose_output(list(by_name), output, description)
    if not is_functional:
        return _OutputSelection(model, name)
    # With several inputs it stays as it is: `describe_input` refuses it.
    if len(model.inputs) != 1:
        return model
    return keras.Model(model.inputs[0], by_name[name], name=model.name)


def _name_outputs(outputs: Any) -> dict[str, Any] | None:
    """Returns outputs by their keys or numbers; None for a single one without a name."""
    if isinstance(outputs, Mapping):
        return {str(key): value for key, value in outputs.items()}
    if isinstance(outputs, list | tuple):
        return {str(i): value for i, value in enumerate(outputs)}
    return None


def _run_once(model: keras.Model, path: pathlib.Path, image_shape: Sequence[int]) -> Any:
    """Returns the outputs of a model that declares none, for a black image."""
    try:
        return model(tf.zeros((1, *image_shape)), training=False)
    except Exception as error:
        raise errors.InputError(
            f"{format_requirement(path, image_shape)}; on such an image it fails: "
            f"{errors.format_first_line(error)}. Save a model for these images."
        ) from error


class _OutputSelection:
    """One output of a Keras model that declares none."""

    def __init__(self, model: keras.Model, name: str):
        self.model = model
        self.__name__ = model.name
        self._name = name

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return _name_outputs(self.model(images, training=False))[self._name]


def check_model(
    classifier: LogitsFn, path: pathlib.Path | str, image_shape: Sequence[int], num_classes: int
) -> None:
    """Reads what a user's model declares, then calls it on random images.

    Args:
      classifier: The model.
      path: Its file, for the message.
      image_shape: (height, width, channels) of the dataset's images.
      num_classes: Classes of the dataset; the model may have more.

    Raises:
      InputError: It takes other images, fails, or has fewer classes.
    """
    path, image_shape = pathlib.Path(path), tuple(image_shape)
    check_declared_shape(describe_input(classifier), path, image_shape)
    shape = (_NUM_CHECKED_IMAGES, *image_shape)
    images = np.random.default_rng(0).random(shape, np.float32)
    try:
        info = wrap_classifier(classifier).inspect(images)
    except errors.InputError as error:
        raise errors.InputError(
            f"The model {format_path(path)} cannot be attacked. {_shorten(str(error))}"
        ) from error
    if info.num_classes < num_classes:
        is_one_number = info.output_kind in (BINARY_LOGIT, BINARY_PROBABILITY)
        num_columns = 1 if is_one_number else info.num_classes
        raise errors.InputError(
            f"The model {format_path(path)} must give logits [batch, {num_classes}] for the "
            f"classes of the dataset; it gives [batch, {num_columns}]. Name the model's dataset by "
            "--dataset."
        )


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_REASON_LENGTH else f"{text[: _MAX_REASON_LENGTH - 3]}..."
