"""The nodes of an uncertainty run: networks, and what is measured of each."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from qup import versions
from qup.components.accuracy_meter import AccuracyMeter
from qup.components.control_builder import KINDS, ControlBuilder
from qup.components.example_gen import ExampleGen
from qup.components.label_shuffler import LabelShuffler
from qup.components.model_importer import ModelImporter
from qup.components.trainer import Trainer
from qup.components.uncertainty_analyzer import UncertaintyAnalyzer
from qup.components.uncertainty_reporter import UncertaintyReporter
from qup.orchestration import Channel, Node
from qup.pipelines import settings, uncertainty_choice
from qup.pipelines.arguments import Arguments
from qup.pipelines.opening import Run
from qup.pipelines.request import digest
from qup.pipelines.uncertainty_request import Request, window

_RANDOM = "random_labels"


@dataclasses.dataclass(frozen=True)
class _Network:
    """What is measured of one network.

    Attributes:
      name: In the names of nodes.
      model: The network.
      control: What it is called in rows; "" for our own as trained.
      aside: Whether it is measured for comparison alone.
      temperature: What its logits are divided by.
      domains: Texts, such as "window:0.1".
      accuracy: Whether TA and RA are measured.
    """

    name: str
    model: Channel
    control: str = ""
    aside: bool = True
    temperature: float = 1.0
    domains: tuple[str, ...] = ()
    accuracy: bool = True


def nodes(this: Run, request: Request) -> list[Node]:
    """Returns the nodes: those of interest, the controls, the report.

    Raises:
      InputError: The request does not fit the images.
    """
    road = _measured(this, request)
    report = UncertaintyReporter(
        relations=_outputs(road, "relations"),
        evaluations=_outputs(road, "evaluation"),
    )
    return [*road, report]


def _outputs(road: list[Node], key: str) -> list[Channel]:
    return [node.outputs[key] for node in road if key in node.outputs]


def _measured(this: Run, request: Request) -> list[Node]:
    given = Arguments(this.config, this.data.info, this.log_dir)
    measuring = _Measuring(this, request)
    generated = ExampleGen(**given.examples(this.source))
    examples = generated.outputs["examples"]
    foreign = list(_foreign(this, request))
    # First, as one that does not fit is refused before anything is trained.
    road = [*(node for node, _ in foreign), generated]
    previous, epochs = None, sorted(set(this.config.training.epochs))
    for number in epochs:
        trainer = Trainer(
            examples=examples, previous=previous, **given.training(number)
        ).with_id(f"Trainer.epoch-{number}")
        previous, model = trainer.outputs["run"], trainer.outputs["model"]
        network = _Network(f"epoch-{number}", model, aside=False)
        road += [trainer, *measuring.nodes(examples, network)]
    for _, network in foreign:
        road += measuring.nodes(examples, network)
    if not request.controls:
        return road
    for network in _same(request, model):
        road += measuring.nodes(examples, network)
    for node, name in _others(given, examples, epochs[-1]):
        road.append(node)
        if name:
            network = _Network(name, node.outputs["model"], name)
            road += measuring.nodes(examples, network)
    return road


def _foreign(this: Run, request: Request) -> Iterator[tuple[Node, _Network]]:
    """Yields the user's own networks, and the nodes that take them in."""
    info = this.data.info
    for place, (name, path) in enumerate(request.imported().items(), 1):
        importer = ModelImporter(
            content=digest(path),
            dataset=info.name,
            image_shape=list(info.image_shape),
            name=name,
            num_classes=max(2, info.num_classes),
            source=str(path.absolute()),
        ).with_id(f"ModelImporter.{place}")
        model = importer.outputs["model"]
        yield importer, _Network(f"imported-{place}", model, name, aside=False)


def _same(request: Request, model: Channel) -> Iterator[_Network]:
    """Yields the newest network, at other temperatures and widths."""
    for heat in request.heats():
        yield _Network(f"temperature-{heat:g}", model, temperature=heat)
    width = request.width()
    if request.stability and width is not None:
        domains = (window(width / 2), window(2 * width))
        yield _Network("width", model, domains=domains, accuracy=False)


def _others(
    given: Arguments, examples: Channel, epochs: int
) -> Iterator[tuple[Node, str]]:
    """Yields nodes, and of those that give a network what it is called."""
    training = given.training(epochs)
    names = ("model_name", "model_options", "seed", "row_parameters")
    for kind in KINDS:
        builder = ControlBuilder(
            examples=examples,
            kind=kind,
            **{name: training[name] for name in names},
        )
        yield builder.with_id(f"ControlBuilder.{kind}"), kind
    shuffler = LabelShuffler(examples=examples, seed=training["seed"])
    yield shuffler, ""
    # Curves of its own, beside those of the true training.
    training["log_dir"] = str(given.log_dir / _RANDOM)
    trainer = Trainer(examples=shuffler.outputs["shuffled"], **training)
    yield trainer.with_id(f"Trainer.{_RANDOM}"), _RANDOM


class _Measuring:
    """What every network is measured with."""

    def __init__(self, this: Run, request: Request):
        info, config = this.data.info, this.config
        self._request = request
        self._labels = uncertainty_choice.labels(request, info)
        self._centre = uncertainty_choice.centre(request, info)
        given, file = uncertainty_choice.directions(request, info)
        self._analysis: dict[str, Any] = {
            "sizes": request.sizes(), "directions": given,
            "sampler": versions.installed()["tensorflow-probability"],
            "directions_file": file, "seed": config.seed,
        }  # fmt: skip
        self._accuracy = {
            "attack": settings.attack(config),
            "split": config.dataset.evaluation_split,
            "num_images": request.num_images or None,
            "seed": config.seed,
        }

    def nodes(self, examples: Channel, network: _Network) -> list[Node]:
        """Returns an analyzer for every label and domain, and a meter."""
        both = {"examples": examples, "model": network.model}
        found = []
        domains = network.domains or (self._request.setting(),)
        for place, domain in enumerate(domains):
            for label in self._labels:
                node = UncertaintyAnalyzer(
                    setting=self._setting(network, label, domain),
                    required=not network.aside,
                    **self._estimators(network.aside),
                    **both,
                    **self._analysis,
                )
                name = f"{network.name}{f'-{place}' if place else ''}"
                found.append(
                    node.with_id(f"UncertaintyAnalyzer.{name}.label-{label}")
                )
        if network.accuracy:
            meter = AccuracyMeter(
                control=network.control,
                temperature=network.temperature,
                **both,
                **self._accuracy,
            )
            found.append(meter.with_id(f"AccuracyMeter.{network.name}"))
        return found

    def _setting(self, network: _Network, label: int, domain: str) -> dict:
        return {
            "packet": self._request.packet,
            "label": label,
            "temperature": network.temperature,
            "domain": domain,
            "centre": self._centre,
            "control": network.control,
        }

    def _estimators(self, aside: bool) -> dict[str, Any]:
        """Returns both for what is of interest, one that works for others."""
        wanted = self._request.estimators
        if aside and len(wanted) > 1:
            return {"estimators": wanted[:1], "instead": wanted[1]}
        return {"estimators": wanted}
