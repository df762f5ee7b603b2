"""Eqs. 14 and 19: both sides of the uncertainty relation, over the epochs."""

from collections.abc import Iterable

from qup import versions
from qup.components.accuracy_meter import AccuracyMeter
from qup.components.uncertainty_analyzer import UncertaintyAnalyzer
from qup.pipelines import experiments, settings
from qup.pipelines.lab import Lab, Trained

DOMAINS = ("box", "window:0.1")
# The newest network's logits divided by it: TA stays, the deviations move.
TEMPERATURE = 0.25


@experiments.register(order=100)
def uncertainty(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for the relation of the first network of Table 2."""
    table = lab.scale.tables["table2"]
    network = table.networks[0]
    for seed in seeds:
        shown = [
            lab.classifier(network, epochs, seed)
            for epochs in table.epochs
            if lab.wanted(network, epochs)
        ]
        for of in shown:
            lab.attacked(of)
            for domain in DOMAINS:
                measured(lab, of, domain)
        if shown:
            tempered(lab, shown[-1], TEMPERATURE)
            for domain in DOMAINS:
                measured(lab, shown[-1], domain, TEMPERATURE)


def tempered(lab: Lab, of: Trained, temperature: float) -> None:
    """Asks for TA and RA of one network at another temperature."""
    lab.node(
        AccuracyMeter, f"AccuracyMeter.{of.name}.temperature-{temperature:g}",
        **of.images, attack=settings.attack(of.given.config),
        temperature=temperature, seed=of.seed,
    )  # fmt: skip


def measured(
    lab: Lab, of: Trained, domain: str, temperature: float = 1.0
) -> None:
    """Asks for the relation of one network."""
    setting = {
        "packet": "loss", "label": lab.scale.label, "temperature": temperature,
        "domain": domain, "centre": "mean", "control": "",
    }  # fmt: skip
    heat = "" if temperature == 1 else f".temperature-{temperature:g}"
    place = domain.replace(":", "-")
    lab.node(
        UncertaintyAnalyzer, f"UncertaintyAnalyzer.{place}.{of.name}{heat}",
        **of.images, setting=setting, estimators=["importance"],
        sizes=dict(lab.scale.uncertainty), directions={}, required=False,
        sampler=versions.installed()["tensorflow-probability"], seed=of.seed,
    )  # fmt: skip
