"""Quantities that several sections and claims read from the measurements.

A network is an architecture with its training and its epochs; its numbers are means over seeds,
because seeds of one network are not separate networks.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from scipy import stats

from qup.core import errors
from qup.core.measurements import Row
from qup.reproduction.imagenet import fits, models
from qup.reproduction.imagenet.fits import FitPoint, LineFit
from qup.reproduction.presets import ROBUST_METHODS, NetworkPreset
from qup.reproduction.report import document
from qup.reproduction.report.data import (
    AccuracyKind,
    ReportData,
    build_network_filters,
    estimate_accuracy,
    find_accuracy_rows,
)
from qup.reproduction.report.statistics import (
    CONFIDENCE_LEVEL,
    IntervalEstimate,
    RankCorrelation,
    average_over_seeds,
    compute_change,
    correlate_ranks,
)

UNCERTAINTY_EVALUATION = "uncertainty"
RELATION_MEASURES = ("sigma_x", "sigma_p", "uncertainty_product", "uncertainty_bound")
# Of the means over pixels of a classifier's packet, by importance sampling.
_PACKET_FILTERS = {
    "evaluation": UNCERTAINTY_EVALUATION,
    "estimator": "importance",
    "control": None,
    "packet": "loss",
}
# Of the packet of a translator's own loss.
_GENERATOR_FILTERS = {"packet": "l1", "control": "translator"}


def compute_epoch_changes(
    data: ReportData, network: NetworkPreset, epochs: Sequence[int], kind: AccuracyKind
) -> tuple[IntervalEstimate, IntervalEstimate, tuple[int, int]] | None:
    """Returns the changes of TA and RA over the epochs of a classifier alone.

    Args:
      data: All measurements.
      network: The network.
      epochs: Its numbers of epochs.
      kind: The attack of RA.

    Returns:
      Change of TA, change of RA, and the fewest and the most epochs that were run; None for
      fewer than two.
    """
    measured_epochs = [n for n in epochs if find_accuracy_rows(data, network, "CL", n, kind)]
    if len(measured_epochs) < 2:
        return None
    first, last = measured_epochs[0], measured_epochs[-1]
    clean, robust = (
        compute_change(
            *(find_accuracy_rows(data, network, "CL", n, accuracy_kind) for n in (first, last))
        )
        for accuracy_kind in (AccuracyKind.CLEAN, kind)
    )
    return None if clean is None or robust is None else (clean, robust, (first, last))


def estimate_uncertainty(
    data: ReportData,
    network: NetworkPreset,
    epochs: int,
    measure: str,
    domain: str,
    temperature: float = 1.0,
    method: str | None = None,
) -> IntervalEstimate | None:
    """Returns a mean over pixels and seeds; None if it was not run.

    Args:
      data: All measurements.
      network: The network.
      epochs: Its epochs.
      measure: "sigma_x", "sigma_p", ...
      domain: "box", "window:0.1", ...
      temperature: Of the logits.
      method: Of a robust training; None for a standard one.
    """
    return data.estimate(
        measure=measure,
        domain=domain,
        temperature=temperature,
        over="pixels",
        statistic="mean",
        method=method,
        **_PACKET_FILTERS,
        **build_network_filters(network, epochs),
    )


def find_refused_rows(
    data: ReportData, network: NetworkPreset, epochs: int, domain: str, temperature: float = 1.0
) -> list[Row]:
    """Returns the effective sizes of samples that were too small, a row per seed."""
    return data.find(
        measure="effective_sample_size",
        refused=True,
        domain=domain,
        temperature=temperature,
        method=None,
        **_PACKET_FILTERS,
        **build_network_filters(network, epochs),
    )


def select_sigma_p(data: ReportData) -> pd.DataFrame:
    """Returns the lines of sigma_p of classifiers."""
    filters = {name: value for name, value in _PACKET_FILTERS.items() if name != "estimator"}
    return data.select(measure="sigma_p", **filters)


def list_domains(data: ReportData) -> list[str]:
    """Returns the domains in which classifiers were measured."""
    frame = select_sigma_p(data)
    return sorted(frame["domain"].unique()) if len(frame) else []


def estimate_generator(data: ReportData, measure: str) -> dict[str, IntervalEstimate]:
    """Returns the mean over pixels and seeds of the translator's packet, by domain."""
    filters = build_network_filters(data.main_network, data.main_epochs[0])
    frame = data.select(measure=measure, statistic="mean", **_GENERATOR_FILTERS, **filters)
    return {
        domain: average_over_seeds(list(group["row"]))
        for domain, group in (frame.groupby("domain") if len(frame) else ())
    }


# From the strongest attack to the weakest.
_ATTACK_KINDS = (AccuracyKind.WORST_CASE, AccuracyKind.PGD_STRONG, AccuracyKind.PGD4_CLIPPED)
_IMAGE_MEASURES = ("loss", "gradient_l1", "margin_ratio", "clever_linf")


@dataclasses.dataclass(frozen=True)
class NetworkScores:
    """A network with its robust accuracies and the predictors of them.

    Attributes:
      preset: The architecture.
      epochs: Its epochs.
      method: Of a robust training; None for a standard one.
      clean: TA; None if it was not run.
      robust: RA by attack.
      values: The predictors by name.
    """

    preset: NetworkPreset
    epochs: int
    method: str | None
    clean: IntervalEstimate | None
    robust: Mapping[AccuracyKind, IntervalEstimate]
    values: Mapping[str, IntervalEstimate]

    @property
    def title(self) -> str:
        """Returns "ConvNet, 10 epochs, TRADES"."""
        title = f"{self.preset.title}, {document.format_count(self.epochs, 'epoch')}"
        return f"{title}, {document.METHOD_TITLES[self.method]}" if self.method else title

    def get_score(self, name: str) -> IntervalEstimate | None:
        """Returns a predictor, TA among them; None if it is missing or not finite."""
        value = self.clean if name == "test_accuracy" else self.values.get(name)
        return value if value is not None and math.isfinite(value.value) else None


def collect_network_scores(data: ReportData, dataset: str) -> list[NetworkScores]:
    """Returns the networks of a data set that have a predictor."""
    scores = []
    for network, epochs, method in _iterate_networks(data, dataset):
        values = dict(_iterate_scores(data, network, epochs, method))
        if values:
            clean, *robust = (
                estimate_accuracy(data, network, "CL", epochs, kind, method=method)
                for kind in (AccuracyKind.CLEAN, *_ATTACK_KINDS)
            )
            robust_estimates = {
                kind: estimate
                for kind, estimate in zip(_ATTACK_KINDS, robust, strict=True)
                if estimate is not None
            }
            scores.append(NetworkScores(network, epochs, method, clean, robust_estimates, values))
    return scores


def _iterate_networks(
    data: ReportData, dataset: str
) -> Iterator[tuple[NetworkPreset, int, str | None]]:
    for network, epochs in data.list_checkpoints():
        if network.dataset == dataset:
            yield network, epochs, None
    if data.main_network.dataset == dataset:
        for method in ROBUST_METHODS:
            for epochs in data.scale.robust_epochs:
                yield data.main_network, epochs, method


def _iterate_scores(
    data: ReportData, network: NetworkPreset, epochs: int, method: str | None
) -> Iterator[tuple[str, IntervalEstimate]]:
    # Scores of another sampling are other quantities.
    clever_filters = {f"clever_{name}": value for name, value in data.scale.clever.items()}
    for name in _IMAGE_MEASURES:
        estimate = data.estimate(
            measure=name,
            evaluation="predictors",
            split="test",
            method=method,
            **build_network_filters(network, epochs),
            **(clever_filters if name == "clever_linf" else {}),
        )
        if estimate is not None:
            yield name, estimate
    for name in ("sigma_x", "sigma_p", "uncertainty_product"):
        estimate = estimate_uncertainty(data, network, epochs, name, "box", method=method)
        if estimate is not None:
            yield name, estimate


def choose_attack_kind(networks: Sequence[NetworkScores]) -> AccuracyKind | None:
    """Returns the attack that most networks have, the strongest of several."""
    counts = {kind: sum(kind in network.robust for network in networks) for kind in _ATTACK_KINDS}
    kind = max(counts, key=lambda kind: counts[kind])
    return kind if counts[kind] else None


def correlate_with_robustness(
    networks: Sequence[NetworkScores], kind: AccuracyKind, name: str, *covariates: str
) -> RankCorrelation | None:
    """Correlates the ranks of a predictor and of RA over networks.

    Args:
      networks: The networks, each with RA under `kind`.
      kind: The attack.
      name: Of the predictor.
      *covariates: Names of predictors to hold fixed.

    Returns:
      The correlation; None for too few networks, or too few different ones.
    """
    means = []
    for network in networks:
        estimates = [network.robust[kind], *map(network.get_score, (name, *covariates))]
        if None not in estimates:
            values = [{row.seed: row.value for row in estimate.rows} for estimate in estimates]
            # The means are over the seeds that have all values.
            seeds = set.intersection(*map(set, values))
            if seeds:
                means.append([sum(value[seed] for seed in seeds) / len(seeds) for value in values])
    if not means:
        return None
    robust, score, *others = zip(*means, strict=True)
    try:
        return correlate_ranks(score, robust, covariates=dict(zip(covariates, others, strict=True)))
    except errors.InputError:
        return None


# Logits that are equal but for rounding may change TA by this many points.
ACCURACY_TOLERANCE = 0.05


def _find_rows_at(
    data: ReportData, network: NetworkPreset, epochs: int, kind: AccuracyKind, temperature: float
) -> list[Row]:
    filters = {}
    if temperature != 1:
        filters = {"evaluation": UNCERTAINTY_EVALUATION, "temperature": temperature}
    return find_accuracy_rows(data, network, "CL", epochs, kind, **filters)


def find_comparable_seeds(
    data: ReportData, network: NetworkPreset, epochs: int
) -> dict[float, set[int]]:
    """Returns temperature to the seeds measured at it and at T = 1 on the same network.

    A network that was trained again has another TA.
    """
    frame = data.select(
        evaluation=UNCERTAINTY_EVALUATION,
        measure="robust_accuracy",
        control=None,
        method=None,
        **build_network_filters(network, epochs),
    )
    clean_rows = _find_rows_at(data, network, epochs, AccuracyKind.CLEAN, 1.0)
    baseline = {row.seed: row.value for row in clean_rows}
    seeds_by_temperature = {}
    for temperature in sorted(frame["temperature"].unique()) if len(frame) else ():
        seeds = {
            row.seed
            for row in _find_rows_at(data, network, epochs, AccuracyKind.CLEAN, temperature)
            if abs(row.value - baseline.get(row.seed, math.nan)) <= ACCURACY_TOLERANCE
        }
        if temperature != 1 and seeds:
            seeds_by_temperature[temperature] = seeds
    if not seeds_by_temperature:
        return {}
    return {1.0: set().union(*seeds_by_temperature.values()), **seeds_by_temperature}


def find_rows_at_temperature(
    data: ReportData, network: NetworkPreset, epochs: int, kind: AccuracyKind, temperature: float
) -> list[Row]:
    """Returns TA or RA at a temperature, a row per comparable seed."""
    seeds = find_comparable_seeds(data, network, epochs).get(temperature, ())
    rows = _find_rows_at(data, network, epochs, kind, temperature)
    return [row for row in rows if row.seed in seeds]


def estimate_sigma_p(
    data: ReportData, network: NetworkPreset, epochs: int, domain: str, temperature: float
) -> IntervalEstimate | None:
    """Returns sigma_p of the comparable seeds."""
    estimate = estimate_uncertainty(data, network, epochs, "sigma_p", domain, temperature)
    seeds = find_comparable_seeds(data, network, epochs).get(temperature, ())
    rows = estimate.rows if estimate else ()
    return average_over_seeds([row for row in rows if row.seed in seeds])


@dataclasses.dataclass(frozen=True)
class TranslatorResults:
    """A translator of the capacity sweep.

    Attributes:
      title: In the table.
      control: The parameter "control" of its rows; None for the translator of the pair.
      num_parameters: 0 if unknown.
      error_rows: Its relative errors, one per seed.
    """

    title: str
    control: str | None
    num_parameters: int
    error_rows: list[Row]

    @property
    def target(self) -> str:
        """What it was trained to predict: "Delta_N" or "Delta_1"."""
        return "Delta_1" if self.control == "delta_1" else "Delta_N"


def find_translators_by_size(
    data: ReportData, network: NetworkPreset, epochs: int
) -> list[TranslatorResults]:
    """Returns the translators of Delta_N by size, then that of Delta_1."""
    titles = {None: "Delta_N, the pair's own"}
    titles |= {f"width_{width}": f"Delta_N, width {width}" for width in data.scale.widths}
    titles["delta_1"] = "Delta_1, one long step"
    translators = []
    for control, title in titles.items():
        rows = find_translation_errors(data, network, epochs, control, "translator")
        size = max((row.parameters.get("translator_parameters", 0) for row in rows), default=0)
        if rows:
            translators.append(TranslatorResults(title, control, size, rows))
    return sorted(translators, key=lambda t: (t.target == "Delta_1", t.num_parameters))


def find_translation_errors(
    data: ReportData, network: NetworkPreset, epochs: int, control: str | None, predictor: str
) -> list[Row]:
    """Returns the relative errors of a predictor of Delta, a row per seed.

    Args:
      data: All measurements.
      network: The classifier.
      epochs: Its epochs.
      control: Of the pair.
      predictor: "translator", "class_template" or "zero".
    """
    return data.find(
        measure="translator_l1_error_relative",
        predictor=predictor,
        control=control,
        split="test",
        **build_network_filters(network, epochs),
    )


# The change of each quantity that Fig. 2 draws for the network of higher accuracy.
PACKET_TRENDS = {
    "sigma_x": "smaller",
    "sigma_p": "larger",
    "overlap_x": "smaller",
    "overlap_p": "larger",
}


def compute_packet_changes(
    data: ReportData, packet_type: str, domain: str
) -> dict[str, IntervalEstimate | None]:
    """Returns the changes of the packets of two classes over training, paired by seed.

    Args:
      data: All measurements.
      packet_type: Of the packet, "loss" for the paper's.
      domain: "box" or another domain.

    Returns:
      The measures of `PACKET_TRENDS`, most minus fewest epochs; None if not measured for both.
    """
    epochs = sorted(data.select(figure="fig2")["epochs"].unique())
    if len(epochs) < 2:
        return dict.fromkeys(PACKET_TRENDS)
    filters = {"packet": packet_type, "domain": domain, "temperature": 1.0}
    return {
        measure: compute_change(
            *(
                data.find(
                    figure="fig2", measure=measure, epochs=n, label=None, axis=None, **filters
                )
                for n in (epochs[0], epochs[-1])
            )
        )
        for measure in PACKET_TRENDS
    }


class Panel(NamedTuple):
    """A panel of Fig. 3.

    Attributes:
      measure: Of our rows.
      attack: Of our rows: two attacks have a mean L-inf distance.
      published: Of the published values.
      label: Of its axis.
    """

    measure: str
    attack: str
    published: str
    label: str


IMAGENET_PANELS = (
    Panel(
        "mean_linf",
        "iterative_fgsm_search",
        "ifgsm_linf",
        "(a) I-FGSM: mean L-inf distance,\nunits of [0, 1]",
    ),
    Panel(
        "mean_l2_per_element",
        "carlini_wagner",
        "cw_l2_per_element",
        "(b) C&W: mean L2 distance /\ninput elements",
    ),
    Panel(
        "mean_clever_per_element",
        "",
        "clever_l2_per_element",
        "(c) CLEVER: mean L2 score /\ninput elements",
    ),
)
# Parameters that identify a measurement of a model.
_MODEL_KEY_PARAMETERS = ("image_files", "image_size", "num_images", "split", "weights")


@dataclasses.dataclass(frozen=True)
class ModelPoint:
    """One model in one panel of Fig. 3.

    Attributes:
      name: Of the model.
      family: Of the model.
      top_1: Percent.
      top_1_stderr: Standard error; None if unknown.
      distortion: In the unit of the panel.
      distortion_stderr: Standard error; None if unknown.
      num_parameters: None if unknown.
      untrained: Whether the weights are random.
      published: Whether the values are published ones, not ours.
    """

    name: str
    family: str
    top_1: float
    top_1_stderr: float | None
    distortion: float
    distortion_stderr: float | None
    num_parameters: int | None
    untrained: bool = False
    published: bool = False

    @property
    def point(self) -> FitPoint:
        """The point for `fits`."""
        return FitPoint(self.family, self.top_1, self.distortion)


def build_measured_points(rows: Sequence[Row], panel: Panel) -> list[ModelPoint]:
    """Returns the points of our rows in a panel.

    Args:
      rows: Of any models; other models than the 18 are left out, and trained networks under
        attacks without random targets.
      panel: The panel.
    """
    rows = [row for row in rows if row.model in models.list_names()]
    accuracies = {_get_model_key(row): row for row in rows if row.measure == "test_accuracy"}
    points = []
    for row in rows:
        accuracy = accuracies.get(_get_model_key(row))
        untrained = row.parameters.get("weights") == "random"
        has_random_targets = row.parameters.get("targets", "random") == "random"
        is_selected = (row.measure, row.attack) == (panel.measure, panel.attack)
        if is_selected and accuracy is not None and (has_random_targets or untrained):
            model = models.get_model(row.model)
            points.append(
                ModelPoint(
                    model.name,
                    model.family,
                    accuracy.value,
                    accuracy.stderr,
                    row.value,
                    row.stderr,
                    model.parameters,
                    untrained,
                )
            )
    return points


def _get_model_key(row: Row) -> tuple:
    parameters = (str(row.parameters.get(name)) for name in _MODEL_KEY_PARAMETERS)
    return row.model, row.dataset, row.seed, *parameters


@dataclasses.dataclass(frozen=True)
class PanelSlopes:
    """The slopes b of distortion = a + b ln(error) in one panel of Fig. 3.

    Where b is above 0, models with fewer errors are changed by smaller perturbations: the
    trade-off of Fig. 3.

    Attributes:
      panel: The panel.
      num_models: How many models with trained weights.
      overall: The slope over all of them; None for too few.
      within: The slope within families, shared by all of them.
      text: The verdict on both.
    """

    panel: Panel
    num_models: int
    overall: IntervalEstimate | None
    within: IntervalEstimate | None
    text: str


def find_imagenet_rows(data: ReportData) -> list[Row]:
    """Returns the rows of ImageNet models."""
    return [row for row in data.rows if {"num_parameters", "image_files"} <= row.parameters.keys()]


def fit_panel_slopes(data: ReportData) -> list[PanelSlopes]:
    """Returns the slopes of each panel; random weights are excluded."""
    rows, results = find_imagenet_rows(data), []
    for panel in IMAGENET_PANELS:
        points = [p.point for p in build_measured_points(rows, panel) if not p.untrained]
        panel_rows = tuple(
            row
            for row in rows
            if row.measure == panel.measure and row.parameters.get("weights") != "random"
        )
        results.append(
            PanelSlopes(
                panel,
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
    """Returns a slope with Student's interval of its residuals."""
    try:
        line = fit(points)
    except errors.InputError:
        return None
    half_width = stats.t.ppf((1 + CONFIDENCE_LEVEL) / 2, line.degrees_of_freedom) * line.stderr
    low, high = line.slope - half_width, line.slope + half_width
    return IntervalEstimate(line.slope, low, high, 1, line.n, rows)
