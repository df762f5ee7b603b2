"""What the user sees of an uncertainty run: figures, curves, words."""

import pathlib
import re
from collections.abc import Mapping

import tensorflow as tf

from qup import files
from qup.orchestration import Execution
from qup.pipelines.opening import Run
from qup.pipelines.uncertainty_findings import Found, Measured
from qup.pipelines.uncertainty_request import Request

_CURVES = (
    "sigma_x", "sigma_p", "uncertainty_product", "uncertainty_bound",
)  # fmt: skip
_ACCURACIES = ("test_accuracy", "robust_accuracy")


def show(
    this: Run, request: Request, found: Found, done: Mapping[str, Execution]
) -> str:
    """Puts figures, words and curves where people look for them.

    Args:
      this: The run.
      request: What was asked.
      found: What was measured.
      done: Its executions.

    Returns:
      The words, Markdown.
    """
    (report,) = done["UncertaintyReporter"].outputs["report"]
    words = (report.path / "findings.md").read_text(encoding="utf-8")
    name = slug(request)
    files.write_text(this.path(f"uncertainty-{name}.md"), words)
    figures = {
        f"uncertainty-{name}-{path.name}": path.read_bytes()
        for path in sorted(report.path.glob("*.png"))
    }
    for figure, content in figures.items():
        files.write_bytes(this.path("figures", figure), content)
    for path in this.path("figures").glob(f"uncertainty-{name}-*.png"):
        # Of an earlier run, which measured more.
        if path.name not in figures:
            files.remove(path)
    _board(this, request, found, report.path, words)
    return words


def slug(request: Request) -> str:
    """Returns what files of this packet and domain are called by."""
    return re.sub(r"[^\w.]+", "-", f"{request.packet}-{request.setting()}")


def _board(
    this: Run, request: Request, found: Found, folder: pathlib.Path, words: str
) -> None:
    board, run = this.board, f"uncertainty/{slug(request)}"
    board.clear(run)
    board.text(run, "findings", words)
    pages = _pages(folder)
    if pages:
        step = max(this.config.training.epochs)
        board.images(run, step, pages, sheet="0_all")
    for label, points in _curves(request, found).items():
        curve = f"{run}/label-{label}"
        board.clear(curve)
        for epochs, values in sorted(points.items()):
            board.scalars(curve, epochs, values)


def _curves(request: Request, found: Found) -> dict[int, dict[int, dict]]:
    """Returns label -> epochs -> values by tag."""
    curves: dict[int, dict[int, dict]] = {}
    for each in found.measured:
        told = each.told
        # The untrained network is where the trained one begins.
        own = told["control"] in ("", "untrained") and each.records
        plain = told["temperature"] == 1 and (
            told["domain"] == request.setting()
        )
        if own and plain:
            points = curves.setdefault(told["label"], {})
            points[told["epochs"]] = _point(found, each)
    return curves


def _point(found: Found, of: Measured) -> dict[str, float]:
    rows = [of.row(measure, next(iter(of.records))) for measure in _CURVES]
    rows += [found.accuracy(measure, of.told) for measure in _ACCURACIES]
    return {f"uncertainty/{row.measure}": row.value for row in rows}


def _pages(folder: pathlib.Path) -> dict[str, tf.Tensor]:
    """Returns figures as images of one width: float32 [1, height, width, 3]."""
    pages = {
        path.stem: tf.io.decode_png(path.read_bytes(), channels=3)
        for path in sorted(folder.glob("*.png"))
    }
    width = max((page.shape[1] for page in pages.values()), default=0)
    return {
        stem: tf.pad(
            tf.cast(page[None], tf.float32) / 255,
            [[0, 0], [0, 0], [0, width - page.shape[1]], [0, 0]],
            constant_values=1.0,
        )
        for stem, page in pages.items()
    }
