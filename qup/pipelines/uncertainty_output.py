"""What the nodes of an uncertainty run left, read back."""

import dataclasses
import itertools
import json
import math
import os
import pathlib
import re
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from qup.core import files, measurements
from qup.core.measurements import Row
from qup.orchestration import Execution
from qup.pipelines.run import RunContext
from qup.pipelines.uncertainty_request import UncertaintyRequest
from qup.uncertainty import measurements as uncertainty_measurements
from qup.uncertainty import records


@dataclasses.dataclass(frozen=True)
class AnalyzerOutput:
    """What one analyzer left.

    Attributes:
      setting: What it measured, and what was "refused" and why.
      records: Of each estimator, see `records.load`.
      rows: Its rows.
    """

    setting: Mapping[str, Any]
    records: Mapping[str, tuple]
    rows: list[Row]

    def find_row(self, measure: str, estimator: str, axis: str | None = None) -> Row | None:
        """Returns the mean over the pixels, or what was found along an axis.

        Where there is one row of a measure, it is that one.
        """
        for row in self.rows:
            parameters = row.parameters
            if (
                row.measure == measure
                and parameters["estimator"] == estimator
                and parameters.get("statistic", "mean") == "mean"
                and parameters.get("axis") == axis
            ):
                return row
        return None

    def list_axes(self, estimator: str) -> list[str]:
        """Returns the names of the axes that have rows of their own."""
        axis_names = (
            row.parameters.get("axis")
            for row in self.rows
            if row.parameters["estimator"] == estimator
        )
        return list(dict.fromkeys(name for name in axis_names if name))


@dataclasses.dataclass(frozen=True)
class RunResults:
    """What a run measured.

    Attributes:
      analyses: Of every analyzer, in their order.
      accuracies: Rows of every meter.
    """

    analyses: list[AnalyzerOutput]
    accuracies: list[Row]

    @property
    def rows(self) -> list[Row]:
        """Every row."""
        return [*self.accuracies, *(row for analysis in self.analyses for row in analysis.rows)]

    @property
    def records(self) -> list[tuple]:
        """Every record."""
        return [record for analysis in self.analyses for record in analysis.records.values()]

    def find_accuracy_row(self, measure: str, setting: Mapping[str, Any]) -> Row | None:
        """Returns the row of a network's accuracy, at its temperature."""
        for row in self.accuracies:
            if row.measure == measure and all(
                setting[name] == value
                for name, value in (
                    ("model", row.model),
                    ("epochs", row.epochs),
                    ("control", row.parameters["control"]),
                    ("temperature", row.parameters["temperature"]),
                )
            ):
                return row
        return None


def load_results(run: RunContext, executions: Mapping[str, Execution]) -> RunResults:
    """Reads what the nodes left; artifacts are told from the workdir."""
    analyses, accuracies = [], []
    for execution in executions.values():
        rows: list[Row] = []
        for artifact in execution.outputs.get("evaluation", ()):
            rows += measurements.read_rows(artifact.path / "measurements.csv")
        for artifact in execution.outputs.get("relations", ()):
            analyses.append(_load_analyzer_output(run, artifact.path, rows))
        if execution.component == "AccuracyMeter":
            accuracies += rows
    return RunResults(analyses, accuracies)


def _load_analyzer_output(run: RunContext, folder: pathlib.Path, rows: list[Row]) -> AnalyzerOutput:
    setting = json.loads((folder / "setting.json").read_text(encoding="utf-8"))
    loaded_records = {path.stem: records.load(path) for path in sorted(folder.glob("*.npz"))}
    relative_folder = os.path.relpath(folder, run.workdir.path)
    rows = [dataclasses.replace(row, artifact=f"{relative_folder}/{row.artifact}") for row in rows]
    return AnalyzerOutput(setting, loaded_records, rows)


# What the user sees of an uncertainty run: figures, curves, words.


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


# Cells of a table: numbers with their errors, in columns.


NOT_ESTIMATED = "not estimated"


def format_value(row: Row) -> str:
    """Returns five digits."""
    return f"{row.value:.5g}" if math.isfinite(row.value) else NOT_ESTIMATED


def format_with_error(row: Row) -> str:
    """Returns "0.50012 +- 0.00031": two digits of the error."""
    if not math.isfinite(row.value):
        return NOT_ESTIMATED
    if row.stderr is None:
        return f"{row.value:.5g} +- ?"
    if row.stderr == 0:
        return f"{row.value:.6g} +- 0"
    digits = max(0, 1 - math.floor(math.log10(row.stderr)))
    if digits < 8 or row.value == 0:
        return f"{row.value:.{digits}f} +- {row.stderr:.{digits}f}"
    digits += math.floor(math.log10(abs(row.value)))
    return f"{row.value:.{min(max(digits, 0), 6)}e} +- {row.stderr:.1e}"


def format_bound(row: Row, resolved_row: Row | None) -> str:
    """Returns the bound, an upper limit where it is mostly noise."""
    if resolved_row is not None and resolved_row.value < 50 and row.value > 0:
        return f"< {row.value:.4g}"
    return format_value(row)


def align_columns(table_rows: list[list[str]]) -> Iterator[str]:
    """Yields cells in columns: the first to the left, others to the right."""
    columns = itertools.zip_longest(*table_rows, fillvalue="")
    widths = [max(map(len, column)) for column in columns]
    for number, cells in enumerate(table_rows):
        first, *rest = zip(cells, widths, strict=False)
        yield first[0].ljust(first[1]) + "".join(f"  {cell:>{width}}" for cell, width in rest)
        if number == 0:
            yield "-" * (sum(widths) + 2 * len(widths) - 2)


# What an uncertainty run found, as a table on a terminal.


_TABLE_COLUMNS = (
    "network",
    "epochs",
    "by",
    "TA",
    "RA",
    "sigma_x",
    "sigma_p",
    "product",
    "bound",
    "ESS",
    "R-hat",
    "checks",
)
_AXIS_COLUMNS = ("sigma_x", "sigma_p", "product", "bound")
_AXIS_MEASURES = ("sigma_x", "sigma_p", "uncertainty_product", "uncertainty_bound")
_ESTIMATOR_LABELS = {"importance": "IS", "mcmc": "HMC"}
_TEXT_WIDTH = 100


def format_report(
    run: RunContext, request: UncertaintyRequest, results: RunResults, summary: str
) -> str:
    """Returns the table of every label, the words, and where all lies.

    Args:
      run: The run.
      request: What was asked.
      results: What was measured.
      summary: The findings.
    """
    lines = []
    for label in sorted({analysis.setting["label"] for analysis in results.analyses}):
        lines += _format_label(
            results,
            [analysis for analysis in results.analyses if analysis.setting["label"] == label],
        )
    robust_row = next(row for row in results.accuracies if row.attack)
    root, board = (
        shlex.quote(str(path)) for path in (run.pipeline_root, run.get_path("tensorboard"))
    )
    name = build_slug(request)
    return "\n".join(
        [
            *lines,
            "Means over pixels +- one standard error; bound: 1/2 |1 - B|, an "
            "upper limit (<) where noise hides it;",
            f"TA, RA ({robust_row.attack}, epsilon {robust_row.epsilon:.4g}): percent "
            f"of {robust_row.n} images; IS: importance sampling;",
            "HMC: Hamiltonian Monte Carlo; ESS: effective sample size, of HMC "
            "the median of the axes'.",
            "",
            *(
                line
                for paragraph in summary.splitlines()
                for line in textwrap.wrap(paragraph, _TEXT_WIDTH) or [""]
            ),
            "",
            f"Measurements  {run.get_path('measurements.csv')}",
            f"Figures       {run.get_path('figures')}/uncertainty-{name}-*.png",
            f"Findings      {run.get_path(f'uncertainty-{name}.md')}",
            f"Lineage       python -m bin.show_lineage {root}",
            f"TensorBoard   tensorboard --logdir {board}",
        ]
    )


def _format_label(results: RunResults, analyses: list[AnalyzerOutput]) -> Iterator[str]:
    """Yields the lines of one label."""
    setting = analyses[0].setting
    centre = setting["centre"]
    if centre == "mean":
        centre = "the mean of its training images"
    centre_text = f" around {centre}" if ":" in setting["domain"] else ""
    yield (
        f"{setting['model']} on {setting['dataset']}, label {setting['label']}, packet "
        f"{setting['packet']}, {setting['domain']}{centre_text}, seed {setting['seed']}"
    )
    yield ""
    table_rows, notes = [list(_TABLE_COLUMNS)], []
    for analysis in analyses:
        title = _format_title(analysis, setting["domain"])
        table_rows += [
            [title, str(analysis.setting["epochs"]), *_format_cells(results, analysis, estimator)]
            for estimator in analysis.records or (None,)
        ]
        notes += [f"{title}, {message}" for message in _format_notes(analysis)]
    yield from align_columns(table_rows)
    yield from _format_axes(
        [analysis for analysis in analyses if _is_main_network(analysis, setting["domain"])][-1]
    )
    for note in notes:
        yield from textwrap.wrap(note, _TEXT_WIDTH, initial_indent="  ", subsequent_indent="    ")
    yield ""


def _is_main_network(analysis: AnalyzerOutput, domain: str) -> bool:
    """Says whether a network is there for its own sake, as it is."""
    setting = analysis.setting
    is_unmodified = setting["temperature"] == 1 and setting["domain"] == domain
    return is_unmodified and not setting["control"]


def _format_axes(analysis: AnalyzerOutput) -> Iterator[str]:
    """Yields the lines of the axes that were asked for by name."""
    table_rows = [["axis", *_TABLE_COLUMNS[2:3], *_AXIS_COLUMNS]]
    for estimator in analysis.records:
        for axis in analysis.list_axes(estimator):
            rows = [analysis.find_row(name, estimator, axis) for name in _AXIS_MEASURES]
            cells_of_axis = [format_with_error(row) for row in rows]
            table_rows.append([axis, _ESTIMATOR_LABELS[estimator], *cells_of_axis])
    if len(table_rows) > 1:
        yield ""
        yield f"Along single axes, {analysis.setting['epochs']} epochs:"
        yield ""
        yield from align_columns(table_rows)


def _format_notes(analysis: AnalyzerOutput) -> Iterator[str]:
    """Yields the words of checks that disagree, and of refusals."""
    for estimator, (_, metadata) in analysis.records.items():
        for check in metadata["checks"]:
            if not check["agrees"]:
                yield f"{_ESTIMATOR_LABELS[estimator]}: {check['words']}"
    for estimator, reason in analysis.setting["refused"].items():
        yield f"{_ESTIMATOR_LABELS[estimator]}: {reason}"


def _format_title(analysis: AnalyzerOutput, domain: str) -> str:
    """Returns what tells a network from the others of its label."""
    setting = analysis.setting
    title = setting["control"].replace("_", " ") or "trained"
    if setting["temperature"] != 1:
        title += f", T = {setting['temperature']:g}"
    if setting["domain"] != domain:
        title += f", {setting['domain']}"
    return title


def _format_cells(
    results: RunResults, analysis: AnalyzerOutput, estimator: str | None
) -> list[str]:
    """Returns the cells behind the epochs; of None, that nothing is known."""
    accuracies = _format_accuracies(results, analysis)
    if estimator is None:
        return ["-", *accuracies, NOT_ESTIMATED]
    rows = {
        name: analysis.find_row(name, estimator)
        for name in (
            *uncertainty_measurements.ROW_MEASURES,
            "effective_sample_size",
            "r_hat",
            uncertainty_measurements.BOUND_RESOLVED,
        )
    }
    _, metadata = analysis.records[estimator]
    all_agree = all(check["agrees"] for check in metadata["checks"])
    r_hat = rows["r_hat"]
    return [
        _ESTIMATOR_LABELS[estimator],
        *accuracies,
        format_value(rows["sigma_x"]),
        format_value(rows["sigma_p"]),
        format_with_error(rows["uncertainty_product"]),
        format_bound(rows["uncertainty_bound"], rows[uncertainty_measurements.BOUND_RESOLVED]),
        f"{rows['effective_sample_size'].value:,.0f}",
        "-" if r_hat is None else f"{r_hat.value:.4f}",
        "ok" if all_agree else "see below",
    ]


def _format_accuracies(results: RunResults, analysis: AnalyzerOutput) -> list[str]:
    """Returns TA and RA; those of other widths are the network's own."""
    rows = (
        results.find_accuracy_row(measure, analysis.setting)
        for measure in ("test_accuracy", "robust_accuracy")
    )
    return [f"{row.value:.2f}" for row in rows]
