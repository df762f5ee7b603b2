"""Predictors of robust accuracy, and Eqs. 21 and 22: sign or gradient."""

import math
from collections.abc import Iterator

from qup.reproduction.report import document, queries, sections
from qup.reproduction.report.data import AccuracyKind, ReportData, estimate_groups
from qup.reproduction.report.document import Block, Cell, Paragraph, ReportFigure, Table
from qup.reproduction.report.figures import predictors as figures_predictors
from qup.reproduction.report.figures.predictors import Predictor, StepCurve
from qup.reproduction.report.figures.style import NetworkStyle
from qup.reproduction.report.queries import NetworkScores
from qup.reproduction.report.statistics import MIN_INTERVAL_NETWORKS, MIN_NETWORKS, RankCorrelation

_SIGNIFICANCE_LEVEL = 0.05
# Name: title, label of its axis, logarithmic.
_PREDICTORS = {
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
    "predictor",
    "networks",
    "rank correlation with RA",
    "p",
    "given margin ratio",
    "given input gradient",
    "verdict",
)
_STEP_LOSSES = ("cross_entropy", "squared", "margin")
_Correlations = dict[str, RankCorrelation | None]


@sections.register(order=105, title="Predictors of robustness")
def predictors(data: ReportData) -> Iterator[Block]:
    """Yields rank correlations of RA with its predictors, per data set."""
    for dataset in dict.fromkeys(network.dataset for network, _ in data.list_networks()):
        networks = queries.collect_network_scores(data, dataset)
        kind = queries.choose_attack_kind(networks)
        if kind is not None:
            networks = [network for network in networks if kind in network.robust]
            yield from _iterate_predictor_blocks(data, dataset, networks, kind)


def _iterate_predictor_blocks(
    data: ReportData, dataset: str, networks: list[NetworkScores], kind: AccuracyKind
) -> Iterator[Block]:
    dataset_title, attack = document.format_dataset(dataset), kind.format_title(data)
    networks_text = document.format_count(len(networks), "network")
    if len(networks) < MIN_NETWORKS:
        yield Paragraph(f"{dataset_title}: {networks_text}, too few to correlate.")
        return
    correlations = {
        name: queries.correlate_with_robustness(networks, kind, name) for name in _PREDICTORS
    }
    num_seeds = min(network.robust[kind].num_seeds for network in networks)
    yield Paragraph(
        f"{dataset_title}: {networks_text} with {attack}, each with at least "
        f"{document.format_count(num_seeds, 'seed')}: "
        f"{'; '.join(network.title for network in networks)}. {_describe_clever(networks)}"
    )
    num_tests = sum(correlation is not None for correlation in correlations.values())
    has_intervals = len(networks) >= MIN_INTERVAL_NETWORKS
    yield Table(
        _PREDICTOR_COLUMNS,
        tuple(
            _build_predictor_cells(networks, kind, name, correlation, num_tests)
            for name, correlation in correlations.items()
        ),
        f"{dataset_title}, {attack}: Spearman's correlation"
        f"{', with its 95 % interval' if has_intervals else ''}. A verdict needs p below "
        f"{_SIGNIFICANCE_LEVEL} / {max(num_tests, 1)}, the number of tests. "
        f"{_describe_least_p_value(correlations)}",
    )
    yield _build_predictor_figure(networks, kind, correlations, dataset, attack)


def _describe_clever(networks: list[NetworkScores]) -> str:
    """Returns the sampling of CLEVER; "" if it was not run."""
    estimates = (network.values.get("clever_linf") for network in networks)
    row = next((estimate.rows[0] for estimate in estimates if estimate), None)
    if row is None:
        return ""
    return (
        f"CLEVER: {row.parameters['clever_num_batches']} batches of "
        f"{row.parameters['clever_num_samples']} samples in a ball of radius "
        f"{row.parameters['clever_radius']:g} around each of {row.n} images; the radius is the "
        "largest possible score."
    )


def _describe_least_p_value(correlations: _Correlations) -> str:
    """Returns a warning if the networks are too few for any verdict."""
    computed = [correlation for correlation in correlations.values() if correlation]
    if not computed:
        return ""
    most_networks = max(correlation.n for correlation in computed)
    least_p_value = 2 / math.factorial(most_networks)
    if least_p_value < _SIGNIFICANCE_LEVEL / len(computed):
        return ""
    return (
        f"With {most_networks} networks p cannot be below {least_p_value:.2g}: no verdict is "
        "possible."
    )


def _build_predictor_cells(
    networks: list[NetworkScores],
    kind: AccuracyKind,
    name: str,
    correlation: RankCorrelation | None,
    num_tests: int,
) -> tuple[Cell, ...]:
    title, scores = _PREDICTORS[name][0], [network.get_score(name) for network in networks]
    rows = tuple(row for score in scores if score for row in score.rows)
    if not rows:
        return (Cell(title), Cell("0"), *(5 * (Cell(document.NOT_RUN, tone="muted"),)))
    partial = (
        Cell("-", tone="muted")
        if covariate == name
        else _format_correlation(queries.correlate_with_robustness(networks, kind, name, covariate))
        for covariate in _COVARIATES
    )
    return (
        Cell(title),
        Cell(str(sum(score is not None for score in scores))),
        _format_correlation(correlation, rows),
        Cell(f"{correlation.p_value:.2g}" if correlation else "-"),
        *partial,
        _judge_correlation(correlation, num_tests),
    )


def _format_correlation(correlation: RankCorrelation | None, rows: tuple = ()) -> Cell:
    if correlation is None:
        return Cell("too few different networks", tone="muted")
    text = f"{correlation.value:+.2f}"
    if correlation.interval:
        text += f" [{correlation.interval[0]:+.2f}, {correlation.interval[1]:+.2f}]"
    return Cell(text, rows)


def _judge_correlation(correlation: RankCorrelation | None, num_tests: int) -> Cell:
    if correlation is None:
        return Cell("undecided: too few different networks", tone="muted")
    if correlation.p_value >= _SIGNIFICANCE_LEVEL / num_tests:
        return Cell(f"undecided at n = {correlation.n}", tone="muted")
    return Cell(f"RA {'rises' if correlation.value > 0 else 'falls'} with it")


def _build_predictor_figure(
    networks: list[NetworkScores],
    kind: AccuracyKind,
    correlations: _Correlations,
    dataset: str,
    attack: str,
) -> ReportFigure:
    drawn_predictors = []
    for name, (title, label, logarithmic) in _PREDICTORS.items():
        scores = {network.title: network.get_score(name) for network in networks}
        values = {key: score.point for key, score in scores.items() if score}
        is_positive = all(value > 0 for value, _, _ in values.values())
        if values:
            drawn_predictors.append(
                Predictor(title, label, values, correlations[name], logarithmic and is_positive)
            )
    drawn_networks = {
        network.title: (
            NetworkStyle(network.preset.title, network.preset.model, network.method or "standard"),
            network.robust[kind].point,
        )
        for network in networks
    }
    dataset_title = document.format_dataset(dataset)
    return ReportFigure(
        f"predictors-{dataset}",
        figures_predictors.plot_predictors(
            drawn_predictors,
            drawn_networks,
            title=dataset_title,
            attack=attack.removeprefix("RA, "),
            note="Bars: 95 % intervals.",
        ),
        f"RA of {document.format_count(len(networks), 'network')} on {dataset_title} over each "
        "predictor.",
        f"{attack} of each network on {dataset_title} over its possible predictors.",
    )


@sections.register(order=70, title="Eqs. 21 and 22: sign or gradient")
def eq21(data: ReportData) -> Iterator[Block]:
    """Yields the cosines of gradients and their signs, and RA under steps along both."""
    body, figures = [], []
    for table in data.scale.tables.values():
        network = table.networks[0]
        for epochs in table.epochs:
            frame = data.select(
                dataset=network.dataset,
                model=network.model,
                epochs=epochs,
                evaluation="gradient_steps",
            )
            if frame.empty:
                continue
            title = document.format_network(network, epochs)
            cosines = estimate_groups(frame[frame["measure"] == "gradient_sign_cosine"], "loss")
            network_title = f"{network.title}, {document.format_dataset(network.dataset)}"
            cells = (document.format_cell(cosines.get(loss), 3) for loss in _STEP_LOSSES)
            body.append((Cell(network_title), Cell(str(epochs)), *cells))
            curves: dict[tuple, dict] = {}
            robust = frame[frame["measure"] == "robust_accuracy"]
            keys = ("direction", "loss", "num_steps", "epsilon")
            for (*key, epsilon), estimate in estimate_groups(robust, *keys).items():
                curves.setdefault(tuple(key), {})[epsilon] = estimate.point
            figures.append(
                ReportFigure(
                    f"eq21-{network.dataset}-{network.model}-{epochs}",
                    figures_predictors.plot_gradient_steps(
                        [StepCurve(*key, points) for key, points in curves.items()],
                        title=title,
                        note="bars: 95 % intervals",
                    ),
                    f"Robust accuracy over epsilon by direction and loss: {title}.",
                    f"RA under steps along the sign and along the gradient: {title}.",
                )
            )
    if body:
        head = ("network", "epochs", *(f"cosine, {loss}" for loss in _STEP_LOSSES))
        yield Table(head, tuple(body), document.INTERVAL_NOTE)
        yield from figures
