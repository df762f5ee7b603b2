"""What the user sees of an uncertainty run: figures, curves, words."""

import pathlib
import re
from collections.abc import Mapping

import tensorflow as tf

from qup import files
from qup.orchestration import Execution
from qup.pipelines.opening import RunContext
from qup.pipelines.uncertainty_findings import AnalyzerOutput, RunResults
from qup.pipelines.uncertainty_request import UncertaintyRequest

_CURVE_MEASURES = ("sigma_x", "sigma_p", "uncertainty_product", "uncertainty_bound")
_ACCURACY_MEASURES = ("test_accuracy", "robust_accuracy")


def write_outputs(
    run: RunContext,
    request: UncertaintyRequest,
    results: RunResults,
    executions: Mapping[str, Execution],
) -> str:
    """Puts figures, words and curves where people look for them.

    Args:
      run: The run.
      request: What was asked.
      results: What was measured.
      executions: Its executions.

    Returns:
      The words, Markdown.
    """
    (report,) = executions["UncertaintyReporter"].outputs["report"]
    summary = (report.path / "findings.md").read_text(encoding="utf-8")
    name = build_slug(request)
    files.write_text(run.get_path(f"uncertainty-{name}.md"), summary)
    figures = {
        f"uncertainty-{name}-{path.name}": path.read_bytes()
        for path in sorted(report.path.glob("*.png"))
    }
    for figure, content in figures.items():
        files.write_bytes(run.get_path("figures", figure), content)
    for path in run.get_path("figures").glob(f"uncertainty-{name}-*.png"):
        # Of an earlier run, which measured more.
        if path.name not in figures:
            files.remove_path(path)
    _write_tensorboard(run, request, results, report.path, summary)
    return summary


def build_slug(request: UncertaintyRequest) -> str:
    """Returns what files of this packet and domain are called by."""
    return re.sub(r"[^\w.]+", "-", f"{request.packet}-{request.format_domain()}")


def _write_tensorboard(
    run: RunContext,
    request: UncertaintyRequest,
    results: RunResults,
    folder: pathlib.Path,
    summary: str,
) -> None:
    board, run_name = run.summaries, f"uncertainty/{build_slug(request)}"
    board.clear(run_name)
    board.write_text(run_name, "findings", summary)
    pages = _load_pages(folder)
    if pages:
        step = max(run.config.training.epochs)
        board.write_images(run_name, step, pages, sheet_tag="0_all")
    for label, points in _build_curves(request, results).items():
        curve = f"{run_name}/label-{label}"
        board.clear(curve)
        for epochs, values in sorted(points.items()):
            board.write_scalars(curve, epochs, values)


def _build_curves(request: UncertaintyRequest, results: RunResults) -> dict[int, dict[int, dict]]:
    """Returns label -> epochs -> values by tag."""
    curves: dict[int, dict[int, dict]] = {}
    for analysis in results.analyses:
        setting = analysis.setting
        # The untrained network is where the trained one begins.
        is_own_network = setting["control"] in ("", "untrained") and analysis.records
        is_unmodified = setting["temperature"] == 1 and (
            setting["domain"] == request.format_domain()
        )
        if is_own_network and is_unmodified:
            points = curves.setdefault(setting["label"], {})
            points[setting["epochs"]] = _build_point(results, analysis)
    return curves


def _build_point(results: RunResults, analysis: AnalyzerOutput) -> dict[str, float]:
    rows = [analysis.find_row(measure, next(iter(analysis.records))) for measure in _CURVE_MEASURES]
    rows += [results.find_accuracy_row(measure, analysis.setting) for measure in _ACCURACY_MEASURES]
    return {f"uncertainty/{row.measure}": row.value for row in rows}


def _load_pages(folder: pathlib.Path) -> dict[str, tf.Tensor]:
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
