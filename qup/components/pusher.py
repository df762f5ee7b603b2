"""Step 10: a blessed SavedModel, put where a server watches."""

import json
import logging
import pathlib

from qup import export
from qup.components import artifacts
from qup.components.artifacts import Model, ModelBlessing, PushedModel
from qup.orchestration import In, Out, component, content_digest

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
        exported = model.path / artifacts.SERVING
        folder = pathlib.Path(destination)
        told["version"] = _version(exported, folder, version)
        if not (folder / str(told["version"])).exists():
            path = export.push(exported, folder, version=told["version"])
            _log.info("pushed to %s", path)
    else:
        _log.warning("%s is not pushed: it is not blessed", destination)
    (pushed.path / "pushed.json").write_text(json.dumps(told, indent=1))


def _version(exported: pathlib.Path, folder: pathlib.Path, wanted: int) -> int:
    """Returns the version that holds the model, or that it is to become."""
    digest = content_digest(exported)
    held = [p for p in folder.glob("*") if p.name.isdecimal()]
    versions = sorted(held, key=lambda path: int(path.name))
    same = [int(p.name) for p in versions if content_digest(p) == digest]
    if same:
        return wanted if wanted in same else same[-1]
    if not (folder / str(wanted)).exists():
        return wanted
    return int(versions[-1].name) + 1
