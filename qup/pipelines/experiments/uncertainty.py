"""Eqs. 14 and 19: both sides of the uncertainty relation, over the epochs."""

from collections.abc import Iterable

from qup import versions
from qup.components.accuracy_meter import AccuracyMeter
from qup.components.uncertainty_analyzer import UncertaintyAnalyzer
from qup.pipelines import experiments, settings
from qup.pipelines.lab import ExperimentBuilder, NetworkHandle

UNCERTAINTY_DOMAINS = ("box", "window:0.1")
# The newest network's logits divided by it: TA stays, the deviations move.
LAST_TEMPERATURE = 0.25


@experiments.register(order=100)
def uncertainty(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for the relation of the first network of Table 2."""
    table = builder.scale.tables["table2"]
    network = table.networks[0]
    for seed in seeds:
        handles = [
            builder.add_classifier(network, epochs, seed)
            for epochs in table.epochs
            if builder.is_selected(network, epochs)
        ]
        for handle in handles:
            builder.add_evaluation(handle)
            for domain in UNCERTAINTY_DOMAINS:
                add_uncertainty(builder, handle, domain)
        if handles:
            add_accuracy_at_temperature(builder, handles[-1], LAST_TEMPERATURE)
            for domain in UNCERTAINTY_DOMAINS:
                add_uncertainty(builder, handles[-1], domain, LAST_TEMPERATURE)


def add_accuracy_at_temperature(
    builder: ExperimentBuilder, handle: NetworkHandle, temperature: float
) -> None:
    """Asks for TA and RA of one network at another temperature."""
    builder.add_node(
        AccuracyMeter,
        f"AccuracyMeter.{handle.name}.temperature-{temperature:g}",
        **handle.inputs,
        attack=settings.get_attack_options(handle.arguments.config),
        temperature=temperature,
        seed=handle.seed,
    )


def add_uncertainty(
    builder: ExperimentBuilder, handle: NetworkHandle, domain: str, temperature: float = 1.0
) -> None:
    """Asks for the relation of one network."""
    setting = {
        "packet": "loss",
        "label": builder.scale.label,
        "temperature": temperature,
        "domain": domain,
        "centre": "mean",
        "control": "",
    }
    temperature_suffix = "" if temperature == 1 else f".temperature-{temperature:g}"
    domain_label = domain.replace(":", "-")
    builder.add_node(
        UncertaintyAnalyzer,
        f"UncertaintyAnalyzer.{domain_label}.{handle.name}{temperature_suffix}",
        **handle.inputs,
        setting=setting,
        estimators=["importance"],
        sizes=dict(builder.scale.uncertainty),
        directions={},
        required=False,
        sampler=versions.collect_versions()["tensorflow-probability"],
        seed=handle.seed,
    )
