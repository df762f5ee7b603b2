"""Networks, their RA, and the numbers that may go with it, out of rows.

A network is an architecture with its training and its epochs, the mean over
its seeds: seeds of one network are no further networks.

```python
for of in measured(material, "mnist"):
    of.robust, of.values["sigma_p"]
```
"""

import dataclasses
from collections.abc import Iterator, Mapping

from qup.adversarial_training import METHODS
from qup.evidence_figures.trainings import NetworkStyle as NetworkStyle
from qup.report import numbers
from qup.report.estimates import IntervalEstimate, average_over_seeds
from qup.report.material import ReportData
from qup.report.sections import uncertainty
from qup.report.selection import AccuracyKind, build_network_filters, estimate_accuracy
from qup.scales import NetworkPreset

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
        title = f"{network.title}, {numbers.format_count(epochs, 'epoch')}"
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
        estimate = uncertainty.estimate_uncertainty(
            data, network, epochs, name, _BOX_DOMAIN, method=method
        )
        if estimate is not None:
            yield name, estimate
