"""Exports both classifiers, once, and makes sure that they answer alike."""

import json
import logging
import pathlib
from collections.abc import Iterable, Mapping

import keras

from qup import export, files
from qup.pipelines.opening import Run

_log = logging.getLogger("qup")


def shipped(this: Run, names: Iterable[str], epochs: int) -> bool:
    """Says whether the exports of an earlier start are there, whole."""
    mark = this.path(f"epoch-{epochs}", "serving.json")
    if not mark.exists():
        return False
    return json.loads(mark.read_text()) == _sizes(_folders(this, names, epochs))


def ship(
    this: Run, classifiers: Mapping[str, keras.Model], epochs: int
) -> None:
    """Exports classifiers, by name, and compares them in a new process."""
    folders = _folders(this, classifiers, epochs)
    for folder, classifier in zip(folders, classifiers.values(), strict=True):
        export.save(classifier, folder.parent, version=epochs)
    batches = this.data.evaluation_batches("test", 8)
    exported = dict(zip(folders, classifiers.values(), strict=True))
    worst = export.verify(exported, next(iter(batches))["image"].numpy())
    _log.info("exported; a fresh process agrees to %.1e", worst)
    files.write_text(
        this.path(f"epoch-{epochs}", "serving.json"),
        json.dumps(_sizes(folders)),
    )


def _folders(
    this: Run, names: Iterable[str], epochs: int
) -> list[pathlib.Path]:
    return [this.path("serving", name, str(epochs)) for name in names]


def _sizes(folders: Iterable[pathlib.Path]) -> dict[str, int]:
    """Returns the size in bytes of every file below some folders."""
    return {
        f"{folder.parent.name}/{path.relative_to(folder)}": path.stat().st_size
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
