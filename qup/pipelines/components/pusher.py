"""Step 10: a blessed SavedModel, put where a server watches."""

import json
import logging
import pathlib
import re

from qup.core import files
from qup.models import saving
from qup.orchestration import In, Out, component, executions
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

    What is pushed already stays untouched; a version that holds another
    model is never overwritten: the next number above all is taken.

    Args:
      model: The classifier.
      blessing: Of its SavedModel.
      pushed: Where it went; its property "pushed" says whether it did.
      destination: Folder of the model's versions.
      version: The number to take.
    """
    blessed = bool(blessing.properties["blessed"])
    pushed.properties["pushed"] = blessed
    push_record = {"destination": destination, "version": None}
    if blessed:
        folder = pathlib.Path(destination)
        with files.wrap_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with executions.hold_lock(folder / ".qup.lock", lambda: None):
            push_record["version"] = _push_version(model, folder, version)
    else:
        _log.warning("%s is not pushed: it is not blessed", destination)
    (pushed.path / "pushed.json").write_text(json.dumps(push_record, indent=1))


def _push_version(model: Model, folder: pathlib.Path, requested_version: int) -> int:
    """Returns the version that holds the model; pushes it where none does."""
    existing_versions = {
        int(path.name): saving.read_fingerprint(path)
        for path in folder.iterdir()
        # Longer numbers are none that a server would take.
        if re.fullmatch("[0-9]{1,18}", path.name)
    }
    identical_versions = [
        n for n in existing_versions if existing_versions[n] == model.properties["content"]
    ]
    version = requested_version
    if identical_versions:
        version = (
            requested_version
            if requested_version in identical_versions
            else max(identical_versions)
        )
        if saving.is_intact(folder / str(version)):
            return version
        _log.warning("%s is damaged: it is pushed again", folder / str(version))
    elif requested_version in existing_versions:
        version = max(existing_versions) + 1
    exported = model.path / artifacts.SERVING
    _log.info("pushed to %s", saving.push_saved_model(exported, folder, version=version))
    return version
