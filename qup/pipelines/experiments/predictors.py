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
from qup.pipelines.lab import ExperimentBuilder, NetworkHandle


@experiments.register(order=105)
def predictors(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for the candidates and for RA of every network."""
    for seed in seeds:
        for handle in _add_predictor_networks(builder, seed):
            builder.add_evaluation(handle)
            builder.add_strong_attacks(handle)
            add_predictors(builder, handle)
            uncertainty.add_uncertainty(builder, handle, "box")


def _add_predictor_networks(builder: ExperimentBuilder, seed: int) -> Iterator[NetworkHandle]:
    for table in builder.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                if builder.is_selected(network, epochs):
                    yield builder.add_classifier(network, epochs, seed)
    table = builder.scale.tables["table2"]
    network = table.networks[0]
    if builder.is_selected(network, table.epochs[0]):
        for method in METHODS:
            for epochs in builder.scale.robust_epochs:
                yield robustly.add_robust_classifier(builder, network, epochs, seed, method)


def add_predictors(builder: ExperimentBuilder, handle: NetworkHandle) -> None:
    """Asks for gradients, margins and CLEVER of one network."""
    sampling = {"num_images": builder.scale.few_images, **builder.scale.clever}
    builder.add_node(
        PredictorAnalyzer,
        f"PredictorAnalyzer.{handle.name}",
        **handle.inputs,
        num_images=builder.scale.strong_images,
        clever=sampling,
        seed=handle.seed,
    )
