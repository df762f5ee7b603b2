"""Exports both classifiers, once, and makes sure that they answer alike."""

import json
import logging
import pathlib
from collections.abc import Iterable

import keras

from qup import export, files
from qup.pipelines.opening import Run

_log = logging.getLogger("qup")


def ship(this: Run, classifiers: dict[str, keras.Model], epochs: int) -> None:
    """Exports what is not exported yet and compares it in a new process."""
    mark = this.path(f"epoch-{epochs}", "serving.json")
    folders = {
        this.path("serving", name, str(epochs)): classifier
        for name, classifier in classifiers.items()
    }
    if mark.exists() and json.loads(mark.read_text()) == _sizes(folders):
        return
    for folder, classifier in folders.items():
        export.save(classifier, folder.parent, version=epochs)
    batches = this.data.evaluation_batches("test", 8)
    worst = export.verify(folders, next(iter(batches))["image"].numpy())
    _log.info("exported; a fresh process agrees to %.1e", worst)
    files.write_text(mark, json.dumps(_sizes(folders)))


def _sizes(folders: Iterable[pathlib.Path]) -> dict[str, int]:
    """Returns the size in bytes of every file below some folders."""
    return {
        f"{folder.parent.name}/{path.relative_to(folder)}": path.stat().st_size
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
