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
from qup.pipelines.lab import Lab

# Images of spectra: the error of a ratio's mean is then under 0.001.
_IMAGES = 2000


@experiments.register(order=80)
def supp_fig5(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for the ratio of every network of the tables."""
    for seed in seeds:
        for table in lab.scale.tables.values():
            for network in table.networks:
                for epochs in table.epochs:
                    if lab.wanted(network, epochs):
                        of = lab.classifier(network, epochs, seed)
                        lab.attacked(of)
                        lab.node(
                            SpectrumAnalyzer, f"SpectrumAnalyzer.{of.name}",
                            **of.images, num_images=_images(lab),
                            seed=seed,
                        )  # fmt: skip


@experiments.register(order=90)
def frequency(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for the other looks at frequencies, of each table's first."""
    for seed in seeds:
        for table in lab.scale.tables.values():
            network = table.networks[0]
            shown = [
                lab.classifier(network, epochs, seed)
                for epochs in table.epochs
                if lab.wanted(network, epochs)
            ]
            if not shown:
                continue
            for of in shown:
                lab.node(
                    FourierSensitivity, f"FourierSensitivity.{of.name}",
                    **of.images, norm=4.0, reach=None,
                    num_images=lab.scale.few_images, seed=seed,
                )  # fmt: skip
            if len(shown) > 1:
                name = f"{network.dataset}.{network.model}.seed-{seed}"
                lab.node(
                    ResponseAnalyzer, f"ResponseAnalyzer.{name}",
                    examples=shown[0].examples,
                    models=[of.model for of in shown],
                    num_images=_images(lab),
                )  # fmt: skip
            _walked(lab, shown[0])


def _walked(lab: Lab, of) -> None:
    walk = lab.walk(of)
    deltas = walk.outputs["deltas"]
    translator = lab.translator(of, deltas).outputs["translator"]
    given = of.given.combination()["row_parameters"]
    count = of.given.walk()["walk"]["num_steps"]
    lab.node(
        SpectrumAnalyzer, f"SpectrumAnalyzer.walk.{of.name}", **of.images,
        deltas=deltas, translator=translator, steps=[count],
        num_images=_images(lab), seed=of.seed, row_parameters=given,
    )  # fmt: skip


def _images(lab: Lab) -> int:
    return min(_IMAGES, 2 * lab.scale.strong_images)
