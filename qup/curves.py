"""The curves of a training, on TensorBoard and in a log.

`what` is "classifier", or "translator/epoch-1" for the translator of the
classifier as it was after that epoch.
"""

import logging
import pathlib
from collections.abc import Mapping

from qup.summaries import SummaryWriter
from qup.training import EpochHook, History

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
