"""One step of a pipeline outside of the built-in runner: what an engine passes to a component.

An engine knows artifacts as addresses with plain properties, and parameters as text. This module
converts both, copies artifacts from and to a store such as gs://, and runs the component. It needs
neither TFX nor Kubeflow, so that a container needs neither.
"""

import contextlib
import dataclasses
import importlib
import json
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from qup.core import hashing
from qup.core.errors import InputError
from qup.orchestration import Artifact, Channel, Component, Node
from qup.orchestration.artifacts import create_manifest, hash_manifest
from qup.orchestration.components import Role

# Reads and writes gs:// and the other stores that TensorFlow knows.
gfile = tf.io.gfile
# How names of folders for unfinished work begin.
STATE_PREFIX = "qup-"
# Stands for the working directory in a parameter that another machine reads.
WORKDIR = "{workdir}"


def get_component_path(component: Component) -> str:
    """Returns the full name of a component, such as "qup.pipelines.components.trainer.Trainer"."""
    return f"{component.fn.__module__}.{component.name}"


def import_component(path: str) -> Component:
    """Returns the component of a full name.

    Raises:
      InputError: There is none, for instance because the code is another version.
    """
    module, _, name = path.rpartition(".")
    with contextlib.suppress(ImportError, AttributeError, ValueError):
        component = getattr(importlib.import_module(module), name)
        if isinstance(component, Component):
            return component
    raise InputError(
        f"There is no component {path!r} in this installation. Run the step with the version of "
        "qup that wrote the pipeline."
    )


def name_inputs(node: Node) -> dict[str, Channel]:
    """Returns the channels of a node, one per name: a list `models` is models_0, models_1, ..."""
    channels_by_name = {}
    for key, channels in node.inputs.items():
        many = node.component.arguments[key].many
        for number, channel in enumerate(channels):
            channels_by_name[f"{key}_{number}" if many else key] = channel
    return channels_by_name


def parse_input_name(component: Component, name: str) -> tuple[str, int]:
    """Returns the input of a name of `name_inputs`, and the position in its list.

    Raises:
      InputError: The component has no such input, for instance because it is another version.
    """
    match = re.fullmatch(r"(.+)_(\d+)", name)
    inputs = component.get_arguments(Role.INPUT)
    if name in inputs:
        return name, 0
    if match and match[1] in inputs and inputs[match[1]].many:
        return match[1], int(match[2])
    raise InputError(
        f"{component.name} has no input {name!r}. Run the step with the version of qup that wrote "
        "the pipeline."
    )


def group_inputs(
    component: Component, artifacts: Mapping[str, Artifact]
) -> dict[str, list[Artifact]]:
    """Returns the artifacts of each input in order; the inverse of `name_inputs`."""
    groups: dict[str, dict[int, Artifact]] = {}
    for name, artifact in artifacts.items():
        key, number = parse_input_name(component, name)
        groups.setdefault(key, {})[number] = artifact
    return {key: [group[number] for number in sorted(group)] for key, group in groups.items()}


def decode_parameters(component: Component, texts: Mapping[str, str]) -> dict[str, Any]:
    """Returns a component's parameters in their declared types, from JSON.

    Texts of other names are left out.

    Raises:
      PipelineError: A value has another type than the component declares.
    """
    declared = component.get_arguments(Role.PARAMETER, Role.LOCATION)
    return {
        name: declared[name].convert(json.loads(text))
        for name, text in texts.items()
        if name in declared
    }


def replace_prefix(value: Any, old: str, new: str) -> Any:
    """Replaces a folder by another in every path of a JSON value that is in it.

    Args:
      value: The value, which stays as it is.
      old: A folder without a slash at the end.
      new: Its replacement.
    """
    if isinstance(value, str):
        is_inside = value == old or value.startswith(f"{old}/")
        return new + value[len(old) :] if is_inside else value
    if isinstance(value, list | tuple):
        return type(value)(replace_prefix(item, old, new) for item in value)
    if isinstance(value, Mapping):
        return {key: replace_prefix(item, old, new) for key, item in value.items()}
    return value


def compute_state_name(
    component: str, texts: Mapping[str, str], inputs: Mapping[str, Artifact]
) -> str:
    """Returns the name of the folder for a step's unfinished work.

    The same work in a later run has the same name, so that the step resumes.

    Args:
      component: Its full name.
      texts: Its encoded parameters, with its code and without locations.
      inputs: The artifacts that it reads.
    """
    identities = {name: a.digest or [a.uri, a.id] for name, a in inputs.items()}
    return f"{STATE_PREFIX}{hashing.hash_json([component, dict(texts), identities])[:32]}"


def is_remote(uri: str) -> bool:
    """Returns whether an address names a store, such as gs://bucket/x, and not a local folder."""
    return "://" in uri


class Staging(contextlib.AbstractContextManager):
    """Local copies of folders in a store that tf.io.gfile reads; local folders are not copied."""

    def __init__(self):
        """Creates an empty temporary folder."""
        self._folder = tempfile.TemporaryDirectory(prefix="qup-step-")
        self._paths: dict[str, pathlib.Path] = {}
        self._downloaded: dict[str, tuple[int, int]] = {}

    def __exit__(self, *error) -> None:
        """Removes the copies."""
        self._folder.cleanup()

    def open(self, uri: str, *, download: bool = True) -> pathlib.Path:
        """Returns a local folder with the content of an address; it is created.

        Args:
          uri: The address.
          download: Whether to copy what is there; otherwise a folder of a store begins empty.
        """
        if not is_remote(uri):
            path = pathlib.Path(uri)
            path.mkdir(parents=True, exist_ok=True)
            return path
        if uri not in self._paths:
            path = self._paths[uri] = pathlib.Path(self._folder.name, str(len(self._paths)))
            path.mkdir()
            if download and gfile.isdir(uri):
                _copy_tree(uri, str(path), {})
                self._downloaded |= _list_files(path)
        return self._paths[uri]

    def upload(self, uri: str) -> None:
        """Copies new and changed local files of an address to it; other files stay there."""
        if uri in self._paths:
            _copy_tree(str(self._paths[uri]), uri, self._downloaded)

    def remove(self, uri: str) -> None:
        """Removes a folder at its address."""
        if not is_remote(uri):
            shutil.rmtree(uri, ignore_errors=True)
        elif gfile.isdir(uri):
            gfile.rmtree(uri)


def _list_files(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Returns size and time of the last change of every file below a folder, by its path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def write_text(uri: str, text: str) -> None:
    """Writes a file, here or in a store."""
    gfile.makedirs(uri.rpartition("/")[0])
    with gfile.GFile(uri, "w") as file:
        file.write(text)


def _copy_tree(source: str, target: str, unchanged: Mapping[str, tuple[int, int]]) -> None:
    """Copies a folder; saved_model.pb, which a server waits for, after the files that it needs.

    Args:
      source: The folder.
      target: Its copy.
      unchanged: Size and time of files that are left out, as long as they have both.
    """
    local_files = _list_files(pathlib.Path(source)) if unchanged else {}
    for folder, _, names in gfile.walk(source, topdown=False):
        rest = folder[len(source) :].strip("/")
        target_folder = f"{target}/{rest}" if rest else target
        gfile.makedirs(target_folder)
        # TensorFlow's list of checkpoints last: it names files that must be there.
        for name in sorted(names, key=lambda name: (name == "checkpoint", name)):
            path = f"{folder.rstrip('/')}/{name}"
            if path not in unchanged or unchanged[path] != local_files[path]:
                gfile.copy(path, f"{target_folder}/{name}", True)


def run_step(
    component: Component,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, list[Artifact]],
    outputs: Mapping[str, str],
    state: str,
    *,
    folders: Iterable[str] = (),
) -> dict[str, Artifact]:
    """Runs a component, with copies of what is in a store.

    Args:
      component: The component.
      parameters: Its parameters in their declared types. Those that are not passed have their
        defaults.
      inputs: Its artifacts.
      outputs: The addresses to write its outputs to.
      state: The address of the folder for unfinished work. It is removed at the end; if the step
        is interrupted or fails it remains, with the work so far.
      folders: Addresses in a store that parameters name. Parameters get local copies, and what the
        component writes into them is copied back.

    Returns:
      The outputs, with their properties, digests and manifests.
    """
    with Staging() as staging:
        arguments = _localise(parameters, staging, folders)
        artifacts: dict[str, Artifact] = {}
        for name, argument in component.arguments.items():
            if argument.role is Role.INPUT:
                local = [
                    dataclasses.replace(a, uri=str(staging.open(a.uri))) if is_remote(a.uri) else a
                    for a in inputs.get(name, ())
                ]
                arguments[name] = local if argument.many else next(iter(local), None)
            elif argument.role is Role.OUTPUT:
                path = staging.open(outputs[name], download=False)
                arguments[name] = artifacts[name] = argument.type(uri=str(path))
            elif argument.role is Role.STATEFUL:
                arguments[name] = staging.open(state)
        try:
            component.fn(**arguments)
        except BaseException:
            staging.upload(state)
            raise
        for name, artifact in artifacts.items():
            artifact.check_properties(f"{component.name}.outputs[{name!r}]")
            artifact.manifest = create_manifest(artifact.path)
            artifact.digest = hash_manifest(artifact.manifest)
            artifact.uri = outputs[name]
        for uri in (*outputs.values(), *folders):
            staging.upload(uri)
        staging.remove(state)
        return artifacts


def _localise(
    parameters: Mapping[str, Any], staging: Staging, folders: Iterable[str]
) -> dict[str, Any]:
    """Returns the parameters with local copies of folders in a store."""
    local = dict(parameters)
    for uri in folders:
        local = {k: replace_prefix(v, uri, str(staging.open(uri))) for k, v in local.items()}
    return local


def list_folders(value: Any, root: str) -> list[str]:
    """Returns the addresses below `root` in a JSON value, such as the folder of a Pusher."""
    if isinstance(value, str):
        return [value] if value.startswith(f"{root}/") else []
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [uri for item in value for uri in list_folders(item, root)]
    return []
