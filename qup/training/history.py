"""What each epoch of a training measured, kept in a file.

```python
history = History("run/history.json")
history.record(1, {"loss": 0.3})
history.epochs  # {1: {"loss": 0.3}}
```
"""

import json
import pathlib
from collections.abc import Mapping

from qup import errors, files


class History:
    """Metrics by epoch; an epoch recorded twice counts once.

    Attributes:
      epochs: {epoch: {metric: value}}, ascending.
    """

    def __init__(self, path: pathlib.Path):
        """Reads the file, if it is there.

        Raises:
          InputError: It is no history.
        """
        self._path = pathlib.Path(path)
        self.epochs: dict[int, dict[str, float]] = {}
        if not self._path.exists():
            return
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            self.epochs = {int(k): dict(v) for k, v in stored.items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise errors.InputError(
                f"The history {path} is damaged: {error}. Remove it; its "
                "epochs are then missing from the curves."
            ) from error

    def record(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Adds an epoch, and writes all.

        Raises:
          InputError: The file cannot be written.
        """
        self.epochs[epoch] = dict(metrics)
        self.epochs = dict(sorted(self.epochs.items()))
        files.write_text(self._path, json.dumps(self.epochs, indent=1))
