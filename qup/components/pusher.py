"""Step 10: a blessed SavedModel, put where a server watches."""

import json
import logging
import pathlib
import re

from qup import export, files
from qup.components import artifacts
from qup.components.artifacts import Model, ModelBlessing, PushedModel
from qup.orchestration import In, Out, component, processes

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
    told = {"destination": destination, "version": None}
    if blessed:
        folder = pathlib.Path(destination)
        with files.explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with processes.locked(folder / ".qup.lock", lambda: None):
            told["version"] = _push(model, folder, version)
    else:
        _log.warning("%s is not pushed: it is not blessed", destination)
    (pushed.path / "pushed.json").write_text(json.dumps(told, indent=1))


def _push(model: Model, folder: pathlib.Path, wanted: int) -> int:
    """Returns the version that holds the model; pushes it where none does."""
    held = {
        int(path.name): export.marked(path)
        for path in folder.iterdir()
        # Longer numbers are none that a server would take.
        if re.fullmatch("[0-9]{1,18}", path.name)
    }
    same = [n for n in held if held[n] == model.properties["content"]]
    version = wanted
    if same:
        version = wanted if wanted in same else max(same)
        if export.intact(folder / str(version)):
            return version
        _log.warning("%s is damaged: it is pushed again", folder / str(version))
    elif wanted in held:
        version = max(held) + 1
    exported = model.path / artifacts.SERVING
    _log.info("pushed to %s", export.push(exported, folder, version=version))
    return version
