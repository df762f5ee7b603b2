"""What predicts robustness: sigma_p, or what is simpler."""

import math
from collections.abc import Iterable, Iterator

from qup.core.measurements import Row
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report import document, queries, sections
from qup.reproduction.report.data import AccuracyKind, ReportData
from qup.reproduction.report.document import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.reproduction.report.figures import predictors as figures_predictors
from qup.reproduction.report.figures.predictors import Predictor, StepCurve
from qup.reproduction.report.queries import NetworkScores
from qup.reproduction.report.statistics import (
    MIN_INTERVAL_NETWORKS,
    MIN_NETWORKS,
    RankCorrelation,
    average_over_seeds,
)

_PREDICTORS_INTRO = (
    "Section 3.3 of the paper explains a low RA by a large sigma_p. Here it "
    "stands beside what is simpler: TA, the gradient of the loss at the test "
    "images, their margin over its gradient (to first order the distance to "
    "the boundary), and CLEVER. Each network counts once, with its mean over "
    "the seeds of which both numbers were measured; correlations are of "
    "ranks. The partial ones ask whether a number says anything of RA that "
    "margin and gradient do not say. Networks at several epochs of one "
    "training are kin, so p is too small rather than too large. sigma_x, "
    "sigma_p and their product are of one label, RA is of all."
)
_SIGNIFICANCE_LEVEL = 0.05
# Name: title, axis, logarithmic.
_PREDICTOR_AXES = {
    "test_accuracy": ("TA", "percent", False),
    "gradient_l1": ("input gradient", "mean |dl/dX|, summed over X", True),
    "margin_ratio": ("margin ratio", "mean m / |dm/dX|, of [0, 1]", True),
    "clever_linf": ("CLEVER", "mean score in L-inf, of [0, 1]", True),
    "sigma_x": ("sigma_x, box", "mean over pixels", False),
    "sigma_p": ("sigma_p, box", "mean over pixels", True),
    "uncertainty_product": ("product, box", "mean over pixels", True),
}
_COVARIATES = ("margin_ratio", "gradient_l1")
_PREDICTOR_COLUMNS = (
    "candidate",
    "networks",
    "rank correlation with RA",
    "p",
    "given margin ratio",
    "given input gradient",
    "verdict",
)


@sections.register(order=105)
def predictors(data: ReportData) -> Section:
    """Returns the section."""
    blocks: list[Block] = [Paragraph(_PREDICTORS_INTRO)]
    dataset_names = dict.fromkeys(
        network.dataset for table in data.scale.tables.values() for network in table.networks
    )
    for dataset in dataset_names:
        blocks += _iter_predictor_blocks(data, dataset)
    if len(blocks) == 1:
        blocks.append(Paragraph(f"It was {document.NOT_RUN}."))
    return Section("predictors", "What predicts robustness", tuple(blocks))


def _iter_predictor_blocks(data: ReportData, dataset: str) -> Iterator[Block]:
    networks = queries.collect_network_scores(data, dataset)
    kind = queries.choose_attack_kind(networks)
    if kind is None:
        return
    networks = [network for network in networks if kind in network.robust]
    if len(networks) < MIN_NETWORKS:
        yield Paragraph(
            f"{dataset}: {document.format_count(len(networks), 'network')}, too few to correlate."
        )
        return
    correlations_by_name = {
        name: queries.correlate_with_robustness(networks, kind, name) for name in _PREDICTOR_AXES
    }
    title = kind.format_title(data)
    networks_text = document.format_count(len(networks), "network")
    seeds = min(network.robust[kind].num_seeds for network in networks)
    yield Paragraph(
        f"{dataset}: {networks_text} with {title}, each of at least "
        f"{document.format_count(seeds, 'seed')}: "
        f"{'; '.join(network.title for network in networks)}. "
        f"{queries.format_clever_sampling(networks)}"
    )
    num_tests = sum(x is not None for x in correlations_by_name.values())
    has_intervals = len(networks) >= MIN_INTERVAL_NETWORKS
    body = tuple(
        _build_predictor_cells(networks, kind, name, correlations_by_name[name], num_tests)
        for name in _PREDICTOR_AXES
    )
    yield Table(
        _PREDICTOR_COLUMNS,
        body,
        f"{dataset}, {title}: Spearman's correlation"
        f"{', with its 95 % interval' if has_intervals else ''}. A "
        f"verdict needs p below {_SIGNIFICANCE_LEVEL} / {max(num_tests, 1)}, for as many were "
        f"tried. {_describe_least_p_value(correlations_by_name.values())}",
    )
    yield _build_predictor_figure(networks, kind, correlations_by_name, dataset, title)


def _describe_least_p_value(tested: Iterable[RankCorrelation | None]) -> str:
    """Says where so few networks cannot have a verdict at all."""
    computed = [correlation for correlation in tested if correlation is not None]
    if not computed:
        return ""
    most_networks = max(correlation.n for correlation in computed)
    least_p_value = 2 / math.factorial(most_networks)
    if least_p_value < _SIGNIFICANCE_LEVEL / len(computed):
        return ""
    return f"Of {most_networks} networks p cannot be below {least_p_value:.2g}: none can have it."


def _build_predictor_cells(
    networks: list[NetworkScores],
    kind: AccuracyKind,
    name: str,
    correlation: RankCorrelation | None,
    num_tests: int,
) -> tuple[Cell, ...]:
    scored_networks = [network for network in networks if queries.has_finite_score(network, name)]
    rows = tuple(
        row for network in scored_networks for row in queries.get_score(network, name).rows
    )
    if not scored_networks:
        empty = (Cell(document.NOT_RUN, tone="muted"),)
        return (Cell(_PREDICTOR_AXES[name][0]), Cell("0"), *(5 * empty))
    partial = (
        Cell("-", tone="muted")
        if covariate == name
        else _format_correlation(queries.correlate_with_robustness(networks, kind, name, covariate))
        for covariate in _COVARIATES
    )
    return (
        Cell(_PREDICTOR_AXES[name][0]),
        Cell(str(len(scored_networks))),
        _format_correlation(correlation, rows),
        Cell(f"{correlation.p_value:.2g}" if correlation else "-"),
        *partial,
        _judge_correlation(correlation, num_tests),
    )


def _format_correlation(correlation: RankCorrelation | None, rows: tuple = ()) -> Cell:
    if correlation is None:
        return Cell("too few that differ", tone="muted")
    text = f"{correlation.value:+.2f}"
    if correlation.interval:
        text += f" [{correlation.interval[0]:+.2f}, {correlation.interval[1]:+.2f}]"
    return Cell(text, rows)


def _judge_correlation(correlation: RankCorrelation | None, num_tests: int) -> Cell:
    if correlation is None:
        return Cell("undecided: too few that differ", tone="muted")
    if correlation.p_value >= _SIGNIFICANCE_LEVEL / num_tests:
        return Cell(f"undecided at n = {correlation.n}", tone="muted")
    direction = "rises" if correlation.value > 0 else "falls"
    return Cell(f"RA {direction} with it")


def _build_predictor_figure(
    networks: list[NetworkScores],
    kind: AccuracyKind,
    correlations_by_name: dict[str, RankCorrelation | None],
    dataset: str,
    title: str,
) -> ReportFigure:
    drawn_predictors = []
    for name, (predictor_title, label, logarithmic) in _PREDICTOR_AXES.items():
        values = {
            network.title: queries.get_score(network, name).point
            for network in networks
            if queries.has_finite_score(network, name)
        }
        positive = all(point[0] > 0 for point in values.values())
        if values:
            drawn_predictors.append(
                Predictor(
                    predictor_title,
                    label,
                    values,
                    correlations_by_name[name],
                    logarithmic and positive,
                )
            )
    drawn_networks = {
        network.title: (network.style, network.robust[kind].point) for network in networks
    }
    return ReportFigure(
        f"predictors-{dataset}",
        figures_predictors.plot_predictors(
            drawn_predictors,
            drawn_networks,
            title=dataset,
            attack=title.removeprefix("RA, "),
            note="Bars: 95 % intervals.",
        ),
        f"RA of {document.format_count(len(networks), 'network')} on {dataset} over "
        "every candidate.",
        f"{title} of every network on {dataset} over what might predict it.",
    )


# Eqs. 21 and 22: RA by sign steps and by gradient steps.


STEP_EVALUATION = "gradient_steps"
STEP_LOSSES = ("cross_entropy", "squared", "margin")
_STEPS_INTRO = (
    "Eq. 21 replaces the sign of the gradient by the gradient itself. Here "
    "steps along both have the same length, in L2 or in L-inf, image by "
    "image; the cosine between a gradient and its sign would be 0.798 for "
    "independent Gaussian entries, and is smaller where few pixels carry the "
    "gradient. Attacks of the same L-inf size are weaker along the gradient, "
    "because most of its entries are smaller than its largest."
)


@sections.register(order=70)
def eq21(data: ReportData) -> Section:
    """Returns the section."""
    blocks: list[Block] = [Paragraph(_STEPS_INTRO)]
    head = ("network", "epochs", *(f"cosine, {loss}" for loss in STEP_LOSSES))
    body = []
    for table in data.scale.tables.values():
        network = table.networks[0]
        for epochs in table.epochs:
            rows = data.find(
                dataset=network.dataset,
                model=network.model,
                epochs=epochs,
                evaluation=STEP_EVALUATION,
            )
            if rows:
                body.append(_build_cosine_cells(network, epochs, rows))
                blocks.append(_build_steps_figure(network, epochs, rows))
    if not body:
        blocks.append(Paragraph(f"It was {document.NOT_RUN}."))
    else:
        blocks.insert(1, Table(head, tuple(body), document.INTERVAL_NOTE))
    return Section("eq21", "Eqs. 21 and 22: sign or gradient", tuple(blocks))


def _build_cosine_cells(network: NetworkPreset, epochs: int, rows: list[Row]) -> tuple:
    cells = [
        document.format_cell(
            average_over_seeds(
                [
                    row
                    for row in rows
                    if row.measure == "gradient_sign_cosine" and row.parameters["loss"] == loss
                ]
            ),
            3,
        )
        for loss in STEP_LOSSES
    ]
    title = f"{network.title}, {network.dataset}"
    return (Cell(title), Cell(str(epochs)), *cells)


def _build_steps_figure(network: NetworkPreset, epochs: int, rows: list[Row]) -> ReportFigure:
    rows_by_curve: dict[tuple, dict[float, list[Row]]] = {}
    for row in rows:
        if row.measure == "robust_accuracy":
            parameters = row.parameters
            key = (parameters["direction"], parameters["loss"], parameters["num_steps"])
            rows_by_curve.setdefault(key, {}).setdefault(row.epsilon, []).append(row)
    curves = []
    for key, by_epsilon in rows_by_curve.items():
        points = {}
        for epsilon, epsilon_rows in by_epsilon.items():
            estimate = average_over_seeds(epsilon_rows)
            points[epsilon] = (estimate.value, estimate.low, estimate.high)
        curves.append(StepCurve(*key, points))
    title = document.format_network(network.title, network.dataset, epochs)
    return ReportFigure(
        f"eq21-{network.dataset}-{network.model}-{epochs}",
        figures_predictors.plot_gradient_steps(curves, title=title, note="bars: 95 % intervals"),
        f"Robust accuracy over epsilon by direction and loss: {title}.",
        f"RA by steps along the sign and along the gradient: {title}.",
    )
