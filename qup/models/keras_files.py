"""Reads Keras models from files: `.keras`, and whole `.h5` and `.hdf5` files.

What Keras reads is read. Where it fails, its message can have a hundred thousand characters; the
error of this module says in a few sentences what is wrong with the file, and the way out.

```python
model = read_keras_file("mine.keras")
```
"""

import json
import pathlib
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import h5py
import keras
from packaging import version

from qup.core import errors

SUFFIXES = (".keras", ".h5", ".hdf5")
# Longest part of a message that comes from outside: a path, a name, an error of another library.
_MAX_PART_LENGTH = 120
_NUM_LISTED_NAMES = 5


class _Header(NamedTuple):
    """What a file says about its model.

    Attributes:
      keras_version: Version of the Keras that wrote it; "" if it does not say.
      config: The layers, as JSON values.
    """

    keras_version: str
    config: dict[str, Any]

    @property
    def is_keras_2(self) -> bool:
        """Whether Keras 2, or tf_keras, wrote it."""
        return self.keras_version.startswith("2.")

    @property
    def is_newer(self) -> bool:
        """Whether a newer Keras than this one wrote it."""
        try:
            return version.Version(self.keras_version) > version.Version(keras.__version__)
        except version.InvalidVersion:
            return False


def read_keras_file(
    path: pathlib.Path, *, custom_objects: Mapping[str, Any] | None = None, trust: bool = False
) -> keras.Model:
    """Reads a whole model, without its optimizer.

    Args:
      path: A file with one of `SUFFIXES`.
      custom_objects: Classes and functions of its layers by name, besides the registered ones.
      trust: Whether code that is stored in the file (Lambda layers) may run.

    Raises:
      InputError: It cannot be read. The message names the reason and the way out.
    """
    path = pathlib.Path(path)
    header = _read_header(path)
    options = {"custom_objects": dict(custom_objects or {}), "safe_mode": not trust}
    try:
        with warnings.catch_warnings():
            # Of the optimizer, which is not used.
            warnings.simplefilter("ignore")
            return keras.models.load_model(path, compile=False, **options)
    except Exception as error:
        # Keras raises many exception types.
        reason = _explain_failure(header, error, custom_objects or {}, trust)
        raise errors.InputError(
            f"The model {format_path(path)} cannot be read: {reason}"
        ) from error


def format_path(path: pathlib.Path | str) -> str:
    """Returns a path for messages; of a long one the end."""
    text = str(path)
    return text if len(text) <= _MAX_PART_LENGTH else f"...{text[3 - _MAX_PART_LENGTH :]}"


def format_names(names: Any) -> str:
    """Returns the first names of a list for messages."""
    texts = [str(name) for name in names]
    shown = [t if len(t) <= 40 else f"{t[:37]}..." for t in texts[:_NUM_LISTED_NAMES]]
    more = len(texts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") or "none"


def _read_header(path: pathlib.Path) -> _Header:
    """Returns what the file says about its model.

    Raises:
      InputError: It is missing, damaged, of another format, or has weights only.
    """
    name = format_path(path)
    if not path.is_file():
        raise errors.InputError(f"The model {name} cannot be read: there is no such file.")
    is_zip, is_hdf5 = zipfile.is_zipfile(path), h5py.is_hdf5(path)
    expects_zip = path.suffix == ".keras"
    if is_hdf5 if expects_zip else is_zip:
        kind, suffix = ("an HDF5 file", ".h5") if is_hdf5 else ("a .keras archive", ".keras")
        raise errors.InputError(
            f"The model {name} cannot be read: it is {kind}. Rename it to {path.stem}{suffix}."
        )
    if not (is_zip if expects_zip else is_hdf5):
        kind = ".keras archive" if expects_zip else "HDF5 file"
        raise errors.InputError(
            f"The model {name} cannot be read: its {path.stat().st_size} bytes are not a complete "
            f"{kind}. Save or copy it again."
        )
    try:
        return _read_zip_header(path) if expects_zip else _read_hdf5_header(path)
    except errors.InputError:
        raise
    except Exception as error:
        # A damaged archive fails in many ways.
        raise errors.InputError(
            f"The model {name} cannot be read: it does not describe its layers "
            f"({_shorten(error)}). Save the whole model again: model.save('mine.keras')."
        ) from error


def _read_zip_header(path: pathlib.Path) -> _Header:
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        metadata = json.loads(archive.read("metadata.json"))
    return _Header(str(metadata.get("keras_version", "")), config)


def _read_hdf5_header(path: pathlib.Path) -> _Header:
    with h5py.File(path, "r") as file:
        config = file.attrs.get("model_config")
        keras_version = file.attrs.get("keras_version", "")
    if config is None:
        raise errors.InputError(
            f"The model {format_path(path)} has weights only, not the layers that they belong to. "
            f"Build the model, load the weights into it, and save it whole: "
            f"model.load_weights({path.name!r}); model.save('mine.keras')."
        )
    if isinstance(keras_version, bytes):
        keras_version = keras_version.decode()
    return _Header(str(keras_version), json.loads(config))


def _explain_failure(
    header: _Header, error: Exception, custom_objects: Mapping[str, Any], trust: bool
) -> str:
    """Returns the reason why Keras could not read a file, and the way out, as sentences."""
    if header.is_keras_2:
        return (
            f"it was written by Keras 2 ({header.keras_version}), and Keras {keras.__version__} "
            "cannot read it. Where Keras 2 is installed, load it and write a SavedModel with "
            "model.export('DIR'); then give --saved_model=DIR."
        )
    missing = dict.fromkeys(_find_unknown_objects(header.config, custom_objects))
    if missing:
        modules = sorted({module for _, module in missing if module})
        names = format_names(dict.fromkeys(name for name, _ in missing))
        return (
            f"Keras does not know {names}"
            f"{f' of the module {format_names(modules)}' if modules else ''}. Import the module "
            f"that defines it: --import={','.join(modules[:2]) or 'MODULE'} --trust_model."
        )
    if not trust and any("Lambda" in names for names in _list_names(header.config)):
        return (
            "it has a Lambda layer, which is Python code in the file. If you trust its source, add "
            "--trust_model."
        )
    if header.is_newer:
        return (
            f"it was written by Keras {header.keras_version}, which is newer than the installed "
            f"{keras.__version__}. Install keras>={header.keras_version}, or save the model with "
            f"Keras {keras.__version__}."
        )
    return (
        f"Keras {keras.__version__} reports: {errors.format_first_line(error)}. Save the whole "
        "model again, or export it as a SavedModel: model.export('DIR')."
    )


def _iterate_objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yields every serialized object within a configuration."""
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            pending += reversed(list(value.values()))
        elif isinstance(value, list):
            pending += reversed(value)


def _list_names(config: Any) -> Iterator[tuple[str, str]]:
    """Yields (class, registered class) of every serialized object."""
    for value in _iterate_objects(config):
        yield str(value["class_name"]), str(value.get("registered_name") or "")


def _find_unknown_objects(
    config: Any, custom_objects: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yields (name, module) of each class and function that Keras cannot find; "" for no module."""
    for value in _iterate_objects(config):
        module, name = value.get("module"), str(value["class_name"])
        if name == "function":
            # A function's name is in place of its configuration.
            name = str(value.get("config"))
        elif name == "__lambda__":
            continue
        registered_name = value.get("registered_name") or name
        if registered_name == "function":
            registered_name = name
        if _is_builtin(module, name):
            continue
        known = [registered_name, name]
        if any(keras.saving.get_registered_object(n, custom_objects) is not None for n in known):
            continue
        if any(
            custom_name.endswith(f">{name}") for custom_name in keras.saving.get_custom_objects()
        ):
            continue
        yield name.rpartition(">")[2], "" if module in (None, "builtins") else str(module)


def _is_builtin(module: str | None, name: str) -> bool:
    """Returns whether a class or function belongs to Keras."""
    if module not in (None, "builtins"):
        return module.partition(".")[0] == "keras"
    rooms = (
        keras.layers,
        keras.models,
        keras.activations,
        keras.initializers,
        keras.regularizers,
        keras.constraints,
        keras.ops,
    )
    # Classes that files name and Keras does not export.
    special = ("Functional", "__tensor__", "__tuple__", "__keras_tensor__", "CompileConfig")
    is_special = name in special or name.startswith(("__", "DTypePolicy", "slice"))
    return is_special or any(hasattr(room, name) for room in rooms)


def _shorten(error: BaseException) -> str:
    return errors.format_first_line(error, max_length=_MAX_PART_LENGTH)
