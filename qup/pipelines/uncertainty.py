"""The nodes of an uncertainty run: networks, and what is measured of each."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from qup.orchestration import Channel, Node
from qup.pipelines import config as pipeline_config
from qup.pipelines import run as pipelines_run
from qup.pipelines import uncertainty_output, uncertainty_request
from qup.pipelines.attack_request import hash_model_files
from qup.pipelines.components.evaluator import AccuracyMeter
from qup.pipelines.components.examples import ExampleGen, LabelShuffler, ModelImporter
from qup.pipelines.components.trainer import CONTROL_KINDS, ControlBuilder, Trainer
from qup.pipelines.components.uncertainty import UncertaintyAnalyzer, UncertaintyReporter
from qup.pipelines.config import NodeArguments
from qup.pipelines.run import RunContext
from qup.pipelines.uncertainty_request import UncertaintyRequest as UncertaintyRequest
from qup.pipelines.uncertainty_request import format_window

_RANDOM_LABELS = "random_labels"


@dataclasses.dataclass(frozen=True)
class _NetworkSpec:
    """What is measured of one network.

    Attributes:
      name: In the names of nodes.
      model: The network.
      control: What it is called in rows; "" for our own as trained.
      comparison_only: Whether it is measured for comparison alone.
      temperature: What its logits are divided by.
      domains: Texts, such as "window:0.1".
      accuracy: Whether TA and RA are measured.
    """

    name: str
    model: Channel
    control: str = ""
    comparison_only: bool = True
    temperature: float = 1.0
    domains: tuple[str, ...] = ()
    accuracy: bool = True


def build_nodes(run: RunContext, request: UncertaintyRequest) -> list[Node]:
    """Returns the nodes: those of interest, the controls, the report.

    Raises:
      InputError: The request does not fit the images.
    """
    measurement_nodes = _build_measurement_nodes(run, request)
    report = UncertaintyReporter(
        relations=_list_outputs(measurement_nodes, "relations"),
        evaluations=_list_outputs(measurement_nodes, "evaluation"),
    )
    return [*measurement_nodes, report]


def _list_outputs(nodes: list[Node], key: str) -> list[Channel]:
    return [node.outputs[key] for node in nodes if key in node.outputs]


def _build_measurement_nodes(run: RunContext, request: UncertaintyRequest) -> list[Node]:
    arguments = NodeArguments(run.config, run.data.info, run.log_dir)
    builder = _NodeBuilder(run, request)
    example_gen = ExampleGen(**arguments.build_example_gen_kwargs(run.source))
    examples = example_gen.outputs["examples"]
    imported = list(_import_networks(run, request))
    # First, as one that does not fit is refused before anything is trained.
    nodes = [*(node for node, _ in imported), example_gen]
    previous, epochs = None, sorted(set(run.config.training.epochs))
    for number in epochs:
        trainer = Trainer(
            examples=examples, previous=previous, **arguments.build_trainer_kwargs(number)
        ).with_id(f"Trainer.epoch-{number}")
        previous, model = trainer.outputs["run"], trainer.outputs["model"]
        spec = _NetworkSpec(f"epoch-{number}", model, comparison_only=False)
        nodes += [trainer, *builder.build_nodes(examples, spec)]
    for _, spec in imported:
        nodes += builder.build_nodes(examples, spec)
    if not request.controls:
        return nodes
    for spec in _vary_network(request, model):
        nodes += builder.build_nodes(examples, spec)
    for node, name in _build_control_nodes(arguments, examples, epochs[-1]):
        nodes.append(node)
        if name:
            spec = _NetworkSpec(name, node.outputs["model"], name)
            nodes += builder.build_nodes(examples, spec)
    return nodes


def _import_networks(
    run: RunContext, request: UncertaintyRequest
) -> Iterator[tuple[Node, _NetworkSpec]]:
    """Yields the user's own networks, and the nodes that take them in."""
    info = run.data.info
    for index, (name, path) in enumerate(request.find_models().items(), 1):
        importer = ModelImporter(
            content=hash_model_files(path),
            dataset=info.name,
            image_shape=list(info.image_shape),
            name=name,
            num_classes=max(2, info.num_classes),
            source=str(path.absolute()),
        ).with_id(f"ModelImporter.{index}")
        model = importer.outputs["model"]
        yield importer, _NetworkSpec(f"imported-{index}", model, name, comparison_only=False)


def _vary_network(request: UncertaintyRequest, model: Channel) -> Iterator[_NetworkSpec]:
    """Yields the newest network, at other temperatures and widths."""
    for temperature in request.parse_temperatures():
        yield _NetworkSpec(f"temperature-{temperature:g}", model, temperature=temperature)
    width = request.parse_width()
    if request.stability and width is not None:
        domains = (format_window(width / 2), format_window(2 * width))
        yield _NetworkSpec("width", model, domains=domains, accuracy=False)


def _build_control_nodes(
    arguments: NodeArguments, examples: Channel, epochs: int
) -> Iterator[tuple[Node, str]]:
    """Yields nodes, and of those that give a network what it is called."""
    training = arguments.build_trainer_kwargs(epochs)
    names = ("model_name", "model_options", "seed", "row_parameters")
    for kind in CONTROL_KINDS:
        builder = ControlBuilder(
            examples=examples, kind=kind, **{name: training[name] for name in names}
        )
        yield builder.with_id(f"ControlBuilder.{kind}"), kind
    shuffler = LabelShuffler(examples=examples, seed=training["seed"])
    yield shuffler, ""
    # Curves of its own, beside those of the true training.
    training["log_dir"] = str(arguments.log_dir / _RANDOM_LABELS)
    trainer = Trainer(examples=shuffler.outputs["shuffled"], **training)
    yield trainer.with_id(f"Trainer.{_RANDOM_LABELS}"), _RANDOM_LABELS


class _NodeBuilder:
    """What every network is measured with."""

    def __init__(self, run: RunContext, request: UncertaintyRequest):
        info, config = run.data.info, run.config
        self._request = request
        self._labels = uncertainty_request.parse_labels(request, info)
        self._centre = uncertainty_request.parse_centre(request, info)
        directions, directions_file = uncertainty_request.parse_directions(request, info)
        self._analyzer_options: dict[str, Any] = {
            "sizes": request.build_sizes(),
            "directions": directions,
            "sampler": pipelines_run.collect_versions()["tensorflow-probability"],
            "directions_file": directions_file,
            "seed": config.seed,
        }
        self._meter_options = {
            "attack": pipeline_config.get_attack_options(config),
            "split": config.dataset.evaluation_split,
            "num_images": request.num_images or None,
            "seed": config.seed,
        }

    def build_nodes(self, examples: Channel, spec: _NetworkSpec) -> list[Node]:
        """Returns an analyzer for every label and domain, and a meter."""
        inputs = {"examples": examples, "model": spec.model}
        nodes = []
        domains = spec.domains or (self._request.format_domain(),)
        for index, domain in enumerate(domains):
            for label in self._labels:
                node = UncertaintyAnalyzer(
                    setting=self._build_setting(spec, label, domain),
                    required=not spec.comparison_only,
                    **self._choose_estimators(spec.comparison_only),
                    **inputs,
                    **self._analyzer_options,
                )
                name = f"{spec.name}{f'-{index}' if index else ''}"
                nodes.append(node.with_id(f"UncertaintyAnalyzer.{name}.label-{label}"))
        if spec.accuracy:
            meter = AccuracyMeter(
                control=spec.control, temperature=spec.temperature, **inputs, **self._meter_options
            )
            nodes.append(meter.with_id(f"AccuracyMeter.{spec.name}"))
        return nodes

    def _build_setting(self, spec: _NetworkSpec, label: int, domain: str) -> dict:
        return {
            "packet": self._request.packet,
            "label": label,
            "temperature": spec.temperature,
            "domain": domain,
            "centre": self._centre,
            "control": spec.control,
        }

    def _choose_estimators(self, comparison_only: bool) -> dict[str, Any]:
        """Returns both for what is of interest, one that works for others."""
        estimators = self._request.estimators
        if comparison_only and len(estimators) > 1:
            return {"estimators": estimators[:1], "instead": estimators[1]}
        return {"estimators": estimators}


# The uncertainty relation of classifiers, and of their controls.
#
# | step | what | component |
# | --- | --- | --- |
# | 1 | load images | ExampleGen |
# | 2 | train a classifier, take the user's own | Trainer, ModelImporter |
# | 3 | measure sigma_x, sigma_p and the bound | UncertaintyAnalyzer |
# | 4 | measure TA and RA beside | AccuracyMeter |
# | 5 | the same of controls | ControlBuilder, LabelShuffler, Trainer |
# | 6 | draw it, put it into words | UncertaintyReporter |
#
# A control is a network that is there to be compared with: the trained one at
# other temperatures and in other windows, one that is not trained, one that is
# constant, one trained on labels that mean nothing.
#
# ```python
# print(run(config, Request(domain="window:0.1", labels=("0", "3"))))
# ```


def run(config: pipeline_config.Config, request: UncertaintyRequest) -> str:
    """Measures whatever is not known yet.

    Args:
      config: The settings of qup/pipelines/defaults.py.
      request: What is measured, and how.

    Returns:
      The table, the findings in words and where everything lies, as text.

    Raises:
      InputError: A setting, a folder, a model or the data cannot be used,
        an estimate is refused, or the disk is full; a second start goes on.
      OrchestrationError: The pipeline root cannot be used.
    """
    request.check()
    pipeline_config.check_config(config)
    run = pipelines_run.open_run(config)
    nodes = build_nodes(run, request)
    identity = {
        **pipeline_config.get_config_identity(config),
        "versions": pipelines_run.collect_versions(),
    }
    executions = pipelines_run.run_nodes(run, nodes, "uncertainty", identity)
    results = uncertainty_output.load_results(run, executions)
    with run.workdir.lock("to write its results"):
        run.append_measurements(results.rows)
        summary = uncertainty_output.write_outputs(run, request, results, executions)
    return uncertainty_output.format_report(run, request, summary)
