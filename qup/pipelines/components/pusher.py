"""A SavedModel with both blessings, copied to the folder that a server watches."""

import json
import logging
import pathlib
import re

from qup.core import files
from qup.models import saving
from qup.orchestration import In, Out, component, storage
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import InfraBlessing, Model, ModelBlessing, PushedModel

_log = logging.getLogger("qup")


@component(cached=False)
def Pusher(
    model: In[Model],
    blessing: In[ModelBlessing],
    infra_blessing: In[InfraBlessing],
    pushed: Out[PushedModel],
    *,
    destination: str,
    version: int,
) -> None:
    """Copies a SavedModel to destination/version, if it has both blessings.

    A model that is already there is not copied again, unless it lacks an
    addition. A version of another model is never overwritten: the new model
    gets the next free number.

    Args:
      blessing: Whether the SavedModel has the measured accuracy.
      infra_blessing: Whether runtimes answer as Keras does; its additions are
        copied into the version.
      pushed: pushed.json; its property "pushed" is False if nothing was copied,
        and "reason" says why.
      destination: Folder of the model's versions.
      version: The preferred number.
    """
    reason = _find_reason(blessing, infra_blessing)
    pushed.properties["pushed"] = not reason
    push_record = {"destination": destination, "version": None, "reason": reason}
    if not reason:
        folder = pathlib.Path(destination)
        with files.wrap_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with storage.hold_lock(folder / ".qup.lock", lambda: None):
            additions = infra_blessing.additions
            push_record["version"] = _push_version(model, additions, folder, version)
    else:
        _log.warning("%s is not pushed: %s", destination, reason)
    (pushed.path / "pushed.json").write_text(json.dumps(push_record, indent=1))


def _find_reason(blessing: ModelBlessing, infra_blessing: InfraBlessing) -> str:
    """Returns why a model is not pushed; "" if it is."""
    if not blessing.properties["blessed"]:
        return (
            "the exported model does not have the measured test accuracy. blessing.json of its "
            "Evaluator has both numbers"
        )
    if not infra_blessing.properties["blessed"]:
        record = json.loads((infra_blessing.path / "infra_blessing.json").read_text())
        return (
            f"the exported model does not answer as Keras does ({record['reason']}). "
            "infra_blessing.json of its InfraValidator has the numbers"
        )
    return ""


def _push_version(
    model: Model, additions: pathlib.Path, folder: pathlib.Path, requested_version: int
) -> int:
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
        path = folder / str(version)
        names = [file.relative_to(additions) for file in additions.rglob("*") if file.is_file()]
        lacking = [name for name in names if not (path / name).exists()]
        if not saving.is_intact(path):
            _log.warning("%s is damaged. The model is pushed again", path)
        elif not lacking:
            return version
    elif requested_version in existing_versions:
        version = max(existing_versions) + 1
    exported = model.path / artifacts.SERVING
    path = saving.push_saved_model(exported, folder, version=version, additions=additions)
    _log.info("pushed to %s", path)
    return version
