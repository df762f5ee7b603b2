"""Networks, their RA, and the numbers that may go with it, out of rows.

A network is an architecture with its training and its epochs, the mean over
its seeds: seeds of one network are no further networks.

```python
for of in measured(material, "mnist"):
    of.robust, of.values["sigma_p"]
```
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from scipy import stats

from qup.core import errors
from qup.core.measurements import Row
from qup.reproduction.imagenet import fits
from qup.reproduction.imagenet.fits import FitPoint, LineFit
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report import document
from qup.reproduction.report.data import (
    AccuracyKind,
    ReportData,
    build_network_filters,
    estimate_accuracy,
    find_accuracy_rows,
)
from qup.reproduction.report.figures import imagenet
from qup.reproduction.report.figures.style import NetworkStyle as NetworkStyle
from qup.reproduction.report.statistics import (
    CONFIDENCE_LEVEL,
    IntervalEstimate,
    RankCorrelation,
    average_over_seeds,
    correlate_ranks,
)
from qup.training.adversarial import METHODS

_UNCERTAINTY_EVALUATION = "uncertainty"


def estimate_uncertainty(
    data: ReportData,
    network: NetworkPreset,
    epochs: int,
    measure: str,
    domain: str,
    temperature: float = 1.0,
    method: str | None = None,
) -> IntervalEstimate | None:
    """Returns a mean over pixels and seeds; None where it was not run.

    Args:
      data: Everything.
      network: The network.
      epochs: Its epochs.
      measure: "sigma_x", "sigma_p", ...
      domain: "box", "window:0.1", ...
      temperature: Of the logits.
      method: Of a robust training; None for a standard one.
    """
    rows = data.find(
        measure=measure,
        domain=domain,
        temperature=temperature,
        evaluation=_UNCERTAINTY_EVALUATION,
        over="pixels",
        statistic="mean",
        estimator="importance",
        control=None,
        packet="loss",
        method=method,
        **build_network_filters(network, epochs),
    )
    return average_over_seeds(rows)


def find_refused_rows(
    data: ReportData, network: NetworkPreset, epochs: int, domain: str, temperature: float = 1.0
) -> list[Row]:
    """Returns the sizes of samples that were too few, a row a seed."""
    return data.find(
        measure="effective_sample_size",
        refused=True,
        domain=domain,
        temperature=temperature,
        evaluation=_UNCERTAINTY_EVALUATION,
        estimator="importance",
        control=None,
        packet="loss",
        method=None,
        **build_network_filters(network, epochs),
    )


def list_domains(data: ReportData) -> list[str]:
    """Returns the domains in which classifiers were measured."""
    rows = data.find(
        evaluation=_UNCERTAINTY_EVALUATION, measure="sigma_p", packet="loss", control=None
    )
    return sorted({_get_domain(row) for row in rows})


def _get_domain(row: Row) -> str:
    return str(row.parameters["domain"])


# From the strongest attack to the weakest.
ATTACK_KINDS = (AccuracyKind.WORST_CASE, AccuracyKind.PGD_STRONG, AccuracyKind.PGD4_CLIPPED)
_BOX_DOMAIN = "box"
_IMAGE_MEASURES = ("loss", "gradient_l1", "margin_ratio", "clever_linf")
_PACKET_MEASURES = ("sigma_x", "sigma_p", "uncertainty_product")


@dataclasses.dataclass(frozen=True)
class NetworkScores:
    """One network.

    Attributes:
      title: What it is called.
      style: How it is drawn.
      clean: TA; None where it was not run.
      robust: RA by the attack.
      values: What else was measured of it, by name.
    """

    title: str
    style: NetworkStyle
    clean: IntervalEstimate | None
    robust: Mapping[AccuracyKind, IntervalEstimate]
    values: Mapping[str, IntervalEstimate]


def collect_network_scores(data: ReportData, dataset: str) -> list[NetworkScores]:
    """Returns the networks of a dataset that have any candidate."""
    scores = []
    for network, epochs, method in _iter_networks(data, dataset):
        values = dict(_iter_scores(data, network, epochs, method))
        if not values:
            continue
        title = f"{network.title}, {document.format_count(epochs, 'epoch')}"
        if method:
            title += f", {method}"
        estimates = {
            kind: estimate_accuracy(data, network, "CL", epochs, kind, method=method)
            for kind in (AccuracyKind.CLEAN, *ATTACK_KINDS)
        }
        clean = estimates.pop(AccuracyKind.CLEAN)
        robust = {kind: x for kind, x in estimates.items() if x is not None}
        style = NetworkStyle(network.title, network.model, method or "standard")
        scores.append(NetworkScores(title, style, clean, robust, values))
    return scores


def choose_attack_kind(networks: list[NetworkScores]) -> AccuracyKind | None:
    """Returns the attack that most networks were under, the strongest."""
    counts = {kind: sum(kind in network.robust for network in networks) for kind in ATTACK_KINDS}
    most = max(counts.values(), default=0)
    return next((kind for kind in ATTACK_KINDS if most == counts[kind] > 0), None)


def format_clever_sampling(networks: list[NetworkScores]) -> str:
    """Returns how CLEVER sampled; "" where it did not."""
    rows = [
        row
        for network in networks
        if (estimate := network.values.get("clever_linf"))
        for row in estimate.rows
    ]
    if not rows:
        return ""
    parameters = rows[0].parameters
    return (
        f"CLEVER: {parameters['clever_num_batches']} batches of "
        f"{parameters['clever_num_samples']} samples in a ball of radius "
        f"{parameters['clever_radius']:g} round each of {rows[0].n} images; no "
        "score is larger than the radius."
    )


def _iter_networks(
    data: ReportData, dataset: str
) -> Iterator[tuple[NetworkPreset, int, str | None]]:
    for table in data.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                if network.dataset == dataset:
                    yield network, epochs, None
    network = data.scale.tables["table2"].networks[0]
    if network.dataset == dataset:
        for method in METHODS:
            for epochs in data.scale.robust_epochs:
                yield network, epochs, method


def _iter_scores(
    data: ReportData, network: NetworkPreset, epochs: int, method: str | None
) -> Iterator[tuple[str, IntervalEstimate]]:
    # Scores of other samplings are other numbers.
    clever_filters = {f"clever_{k}": x for k, x in data.scale.clever.items()}
    for name in _IMAGE_MEASURES:
        rows = data.find(
            measure=name,
            evaluation="predictors",
            split="test",
            method=method,
            **build_network_filters(network, epochs),
            **(clever_filters if name == "clever_linf" else {}),
        )
        if rows:
            yield name, average_over_seeds(rows)
    for name in _PACKET_MEASURES:
        estimate = estimate_uncertainty(data, network, epochs, name, _BOX_DOMAIN, method=method)
        if estimate is not None:
            yield name, estimate


# RA of networks beside a number of each, and how their ranks go together.
#
# ```python
# of = correlated(networks, Look.WORST, "sigma_p", "margin_ratio")
# of.value, of.p_value  # of sigma_p, the margin ratio held fixed
# ```


def get_score(network: NetworkScores, name: str) -> IntervalEstimate | None:
    """Returns a number of a network, TA among them; None of none."""
    if name == "test_accuracy":
        return network.clean
    return network.values.get(name)


def has_finite_score(network: NetworkScores, name: str) -> bool:
    """Says whether a network has a finite number of that name."""
    value = get_score(network, name)
    return value is not None and math.isfinite(value.value)


def correlate_with_robustness(
    networks: Sequence[NetworkScores], kind: AccuracyKind, name: str, *covariates: str
) -> RankCorrelation | None:
    """Correlates a number with RA over networks, by ranks.

    Args:
      networks: The networks, each with RA under `kind`.
      kind: The attack.
      name: Of the number.
      *covariates: Names of what is held fixed.

    Returns:
      The correlation; None of too few networks, or of too few that differ.
    """
    names = (name, *covariates)
    averages = [_average_shared_seeds(network, kind, names) for network in networks]
    columns = list(zip(*filter(None, averages), strict=True))
    if not columns:
        return None
    try:
        return correlate_ranks(
            columns[1], columns[0], covariates=dict(zip(covariates, columns[2:], strict=True))
        )
    except errors.InputError:
        return None


def _average_shared_seeds(
    network: NetworkScores, kind: AccuracyKind, names: tuple[str, ...]
) -> list[float] | None:
    """Returns RA and the numbers, means over the seeds that have them all."""
    if not all(has_finite_score(network, name) for name in names):
        return None
    values_by_seed = [
        {row.seed: row.value for row in estimate.rows}
        for estimate in (network.robust[kind], *(get_score(network, n) for n in names))
    ]
    seeds = set.intersection(*map(set, values_by_seed))
    if not seeds:
        return None
    return [sum(values[seed] for seed in seeds) / len(seeds) for values in values_by_seed]


# The same network at several temperatures, out of rows.
#
# ```python
# seeds(material, network, 50)  # {1.0: {0, 1}, 4.0: {0, 1}}
# deviation(material, network, 50, "box", 4.0)
# ```


# AccuracyMeter's rows carry this; those of T = 1 are any network's.
_TEMPERATURE_EVALUATION = "uncertainty"
# Points of TA that logits which are equal but for rounding may decide.
ACCURACY_TOLERANCE = 0.05


def find_comparable_seeds(
    data: ReportData, network: NetworkPreset, epochs: int
) -> dict[float, set[int]]:
    """Returns which seeds compare, by temperature, that of 1 among them."""
    robust_rows = data.find(
        evaluation=_TEMPERATURE_EVALUATION,
        measure="robust_accuracy",
        control=None,
        method=None,
        **build_network_filters(network, epochs),
    )
    find_clean_rows = functools.partial(_find_rows_at, data, network, epochs, AccuracyKind.CLEAN)
    baseline = {row.seed: row.value for row in find_clean_rows(1.0)}
    seeds_by_temperature = {}
    for temperature in sorted({row.parameters["temperature"] for row in robust_rows}):
        matching_seeds = {
            row.seed
            for row in find_clean_rows(temperature)
            if abs(row.value - baseline.get(row.seed, math.nan)) <= ACCURACY_TOLERANCE
        }
        if temperature != 1 and matching_seeds:
            seeds_by_temperature[temperature] = matching_seeds
    return (
        {1.0: set().union(*seeds_by_temperature.values()), **seeds_by_temperature}
        if seeds_by_temperature
        else {}
    )


def find_rows_at_temperature(
    data: ReportData, network: NetworkPreset, epochs: int, kind: AccuracyKind, temperature: float
) -> list[Row]:
    """Returns TA or RA at a temperature, a row a seed.

    Of the seeds that were measured at T = 1 and at another temperature on
    the same network: one that was trained again has another TA.
    """
    accuracy_rows = _find_rows_at(data, network, epochs, kind, temperature)
    comparable_seeds = find_comparable_seeds(data, network, epochs).get(temperature, ())
    return [row for row in accuracy_rows if row.seed in comparable_seeds]


def estimate_sigma_p(
    data: ReportData, network: NetworkPreset, epochs: int, domain: str, temperature: float
) -> IntervalEstimate | None:
    """Returns sigma_p of the seeds that compare."""
    estimate = estimate_uncertainty(data, network, epochs, "sigma_p", domain, temperature)
    comparable_seeds = find_comparable_seeds(data, network, epochs).get(temperature, ())
    return average_over_seeds(
        [row for row in (estimate.rows if estimate else ()) if row.seed in comparable_seeds]
    )


def compute_mean_ratio(
    before: IntervalEstimate | None, after: IntervalEstimate | None
) -> float | None:
    """Returns the mean ratio over the seeds of both; None of none."""
    if before is None or after is None:
        return None
    first = {row.seed: row.value for row in before.rows}
    ratios = [row.value / first[row.seed] for row in after.rows if first.get(row.seed)]
    return sum(ratios) / len(ratios) if ratios else None


def _find_rows_at(
    data: ReportData, network: NetworkPreset, epochs: int, kind: AccuracyKind, temperature: float
) -> list[Row]:
    filters = (
        {"evaluation": _TEMPERATURE_EVALUATION, "temperature": temperature}
        if temperature != 1
        else {}
    )
    return find_accuracy_rows(data, network, "CL", epochs, kind, **filters)


# The translators of the capacity sweep, as their rows tell them.
#
# ```python
# for of in swept_and_one(material, network, epochs):
#     over_seeds(of.errors)
# ```


_TRANSLATOR_ERROR = "translator_l1_error_relative"
# Of pairs that learnt Delta_N of true labels.
_WIDTH_PREFIX = "width_"


@dataclasses.dataclass(frozen=True)
class TranslatorResults:
    """A translator: what its rows say.

    Attributes:
      title: What it is called.
      control: The parameter "control" of its rows; None for the pair itself.
      num_parameters: How many it has; 0 where that is not known.
      error_rows: Its rows, one a seed.
    """

    title: str
    control: str | None
    num_parameters: int
    error_rows: list[Row]

    @property
    def predicts_delta_n(self) -> bool:
        """Whether it learnt Delta_N, so that the size alone is another."""
        return self.control is None or self.control.startswith(_WIDTH_PREFIX)


def find_translators_by_size(
    data: ReportData, network: NetworkPreset, epochs: int
) -> list[TranslatorResults]:
    """Returns those of Delta_N by size, and the one of Delta_1 behind them."""
    controls_and_titles = [(None, "Delta_N, the pair's own")]
    controls_and_titles += [
        (f"{_WIDTH_PREFIX}{width}", f"Delta_N, width {width}") for width in data.scale.widths
    ]
    delta_n_translators = [
        _load_translator(data, network, epochs, *control_and_title)
        for control_and_title in controls_and_titles
    ]
    delta_n_translators.sort(key=lambda translator: translator.num_parameters)
    delta_1_translator = _load_translator(
        data, network, epochs, "delta_1", "Delta_1, one long step"
    )
    return [
        translator
        for translator in (*delta_n_translators, delta_1_translator)
        if translator.error_rows
    ]


def _load_translator(
    data: ReportData, network: NetworkPreset, epochs: int, control: str | None, title: str
) -> TranslatorResults:
    rows = find_translation_errors(data, network, epochs, control, "translator")
    sizes = {row.parameters.get("translator_parameters", 0) for row in rows}
    return TranslatorResults(title, control, max(sizes, default=0), rows)


def find_translation_errors(
    data: ReportData, network: NetworkPreset, epochs: int, control: str | None, predictor: str
) -> list[Row]:
    """Returns the errors of a predictor of Delta, a row a seed.

    Args:
      data: Everything.
      network: The classifier.
      epochs: Its epochs.
      control: Of the pair.
      predictor: "translator", "class_template" or "zero".
    """
    return data.find(
        measure=_TRANSLATOR_ERROR,
        predictor=predictor,
        control=control,
        split="test",
        **build_network_filters(network, epochs),
    )


# Fig. 3's lines as numbers: slopes over all models, and within families.
#
# distortion = a + b ln(error): where b lies above 0, models of fewer errors are
# changed by smaller perturbations, the trade-off of the paper's Fig. 3.
#
# ```python
# for found in of_panels(material):
#     found.within.value, found.within.low, found.within.high
# ```


@dataclasses.dataclass(frozen=True)
class PanelSlopes:
    """One panel.

    Attributes:
      measure: Of the rows.
      title: What the panel shows.
      num_models: How many models with trained weights.
      overall: The slope over all of them; None where there are too few.
      within: The slope within families, the same for all of them.
      text: How the two stand to each other.
    """

    measure: str
    title: str
    num_models: int
    overall: IntervalEstimate | None
    within: IntervalEstimate | None
    text: str


def find_imagenet_rows(data: ReportData) -> list[Row]:
    """Returns the rows of ImageNet models."""
    return [row for row in data.rows if {"num_parameters", "image_files"} <= row.parameters.keys()]


def fit_panel_slopes(data: ReportData) -> list[PanelSlopes]:
    """Returns what each panel's lines say; random weights take no part."""
    rows, results = find_imagenet_rows(data), []
    for panel in imagenet.PANELS:
        model_points = imagenet.build_measured_points(rows, panel.measure)
        points = [model_point.point for model_point in model_points if not model_point.untrained]
        panel_rows = tuple(
            row
            for row in rows
            if row.measure == panel.measure and row.parameters.get("weights") != "random"
        )
        results.append(
            PanelSlopes(
                panel.measure,
                panel.label.replace("\n", " "),
                len(points),
                _fit_slope(fits.fit_line, points, panel_rows),
                _fit_slope(fits.fit_shared_slope, points, panel_rows),
                fits.format_slope_verdict(points),
            )
        )
    return results


def _fit_slope(
    fit: Callable[[Sequence[FitPoint]], LineFit], points: Sequence[FitPoint], rows: tuple[Row, ...]
) -> IntervalEstimate | None:
    """Returns a slope with Student's interval of its scatter."""
    try:
        line = fit(points)
    except errors.InputError:
        return None
    half_width = stats.t.ppf((1 + CONFIDENCE_LEVEL) / 2, line.degrees_of_freedom) * line.stderr
    low, high = line.slope - half_width, line.slope + half_width
    return IntervalEstimate(line.slope, low, high, 1, line.n, rows)
