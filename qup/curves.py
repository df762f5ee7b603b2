"""The curves of a training, on TensorBoard and in a log.

`what` is "classifier", or "translator/epoch-1" for the translator of the
classifier as it was after that epoch.
"""

import logging
import pathlib
from collections.abc import Mapping

from qup.summaries import Summaries
from qup.training import EpochHook, History

_log = logging.getLogger("qup")
_SPLITS = ("validation", "test")


def drawn(
    what: str, history: History, log_dir: str | pathlib.Path | None
) -> EpochHook:
    """Returns what a training calls after each epoch.

    It keeps the epoch in `history`, logs a line, and draws the points.

    Args:
      what: See above.
      history: Of the training.
      log_dir: TensorBoard's folder; None draws nothing.
    """
    board = Summaries(log_dir) if log_dir else None

    def hook(epoch: int, metrics: dict[str, float]) -> None:
        history.record(epoch, metrics)
        values = ", ".join(f"{k} {v:.4g}" for k, v in metrics.items())
        _log.info("%s: epoch %d: %s", what, epoch, values)
        if board:
            show(board, what, epoch, metrics)

    return hook


def show(
    board: Summaries, what: str, epoch: int, metrics: Mapping[str, float]
) -> None:
    """Writes one epoch's points."""
    if what != "classifier":
        board.scalars(what, epoch, metrics)
        return
    for split in _SPLITS:
        if (key := f"{split}_accuracy") in metrics:
            board.scalars(split, epoch, {"accuracy": metrics[key]})
    own = {key: metrics[key] for key in ("loss", "accuracy")}
    board.scalars("train", epoch, own)


def redraw(
    board: Summaries, what: str, epochs: Mapping[int, Mapping[str, float]]
) -> None:
    """Writes a whole curve, in place of whatever is there of it."""
    for run in (*_SPLITS, "train") if what == "classifier" else (what,):
        board.clear(run)
    for epoch, metrics in epochs.items():
        show(board, what, epoch, metrics)
