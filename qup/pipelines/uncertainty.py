"""The pipeline of the uncertainty relation: classifiers and their controls.

| step | content | component |
| --- | --- | --- |
| 1 | load images | ExampleGen |
| 2 | train a classifier, import further ones | Trainer, ModelImporter |
| 3 | measure sigma_x, sigma_p and the bound | UncertaintyAnalyzer |
| 4 | measure TA and RA | AccuracyMeter |
| 5 | the same for controls | ControlBuilder, LabelShuffler, Trainer |
| 6 | figures and summary | UncertaintyReporter |

A control is a network for comparison: the trained network at other temperatures and in other
windows, an untrained one, a constant one, one trained on random labels.

```python
print(run(config, UncertaintyRequest(domain="window:0.1", labels=("0", "3"))))
```
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from qup.models.user_models import LoadOptions
from qup.orchestration import Channel, Node
from qup.pipelines.attack_request import hash_model_files
from qup.pipelines.components.evaluator import AccuracyMeter
from qup.pipelines.components.examples import ExampleGen, LabelShuffler, ModelImporter
from qup.pipelines.components.trainer import CONTROL_KINDS, ControlBuilder, Trainer
from qup.pipelines.components.uncertainty import UncertaintyAnalyzer, UncertaintyReporter
from qup.pipelines.config import (
    Config,
    NodeArguments,
    check_config,
    get_attack_options,
    get_config_identity,
)
from qup.pipelines.engines import LOCAL, Engine
from qup.pipelines.run import RunContext, collect_versions, format_part, open_run, run_nodes
from qup.pipelines.uncertainty_output import format_report, load_results, write_outputs
from qup.pipelines.uncertainty_request import (
    UncertaintyRequest,
    format_window,
    parse_centre,
    parse_directions,
    parse_labels,
)

_RANDOM_LABELS = "random_labels"


@dataclasses.dataclass(frozen=True)
class _NetworkSpec:
    """The measurements of one network.

    Attributes:
      name: Part of node ids.
      model: The network.
      control: Its name in rows; "" for the network that this run trains.
      comparison_only: Whether it is a control.
      temperature: Divides the logits.
      domains: Such as "window:0.1"; empty for that of the request.
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
    """Returns the nodes: networks, their measurements, and the reporter.

    Raises:
      InputError: The request does not fit the images.
    """
    nodes = _build_measurement_nodes(run, request)
    channels = {
        argument: [node.outputs[key] for node in nodes if key in node.outputs]
        for argument, key in (("relations", "relations"), ("evaluations", "evaluation"))
    }
    return [*nodes, UncertaintyReporter(**channels)]


def _build_measurement_nodes(run: RunContext, request: UncertaintyRequest) -> list[Node]:
    arguments = NodeArguments(run.config, run.data.info, run.log_dir)
    builder = _NodeBuilder(run, request)
    example_gen = ExampleGen(**arguments.build_example_gen_kwargs(run.source))
    examples = example_gen.outputs["examples"]
    imported = list(_import_networks(run, request))
    # First, so that a network that does not fit fails before any training.
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
    """Yields the networks of --model_path and their importers."""
    info, options = run.data.info, LoadOptions(pixel_range=request.parse_pixel_range())
    for index, (name, path) in enumerate(request.find_models().items(), 1):
        importer = ModelImporter(
            content=hash_model_files(path, options),
            **options.list_differences(),
            dataset=info.name,
            image_shape=list(info.image_shape),
            name=name,
            num_classes=max(2, info.num_classes),
            source=str(path.absolute()),
        ).with_id(f"ModelImporter.{index}")
        model = importer.outputs["model"]
        yield importer, _NetworkSpec(f"imported-{index}", model, name, comparison_only=False)


def _vary_network(request: UncertaintyRequest, model: Channel) -> Iterator[_NetworkSpec]:
    """Yields the last network at other temperatures and widths."""
    for temperature in request.parse_temperatures():
        yield _NetworkSpec(f"temperature-{temperature:g}", model, temperature=temperature)
    width = request.parse_width()
    if request.stability and width is not None:
        domains = (format_window(width / 2), format_window(2 * width))
        yield _NetworkSpec("width", model, domains=domains, accuracy=False)


def _build_control_nodes(
    arguments: NodeArguments, examples: Channel, epochs: int
) -> Iterator[tuple[Node, str]]:
    """Yields nodes with the names of their networks, "" for a node without a network."""
    training = arguments.build_trainer_kwargs(epochs)
    names = ("model_name", "model_options", "seed", "row_parameters")
    for kind in CONTROL_KINDS:
        builder = ControlBuilder(
            examples=examples, kind=kind, **{name: training[name] for name in names}
        )
        yield builder.with_id(f"ControlBuilder.{kind}"), kind
    shuffler = LabelShuffler(examples=examples, seed=training["seed"])
    yield shuffler, ""
    # Its curves must not mix with those of the training on true labels.
    training["log_dir"] = str(arguments.log_dir / _RANDOM_LABELS)
    trainer = Trainer(examples=shuffler.outputs["shuffled"], **training)
    yield trainer.with_id(f"Trainer.{_RANDOM_LABELS}"), _RANDOM_LABELS


class _NodeBuilder:
    """Builds the measurement nodes of networks, with the options that they share."""

    def __init__(self, run: RunContext, request: UncertaintyRequest):
        info, config = run.data.info, run.config
        self._request = request
        self._labels = parse_labels(request, info)
        self._centre = parse_centre(request, info)
        directions, directions_file = parse_directions(request, info)
        self._analyzer_options: dict[str, Any] = {
            "sizes": request.build_sizes(),
            "directions": directions,
            "sampler": collect_versions()["tensorflow-probability"],
            "directions_file": directions_file,
            "seed": config.seed,
        }
        self._meter_options = {
            "attack": get_attack_options(config),
            "split": config.dataset.evaluation_split,
            "num_images": request.num_images or None,
            "seed": config.seed,
        }

    def build_nodes(self, examples: Channel, spec: _NetworkSpec) -> list[Node]:
        """Returns an analyzer per label and domain, and an accuracy meter."""
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
        """Returns all estimators; for a control the first, and the second as its fallback."""
        estimators = self._request.estimators
        if comparison_only and len(estimators) > 1:
            return {"estimators": estimators[:1], "instead": estimators[1]}
        return {"estimators": estimators}


def run(config: Config, request: UncertaintyRequest, engine: Engine = LOCAL) -> str:
    """Runs the pipeline; complete steps of earlier runs are reused.

    Args:
      config: See qup/pipelines/defaults.py.
      request: The measurements.
      engine: What runs the steps.

    Returns:
      The summary and the paths of all results; of a part, what is left.

    Raises:
      InputError: A setting, a folder, a model or the data cannot be used, an estimate is refused,
        or the disk is full. A second start resumes.
      OrchestrationError: The pipeline root cannot be used.
    """
    request.check()
    check_config(config)
    context = open_run(config)
    nodes = build_nodes(context, request)
    identity = {**get_config_identity(config), "versions": collect_versions()}
    executions = run_nodes(context, nodes, "uncertainty", identity, engine=engine)
    if text := format_part(context, engine, nodes, executions):
        return text
    results = load_results(context, executions)
    with context.workdir.lock("to write its results"):
        context.append_measurements(results.rows)
        summary = write_outputs(context, request, results, executions)
    return format_report(context, request, summary)
