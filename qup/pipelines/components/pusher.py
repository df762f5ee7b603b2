"""A blessed SavedModel, copied to the folder that a server watches."""

import json
import logging
import pathlib
import re

from qup.core import files
from qup.models import saving
from qup.orchestration import In, Out, component, storage
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Model, ModelBlessing, PushedModel

_log = logging.getLogger("qup")


@component(cached=False)
def Pusher(
    model: In[Model],
    blessing: In[ModelBlessing],
    pushed: Out[PushedModel],
    *,
    destination: str,
    version: int,
) -> None:
    """Copies a SavedModel to destination/version, if it is blessed.

    A model that is already there is not copied again. A version of another
    model is never overwritten: the new model gets the next free number.

    Args:
      pushed: pushed.json; its property "pushed" is False if nothing was copied.
      destination: Folder of the model's versions.
      version: The preferred number.
    """
    blessed = bool(blessing.properties["blessed"])
    pushed.properties["pushed"] = blessed
    push_record = {"destination": destination, "version": None}
    if blessed:
        folder = pathlib.Path(destination)
        with files.wrap_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with storage.hold_lock(folder / ".qup.lock", lambda: None):
            push_record["version"] = _push_version(model, folder, version)
    else:
        _log.warning("%s is not pushed: it is not blessed", destination)
    (pushed.path / "pushed.json").write_text(json.dumps(push_record, indent=1))


def _push_version(model: Model, folder: pathlib.Path, requested_version: int) -> int:
    """Returns the version that has the model; copies the model if none has it."""
    existing_versions = {
        int(path.name): saving.read_fingerprint(path)
        for path in folder.iterdir()
        # A server accepts no longer numbers.
        if re.fullmatch("[0-9]{1,18}", path.name)
    }
    identical_versions = [
        n for n in existing_versions if existing_versions[n] == model.properties["content"]
    ]
    version = requested_version
    if identical_versions:
        if requested_version not in identical_versions:
            version = max(identical_versions)
        if saving.is_intact(folder / str(version)):
            return version
        _log.warning("%s is damaged. The model is pushed again", folder / str(version))
    elif requested_version in existing_versions:
        version = max(existing_versions) + 1
    exported = model.path / artifacts.SERVING
    _log.info("pushed to %s", saving.push_saved_model(exported, folder, version=version))
    return version
