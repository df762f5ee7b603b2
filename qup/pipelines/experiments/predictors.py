"""What may predict robust accuracy: of every network, all candidates.

Section 3.3 makes sigma_p the reason of a low RA. Beside it stand what is
simpler: gradients and margins at the images themselves, and CLEVER. A rank
correlation needs many networks, so all of the tables are asked for, and those
trained on attacked images.
"""

from collections.abc import Iterable, Iterator

from qup.adversarial_training import METHODS
from qup.components.predictor_analyzer import PredictorAnalyzer
from qup.pipelines import experiments, robustly
from qup.pipelines.experiments import uncertainty
from qup.pipelines.lab import Lab, Trained


@experiments.register(order=105)
def predictors(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for the candidates and for RA of every network."""
    for seed in seeds:
        for of in _networks(lab, seed):
            lab.attacked(of)
            lab.strongly(of)
            measured(lab, of)
            uncertainty.measured(lab, of, "box")


def _networks(lab: Lab, seed: int) -> Iterator[Trained]:
    for table in lab.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                if lab.wanted(network, epochs):
                    yield lab.classifier(network, epochs, seed)
    table = lab.scale.tables["table2"]
    network = table.networks[0]
    if lab.wanted(network, table.epochs[0]):
        for method in METHODS:
            for epochs in lab.scale.robust_epochs:
                yield robustly.trained(lab, network, epochs, seed, method)


def measured(lab: Lab, of: Trained) -> None:
    """Asks for gradients, margins and CLEVER of one network."""
    sampling = {"num_images": lab.scale.few_images, **lab.scale.clever}
    lab.node(
        PredictorAnalyzer, f"PredictorAnalyzer.{of.name}", **of.images,
        num_images=lab.scale.strong_images, clever=sampling, seed=of.seed,
    )  # fmt: skip
