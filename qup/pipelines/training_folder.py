"""The folder of a training: its files, and what it says of the training.

```python
for training in find_trainings("runs"):
    print(training.path, training.is_complete, training.num_epochs)
```
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

SETTINGS_FILE, MODEL_FILE, LOCK_FILE = "training.json", "model.keras", ".qup.lock"
HISTORY_FILE, CHECKPOINTS, TENSORBOARD = "history.csv", "checkpoints", "tensorboard"
_EPOCHS_FILE = "history.json"
_PATTERNS = (".", "*", "*/*")


@dataclasses.dataclass(frozen=True)
class TrainingFolder:
    """A training as its files describe it; it may have been interrupted, or still run.

    Attributes:
      path: The folder.
      settings: The content of training.json.
      num_epochs: Number of epochs that have ended.
      is_complete: Whether the classifier has all of them; otherwise the same command resumes.
      started: When the training began, in seconds since 1970.
      updated: When its last epoch or the training ended.
    """

    path: pathlib.Path
    settings: Mapping[str, Any]
    num_epochs: int
    is_complete: bool
    started: float
    updated: float


def find_trainings(path: str | pathlib.Path) -> list[TrainingFolder]:
    """Returns the trainings of a folder and of the working directories in it, oldest first.

    A folder whose training.json cannot be read is left out.

    Args:
      path: The folder; it need not exist.
    """
    paths = {
        file.parent.resolve(): file.parent
        for pattern in _PATTERNS
        for file in sorted(pathlib.Path(path).glob(f"{pattern}/{SETTINGS_FILE}"))
    }
    trainings = []
    for folder in paths.values():
        with contextlib.suppress(OSError, ValueError, AttributeError):
            trainings.append(_read_training(folder))
    return sorted(trainings, key=lambda training: (training.started, training.path))


def _read_training(folder: pathlib.Path) -> TrainingFolder:
    settings = json.loads((folder / SETTINGS_FILE).read_text("utf-8"))
    epochs_file = folder / CHECKPOINTS / _EPOCHS_FILE
    num_epochs = len(json.loads(epochs_file.read_text("utf-8"))) if epochs_file.exists() else 0
    files = [folder / name for name in (SETTINGS_FILE, MODEL_FILE, HISTORY_FILE)] + [epochs_file]
    # A training to more epochs than before is complete when its rows are written again.
    num_rows = 0
    if (folder / MODEL_FILE).exists() and (folder / HISTORY_FILE).exists():
        num_rows = len((folder / HISTORY_FILE).read_text("utf-8").splitlines()) - 1
    return TrainingFolder(
        path=folder,
        settings=dict(settings.items()),
        num_epochs=num_epochs,
        is_complete=0 < num_epochs <= num_rows,
        started=(folder / SETTINGS_FILE).stat().st_mtime,
        updated=max(file.stat().st_mtime for file in files if file.exists()),
    )
