"""What an uncertainty run found, as a table on a terminal."""

import shlex
import textwrap
from collections.abc import Iterator

from qup import uncertainty_rows
from qup.pipelines import uncertainty_cells as cells
from qup.pipelines import uncertainty_showing
from qup.pipelines.opening import RunContext
from qup.pipelines.uncertainty_findings import AnalyzerOutput, RunResults
from qup.pipelines.uncertainty_request import UncertaintyRequest

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
    name = uncertainty_showing.build_slug(request)
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
    yield from cells.align_columns(table_rows)
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
            cells_of_axis = [cells.format_with_error(row) for row in rows]
            table_rows.append([axis, _ESTIMATOR_LABELS[estimator], *cells_of_axis])
    if len(table_rows) > 1:
        yield ""
        yield f"Along single axes, {analysis.setting['epochs']} epochs:"
        yield ""
        yield from cells.align_columns(table_rows)


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
        return ["-", *accuracies, cells.NOT_ESTIMATED]
    rows = {
        name: analysis.find_row(name, estimator)
        for name in (
            *uncertainty_rows.ROW_MEASURES,
            "effective_sample_size",
            "r_hat",
            uncertainty_rows.BOUND_RESOLVED,
        )
    }
    _, metadata = analysis.records[estimator]
    all_agree = all(check["agrees"] for check in metadata["checks"])
    r_hat = rows["r_hat"]
    return [
        _ESTIMATOR_LABELS[estimator],
        *accuracies,
        cells.format_value(rows["sigma_x"]),
        cells.format_value(rows["sigma_p"]),
        cells.format_with_error(rows["uncertainty_product"]),
        cells.format_bound(rows["uncertainty_bound"], rows[uncertainty_rows.BOUND_RESOLVED]),
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
