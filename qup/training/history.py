"""The metrics of each epoch of a training: in a file, in the log, and on TensorBoard.

A curve is named "classifier", or "translator/epoch-1" for the translator of the classifier after
that epoch.

```python
history = History("run/history.json")
history.record(1, {"loss": 0.3})
history.epochs  # {1: {"loss": 0.3}}
```
"""

import json
import logging
import math
import pathlib
from collections.abc import Mapping

from qup.core import errors, files
from qup.core.formatting import format_count
from qup.core.tensorboard import SummaryWriter
from qup.training.loop import EpochHook

_log = logging.getLogger("qup")
_EVALUATION_SPLITS = ("validation", "test")


class History:
    """Metrics by epoch. Recording an epoch again replaces it.

    print(history) shows the first, the best and the last epoch. `training.fit` explains the names
    of its metrics.

    Attributes:
      epochs: {epoch: {metric: value}}, ascending.
      best_epoch: The epoch with the highest monitored accuracy, if a training tracks it, else None.
      collapsed_epoch: The epoch of catastrophic overfitting, see `training.fit`; None without.
    """

    def __init__(self, path: pathlib.Path | None = None):
        """Reads the file, if it exists; InputError if it is damaged. None keeps no file."""
        self._path = None if path is None else pathlib.Path(path)
        self.epochs: dict[int, dict[str, float]] = {}
        self.best_epoch: int | None = None
        self.collapsed_epoch: int | None = None
        if self._path is None or not self._path.exists():
            return
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            self.epochs = {int(k): dict(v) for k, v in stored.items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise errors.InputError(
                f"The history {path} is damaged: {error}. Remove it; its epochs are then missing "
                "from the curves."
            ) from error

    def __repr__(self) -> str:
        return f"<History of {format_count(len(self.epochs), 'epoch')}>"

    def __str__(self) -> str:
        """Returns a table with a line per metric, and the first, the best and the last epoch."""
        if not self.epochs:
            return "0 epochs"
        title = format_count(len(self.epochs), "epoch")
        if self.best_epoch in self.epochs:
            title += f"; the best is {self.best_epoch}"
        if self.collapsed_epoch:
            title += f"; catastrophic overfitting in {self.collapsed_epoch}"
        shown = sorted({*self.epochs} & {min(self.epochs), self.best_epoch, max(self.epochs)})
        names = list(self.history)
        width = max(map(len, names), default=0)
        lines = [title, " " * width + "".join(f"{f'epoch {epoch}':>12}" for epoch in shown)]
        for name in names:
            cells = (self.epochs[epoch].get(name) for epoch in shown)
            values = ("" if value is None else _format_metric(name, value) for value in cells)
            lines.append(name.ljust(width) + "".join(f"{value:>12}" for value in values))
        if any(name.endswith("accuracy") for name in names):
            lines.append("Accuracies are in percent.")
        return "\n".join(lines)

    def record(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Adds an epoch and writes the file; InputError if that is not possible."""
        self.epochs[epoch] = dict(metrics)
        self.epochs = dict(sorted(self.epochs.items()))
        if self._path is not None:
            files.write_text(self._path, json.dumps(self.epochs, indent=1))

    @property
    def history(self) -> dict[str, list[float]]:
        """The values of each metric in the order of the epochs, as in Keras's History."""
        names = dict.fromkeys(name for metrics in self.epochs.values() for name in metrics)
        return {
            name: [metrics.get(name, math.nan) for metrics in self.epochs.values()]
            for name in names
        }


def _format_metric(name: str, value: float) -> str:
    return f"{value:.2f}" if name.endswith("accuracy") else f"{value:.4g}"


def build_epoch_hook(
    curve_name: str, history: History, log_dir: str | pathlib.Path | None
) -> EpochHook:
    """Returns a hook that records each epoch in `history`, the log and TensorBoard's `log_dir`."""
    writer = SummaryWriter(log_dir) if log_dir else None

    def hook(epoch: int, metrics: dict[str, float]) -> None:
        history.record(epoch, metrics)
        values = ", ".join(f"{k} {v:.4g}" for k, v in metrics.items())
        _log.info("%s: epoch %d: %s", curve_name, epoch, values)
        if writer:
            write_epoch_scalars(writer, curve_name, epoch, metrics)

    return hook


def write_epoch_scalars(
    writer: SummaryWriter, curve_name: str, epoch: int, metrics: Mapping[str, float]
) -> None:
    """Writes the points of one epoch."""
    if curve_name != "classifier":
        writer.write_scalars(curve_name, epoch, metrics)
        return
    for split in _EVALUATION_SPLITS:
        if (key := f"{split}_accuracy") in metrics:
            writer.write_scalars(split, epoch, {"accuracy": metrics[key]})
    writer.write_scalars("train", epoch, {key: metrics[key] for key in ("loss", "accuracy")})


def rewrite_curves(
    writer: SummaryWriter, curve_name: str, epochs: Mapping[int, Mapping[str, float]]
) -> None:
    """Replaces a whole curve."""
    for run in (*_EVALUATION_SPLITS, "train") if curve_name == "classifier" else (curve_name,):
        writer.clear(run)
    for epoch, metrics in epochs.items():
        write_epoch_scalars(writer, curve_name, epoch, metrics)
