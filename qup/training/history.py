"""The curves of a training, on TensorBoard and in a log.

`what` is "classifier", or "translator/epoch-1" for the translator of the
classifier as it was after that epoch.
"""

import json
import logging
import pathlib
from collections.abc import Mapping

from qup.core import errors, files
from qup.core.tensorboard import SummaryWriter
from qup.training.loop import EpochHook

# What each epoch of a training measured, kept in a file.
#
# ```python
# history = History("run/history.json")
# history.record(1, {"loss": 0.3})
# history.epochs  # {1: {"loss": 0.3}}
# ```


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


_log = logging.getLogger("qup")
_EVALUATION_SPLITS = ("validation", "test")


def build_epoch_hook(
    curve_name: str, history: History, log_dir: str | pathlib.Path | None
) -> EpochHook:
    """Returns what a training calls after each epoch.

    It keeps the epoch in `history`, logs a line, and draws the points.

    Args:
      curve_name: See above.
      history: Of the training.
      log_dir: TensorBoard's folder; None draws nothing.
    """
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
    """Writes one epoch's points."""
    if curve_name != "classifier":
        writer.write_scalars(curve_name, epoch, metrics)
        return
    for split in _EVALUATION_SPLITS:
        if (key := f"{split}_accuracy") in metrics:
            writer.write_scalars(split, epoch, {"accuracy": metrics[key]})
    train_metrics = {key: metrics[key] for key in ("loss", "accuracy")}
    writer.write_scalars("train", epoch, train_metrics)


def rewrite_curves(
    writer: SummaryWriter, curve_name: str, epochs: Mapping[int, Mapping[str, float]]
) -> None:
    """Writes a whole curve, in place of whatever is there of it."""
    for run in (*_EVALUATION_SPLITS, "train") if curve_name == "classifier" else (curve_name,):
        writer.clear(run)
    for epoch, metrics in epochs.items():
        write_epoch_scalars(writer, curve_name, epoch, metrics)
