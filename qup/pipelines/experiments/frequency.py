"""Supplement, Fig. 5 and section 4: image frequencies, and response's.

The high-frequency ratio of Delta_1 against TA is the paper's; the spectra of
gradient, walk and translator's error, the sensitivity to Fourier vectors,
and the convergence of response frequencies stand beside it.
"""

from collections.abc import Iterable

from qup.components.fourier_sensitivity import FourierSensitivity
from qup.components.response_analyzer import ResponseAnalyzer
from qup.components.spectrum_analyzer import SpectrumAnalyzer
from qup.pipelines import experiments
from qup.pipelines.lab import ExperimentBuilder

# Images of spectra: the error of a ratio's mean is then under 0.001.
_MAX_SPECTRUM_IMAGES = 2000


@experiments.register(order=80)
def supp_fig5(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for the ratio of every network of the tables."""
    for seed in seeds:
        for table in builder.scale.tables.values():
            for network in table.networks:
                for epochs in table.epochs:
                    if builder.is_selected(network, epochs):
                        handle = builder.add_classifier(network, epochs, seed)
                        builder.add_evaluation(handle)
                        builder.add_node(
                            SpectrumAnalyzer,
                            f"SpectrumAnalyzer.{handle.name}",
                            **handle.inputs,
                            num_images=_count_spectrum_images(builder),
                            seed=seed,
                        )


@experiments.register(order=90)
def frequency(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for the other looks at frequencies, of each table's first."""
    for seed in seeds:
        for table in builder.scale.tables.values():
            network = table.networks[0]
            handles = [
                builder.add_classifier(network, epochs, seed)
                for epochs in table.epochs
                if builder.is_selected(network, epochs)
            ]
            if not handles:
                continue
            for handle in handles:
                builder.add_node(
                    FourierSensitivity,
                    f"FourierSensitivity.{handle.name}",
                    **handle.inputs,
                    norm=4.0,
                    reach=None,
                    num_images=builder.scale.few_images,
                    seed=seed,
                )
            if len(handles) > 1:
                name = f"{network.dataset}.{network.model}.seed-{seed}"
                builder.add_node(
                    ResponseAnalyzer,
                    f"ResponseAnalyzer.{name}",
                    examples=handles[0].examples,
                    models=[handle.model for handle in handles],
                    num_images=_count_spectrum_images(builder),
                )
            _add_walk_spectrum(builder, handles[0])


def _add_walk_spectrum(builder: ExperimentBuilder, handle) -> None:
    deltas_node = builder.add_deltas(handle)
    deltas = deltas_node.outputs["deltas"]
    translator = builder.add_translator(handle, deltas).outputs["translator"]
    row_parameters = handle.arguments.combination()["row_parameters"]
    num_steps = handle.arguments.walk()["walk"]["num_steps"]
    builder.add_node(
        SpectrumAnalyzer,
        f"SpectrumAnalyzer.walk.{handle.name}",
        **handle.images,
        deltas=deltas,
        translator=translator,
        steps=[num_steps],
        num_images=_count_spectrum_images(builder),
        seed=handle.seed,
        row_parameters=row_parameters,
    )


def _count_spectrum_images(builder: ExperimentBuilder) -> int:
    return min(_MAX_SPECTRUM_IMAGES, 2 * builder.scale.strong_images)
