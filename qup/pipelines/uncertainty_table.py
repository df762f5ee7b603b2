"""What an uncertainty run found, as a table on a terminal."""

import shlex
import textwrap
from collections.abc import Iterator

from qup import uncertainty_rows
from qup.pipelines import uncertainty_cells as cells
from qup.pipelines import uncertainty_showing
from qup.pipelines.opening import Run
from qup.pipelines.uncertainty_findings import Found, Measured
from qup.pipelines.uncertainty_request import Request

_COLUMNS = (
    "network", "epochs", "by", "TA", "RA", "sigma_x", "sigma_p", "product",
    "bound", "ESS", "R-hat", "checks",
)  # fmt: skip
_ALONG = ("sigma_x", "sigma_p", "product", "bound")
_MEASURES = (
    "sigma_x", "sigma_p", "uncertainty_product", "uncertainty_bound",
)  # fmt: skip
_BY = {"importance": "IS", "mcmc": "HMC"}
_WIDE = 100


def text(this: Run, request: Request, found: Found, words: str) -> str:
    """Returns the table of every label, the words, and where all lies.

    Args:
      this: The run.
      request: What was asked.
      found: What was measured.
      words: The findings.
    """
    lines = []
    for label in sorted({each.told["label"] for each in found.measured}):
        lines += _label(
            found, [e for e in found.measured if e.told["label"] == label]
        )
    robust = next(r for r in found.accuracies if r.attack)
    root, board = (
        shlex.quote(str(path))
        for path in (this.pipeline_root, this.path("tensorboard"))
    )
    name = uncertainty_showing.slug(request)
    return "\n".join(
        [
            *lines,
            "Means over pixels +- one standard error; bound: 1/2 |1 - B|, an "
            "upper limit (<) where noise hides it;",
            f"TA, RA ({robust.attack}, epsilon {robust.epsilon:.4g}): percent "
            f"of {robust.n} images; IS: importance sampling;",
            "HMC: Hamiltonian Monte Carlo; ESS: effective sample size, of HMC "
            "the median of the axes'.",
            "",
            *(
                line
                for part in words.splitlines()
                for line in textwrap.wrap(part, _WIDE) or [""]
            ),
            "",
            f"Measurements  {this.path('measurements.csv')}",
            f"Figures       {this.path('figures')}/uncertainty-{name}-*.png",
            f"Findings      {this.path(f'uncertainty-{name}.md')}",
            f"Lineage       python -m bin.show_lineage {root}",
            f"TensorBoard   tensorboard --logdir {board}",
        ]
    )


def _label(found: Found, measured: list[Measured]) -> Iterator[str]:
    """Yields the lines of one label."""
    told = measured[0].told
    centre = told["centre"]
    if centre == "mean":
        centre = "the mean of its training images"
    around = f" around {centre}" if ":" in told["domain"] else ""
    yield (
        f"{told['model']} on {told['dataset']}, label {told['label']}, packet "
        f"{told['packet']}, {told['domain']}{around}, seed {told['seed']}"
    )
    yield ""
    lines, notes = [list(_COLUMNS)], []
    for each in measured:
        title = _title(each, told["domain"])
        lines += [
            [title, str(each.told["epochs"]), *_cells(found, each, estimator)]
            for estimator in each.records or (None,)
        ]
        notes += [f"{title}, {words}" for words in _notes(each)]
    yield from cells.aligned(lines)
    yield from _axes([e for e in measured if _own(e, told["domain"])][-1])
    for note in notes:
        yield from textwrap.wrap(note, _WIDE, initial_indent="  ",
                                 subsequent_indent="    ")  # fmt: skip
    yield ""


def _own(of: Measured, domain: str) -> bool:
    """Says whether a network is there for its own sake, as it is."""
    told = of.told
    plain = told["temperature"] == 1 and told["domain"] == domain
    return plain and not told["control"]


def _axes(of: Measured) -> Iterator[str]:
    """Yields the lines of the axes that were asked for by name."""
    lines = [["axis", *_COLUMNS[2:3], *_ALONG]]
    for estimator in of.records:
        for axis in of.axes(estimator):
            rows = [of.row(name, estimator, axis) for name in _MEASURES]
            told = [cells.with_error(row) for row in rows]
            lines.append([axis, _BY[estimator], *told])
    if len(lines) > 1:
        yield ""
        yield f"Along single axes, {of.told['epochs']} epochs:"
        yield ""
        yield from cells.aligned(lines)


def _notes(of: Measured) -> Iterator[str]:
    """Yields the words of checks that disagree, and of refusals."""
    for estimator, (_, held) in of.records.items():
        for check in held["checks"]:
            if not check["agrees"]:
                yield f"{_BY[estimator]}: {check['words']}"
    for estimator, reason in of.told["refused"].items():
        yield f"{_BY[estimator]}: {reason}"


def _title(of: Measured, domain: str) -> str:
    """Returns what tells a network from the others of its label."""
    told = of.told
    words = told["control"].replace("_", " ") or "trained"
    if told["temperature"] != 1:
        words += f", T = {told['temperature']:g}"
    if told["domain"] != domain:
        words += f", {told['domain']}"
    return words


def _cells(found: Found, of: Measured, estimator: str | None) -> list[str]:
    """Returns the cells behind the epochs; of None, that nothing is known."""
    accuracies = _accuracies(found, of)
    if estimator is None:
        return ["-", *accuracies, cells.UNKNOWN]
    rows = {
        name: of.row(name, estimator)
        for name in (*uncertainty_rows.MEASURES, "effective_sample_size",
                     "r_hat", uncertainty_rows.RESOLVED)
    }  # fmt: skip
    _, held = of.records[estimator]
    good = all(check["agrees"] for check in held["checks"])
    r_hat = rows["r_hat"]
    return [
        _BY[estimator],
        *accuracies,
        cells.value(rows["sigma_x"]),
        cells.value(rows["sigma_p"]),
        cells.with_error(rows["uncertainty_product"]),
        cells.bound(rows["uncertainty_bound"], rows[uncertainty_rows.RESOLVED]),
        f"{rows['effective_sample_size'].value:,.0f}",
        "-" if r_hat is None else f"{r_hat.value:.4f}",
        "ok" if good else "see below",
    ]


def _accuracies(found: Found, of: Measured) -> list[str]:
    """Returns TA and RA; those of other widths are the network's own."""
    rows = (
        found.accuracy(measure, of.told)
        for measure in ("test_accuracy", "robust_accuracy")
    )
    return [f"{row.value:.2f}" for row in rows]
