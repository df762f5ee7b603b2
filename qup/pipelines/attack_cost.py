"""What `qup attack` will cost, before it attacks: seconds, memory and disk of each part.

    part 1 of 3  pgd at 8 budgets             about 40 s (25 s to 1 min)
    part 2 of 3  autoattack                   about 12 min (8 min to 18 min)
    part 3 of 3  search for masked gradients  about 1 min (30 s to 2 min)
    total about 14 min, memory 1.2 GB, disk 35 MB

An attack is estimated by `qup.attacks.cost`, on the classifier that it will attack. The search for
masked gradients makes many small attacks, and is estimated as a multiple of PGD.
"""

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from qup import attacks, models, training
from qup.attacks import cost
from qup.core import progress
from qup.core.classifier import predict_logits
from qup.core.formatting import format_bytes, format_count, format_duration
from qup.core.numbers import format_epsilon
from qup.core.types import LogitsFn, Recipe
from qup.datasets import Dataset
from qup.datasets import examples as example_files
from qup.datasets.dataset import Source, build_split
from qup.orchestration import Execution, Node, NodeEvent
from qup.pipelines.components import artifacts
from qup.pipelines.run import RunContext, create_runner, log_event

_log = logging.getLogger("qup")
# The nodes before the first attack.
_MODEL_COMPONENTS = ("ExampleGen", "ModelImporter", "Trainer")
# A part that takes at most so long is not probed before a run: the probe would take as long.
_SHORT_SECONDS = 60.0
# A step takes at most so many times as long as a classification.
_STEP_FACTOR = 4.0
# Time of the pilots of all parts together. Before a run it is at most this share of the longest
# time that a part can take, and at least so many seconds.
_PROBE_SECONDS = 20.0
_PROBE_SHARE, _MIN_PROBE_SECONDS = 0.02, 1.0
# The images that a probe reads, at most.
_SAMPLE_SIZE = 512
# The search for masked gradients takes so many times as long as PGD-40, and compiles so many times
# as much: between 8 and 36, and 4, on three networks. So the range is wide.
_MASKING_FACTOR, _MASKING_COMPILE_FACTOR, _MASKING_RANGE = 20.0, 8.0, 2.5
_REUSED, _NOT_ESTIMATED = "measured already", "not estimated"
# A training of so many steps is timed, twice.
_TIMED_STEPS = 10


@dataclasses.dataclass(frozen=True)
class PartCost:
    """The cost of one part of a request.

    Attributes:
      node: Id of its node.
      title: Names it in a line.
      estimate: Its cost; None if it is not estimated.
      note: Says why there is no estimate; "" if there is one.
      is_short: Whether it is not estimated because it is evidently short.
    """

    node: str
    title: str
    estimate: cost.CostEstimate | None
    note: str = ""
    is_short: bool = False


def format_parts(parts: Sequence[PartCost]) -> list[str]:
    """Returns one line per part, and the total of those that are estimated."""
    width = max((len(part.title) for part in parts), default=0)
    lines = []
    for number, part in enumerate(parts, 1):
        text = part.note or _format_range(part.estimate)
        lines.append(f"part {number} of {len(parts)}  {part.title.ljust(width)}  {text}")
    estimates = [part.estimate for part in parts if part.estimate is not None]
    if estimates:
        total = format_duration(sum(estimate.seconds for estimate in estimates))
        memory = format_bytes(max(estimate.memory_bytes for estimate in estimates))
        gpu_memory = max(estimate.gpu_memory_bytes for estimate in estimates)
        gpu = f", GPU memory {format_bytes(gpu_memory)}" if gpu_memory else ""
        disk = format_bytes(sum(estimate.disk_bytes for estimate in estimates))
        unknown = sum(_NOT_ESTIMATED in part.note for part in parts)
        without = f" without {format_count(unknown, 'part')}" if unknown else ""
        lines.append(f"total{without} about {total}, memory {memory}{gpu}, disk {disk}")
    return lines


def _format_range(estimate: cost.CostEstimate) -> str:
    low, high = format_duration(estimate.low), format_duration(estimate.high)
    return f"about {format_duration(estimate.seconds)} ({low} to {high})"


def order_nodes(nodes: Sequence[Node]) -> list[Node]:
    """Returns the nodes, those of the classifiers first: they must exist for an estimate."""
    return sorted(nodes, key=lambda node: node.component.name not in _MODEL_COMPONENTS)


def list_model_nodes(nodes: Sequence[Node]) -> list[Node]:
    """Returns the nodes that load the images and load or train the classifiers."""
    return [node for node in nodes if node.component.name in _MODEL_COMPONENTS]


class CostPlanner:
    """Estimates the parts of a run as soon as the classifiers exist, and follows the run."""

    def __init__(self, run: RunContext, nodes: Sequence[Node]):
        """Estimates nothing yet.

        Args:
          run: The run.
          nodes: All its nodes.
        """
        self._run = run
        self._parts = [node for node in nodes if node.component.name not in _MODEL_COMPONENTS]
        self._waiting = {node.id for node in list_model_nodes(nodes)}
        self._nodes = list(nodes)
        self._executions: dict[str, Execution] = {}
        self._stack = contextlib.ExitStack()
        self._progress: progress.Parts | None = None

    @contextlib.contextmanager
    def follow(self) -> Iterator["CostPlanner"]:
        """Shows in which part the run is, until the end of the context."""
        with self._stack:
            yield self

    def on_event(self, event: NodeEvent) -> None:
        """Logs an event of a node, and begins its part."""
        log_event(event)
        if self._progress is not None and event.kind in ("running", "reused"):
            self._progress.begin(event.node)

    def on_success(self, node: Node, execution: Execution) -> None:
        """Logs the cost of all attacks once the last classifier exists."""
        if node.id not in self._waiting:
            return
        self._waiting.remove(node.id)
        self._executions[node.id] = execution
        if self._waiting or not self._parts:
            return
        parts = estimate_parts(self._run, self._nodes, self._executions)
        if any(part.estimate is not None for part in parts):
            for line in format_parts(parts):
                _log.info("%s", line)
        elif num_short := sum(part.is_short for part in parts):
            limit = format_duration(_SHORT_SECONDS)
            _log.info(
                "%s, not estimated: less than %s each", format_count(num_short, "part"), limit
            )
        seconds = {part.node: part.estimate and part.estimate.seconds for part in parts}
        seconds |= {part.node: 0.0 for part in parts if part.note == _REUSED}
        self._progress = self._stack.enter_context(progress.open_parts(seconds))


def estimate_parts(
    run: RunContext,
    nodes: Sequence[Node],
    executions: Mapping[str, Execution],
    *,
    even_if_short: bool = False,
) -> list[PartCost]:
    """Returns the cost of every attack and check of a run.

    Args:
      run: The run.
      nodes: All its nodes.
      executions: Those of the nodes that have run, by id.
      even_if_short: Whether to probe also what is evidently short, and to take the whole time.
    """
    reusable = create_runner(run, lambda event: None).find_reusable(nodes)
    parts = [node for node in nodes if node.component.name not in _MODEL_COMPONENTS]
    executions = {**reusable, **executions}
    num_new = sum(node.id not in reusable for node in parts)
    several = len({_find_model_node(node) for node in parts}) > 1
    costs = []
    with progress.open_counter("estimate of the cost", len(parts), "part") as count:
        for node in parts:
            costs.append(
                _estimate_part(
                    node,
                    executions,
                    is_reused=node.id in reusable,
                    suffix=f" on {_find_model_node(node).rpartition('.')[2]}" if several else "",
                    limit_seconds=_PROBE_SECONDS / max(1, num_new),
                    even_if_short=even_if_short,
                )
            )
            count(1)
    return costs


def _find_model_node(node: Node) -> str:
    return node.inputs["model"][0].producer.id


def _estimate_part(
    node: Node,
    executions: Mapping[str, Execution],
    *,
    is_reused: bool,
    suffix: str,
    limit_seconds: float,
    even_if_short: bool,
) -> PartCost:
    """Returns the cost of a node."""
    title = _format_title(node) + suffix
    if is_reused:
        return PartCost(node.id, title, None, _REUSED)
    model_node = _find_model_node(node)
    if model_node not in executions:
        return PartCost(
            node.id, title, None, f"{_NOT_ESTIMATED}, the classifier is not trained yet"
        )
    if node.component.name == "ConjugateDrawer":
        return PartCost(node.id, title, None, f"{_NOT_ESTIMATED}, a figure of a few images")
    examples = executions[node.inputs["examples"][0].producer.id].outputs["examples"][0]
    model = executions[model_node].outputs["model"][0]
    inputs = artifacts.load_inputs(examples, model)
    if not even_if_short:
        bound = _bound_seconds(node, inputs)
        if bound is not None and bound < _SHORT_SECONDS:
            note = f"less than {format_duration(_SHORT_SECONDS)}, {_NOT_ESTIMATED}"
            return PartCost(node.id, title, None, note, is_short=True)
        if bound is not None:
            limit_seconds = min(limit_seconds, max(_MIN_PROBE_SECONDS, _PROBE_SHARE * bound))
    if node.component.name == "Diagnoser":
        estimate = estimate_masking(
            inputs.data, inputs.classifier, node.parameters, limit_seconds=limit_seconds
        )
    else:
        estimate = estimate_attacker(
            inputs.data, inputs.classifier, node.parameters, limit_seconds=limit_seconds
        )
    return PartCost(node.id, title, estimate)


def _bound_seconds(node: Node, inputs: artifacts.Inputs) -> float | None:
    """Returns how long a part takes at most, if every image withstands; None if that is unknown.

    Compilation is left out.
    """
    parameters = node.parameters
    factor, attack = 1.0, parameters.get("attack")
    if node.component.name == "Diagnoser":
        factor = _MASKING_FACTOR
        attack = _get_masking_attack(parameters) | {"epsilon": parameters["epsilon"]}
    images, _, count = _sample_images(inputs.data, parameters["split"], parameters["num_images"])
    if not count:
        return 0.0
    options = dict(attack)
    num_steps = _count_max_steps(options.pop("name"), options, images.shape[1:])
    if num_steps is None:
        return None
    size = min(parameters["batch_size"], 1 << max(0, count - 1).bit_length())
    batch = np.resize(images, (size, *images.shape[1:]))
    predict_logits(inputs.classifier, batch)  # Compiles.
    start = time.perf_counter()
    np.asarray(predict_logits(inputs.classifier, batch))
    seconds = time.perf_counter() - start
    return factor * _STEP_FACTOR * seconds * num_steps * -(-count // size)


def _count_max_steps(
    name: str, options: Mapping[str, Any], image_shape: Sequence[int]
) -> int | None:
    """Returns the largest number of steps of an image at all budgets; None if it is unknown."""
    if attacks.traits(name)["method"] is None or options.get("targets") == "all":
        return None
    budgets = options.get("epsilons") or (options.get("epsilon"),)
    method_options = {k: v for k, v in options.items() if k not in ("targets", "epsilons")}
    if budgets[0] is not None:
        method_options["epsilon"] = budgets[0]
    stages = attacks.build_method(name, **method_options).stages()
    max_steps = [stage.count_max_steps(tuple(image_shape)) for stage in stages]
    return None if None in max_steps else len(budgets) * sum(max_steps)


def _format_title(node: Node) -> str:
    """Returns the name of a part: an attack at its budgets, or the checks."""
    if node.component.name == "Diagnoser":
        return "search for masked gradients"
    if node.component.name == "ConjugateDrawer":
        return "figure of the conjugates"
    attack = node.parameters["attack"]
    if attack.get("epsilons"):
        return f"{attack['name']} at {len(attack['epsilons'])} budgets"
    if attack.get("epsilon") is not None:
        return f"{attack['name']} at {format_epsilon(attack['epsilon'])}"
    return attack["name"]


def _sample_images(
    data: Dataset, split: str, count: int | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns evenly spaced images in [0, 1], their labels, and the number of all."""
    images, labels, _ = (a[:count] for a in data.get_arrays(split))
    rows = np.unique(np.linspace(0, len(labels) - 1, _SAMPLE_SIZE).astype(int))
    sample = np.asarray(images[rows])
    if sample.dtype == np.uint8:
        sample = sample / np.float32(255)
    return sample, np.asarray(labels[rows]), len(labels)


def estimate_attacker(
    data: Dataset,
    classifier: LogitsFn,
    parameters: Mapping[str, Any],
    *,
    limit_seconds: float = _PROBE_SECONDS,
) -> cost.CostEstimate:
    """Returns the cost of a node of `Attacker`.

    Args:
      data: The images.
      classifier: The attacked classifier.
      parameters: Those of the node.
      limit_seconds: See `cost.estimate_cost`.
    """
    images, labels, count = _sample_images(data, parameters["split"], parameters["num_images"])
    options = dict(parameters["attack"])
    estimate = cost.estimate_cost(
        options.pop("name"),
        classifier,
        images,
        labels,
        batch_size=parameters["batch_size"],
        seed=parameters["seed"],
        num_images=count,
        precision=parameters["precision"],
        in_shards=True,
        limit_seconds=limit_seconds,
        **options,
    )
    if parameters["save_images"]:
        num_budgets = len(options.get("epsilons") or (None,))
        saved_bytes = 4 * count * num_budgets * int(np.prod(images.shape[1:]))
        estimate = estimate._replace(disk_bytes=estimate.disk_bytes + saved_bytes)
    return estimate


def estimate_masking(
    data: Dataset,
    classifier: LogitsFn,
    parameters: Mapping[str, Any],
    *,
    limit_seconds: float = _PROBE_SECONDS,
) -> cost.CostEstimate:
    """Returns the cost of a node of `Diagnoser`: a multiple of that of PGD-40.

    Args:
      data: The images.
      classifier: The classifier.
      parameters: Those of the node.
      limit_seconds: See `cost.estimate_cost`.
    """
    images, labels, count = _sample_images(data, parameters["split"], parameters["num_images"])
    attack = _get_masking_attack(parameters)
    pgd = cost.estimate_cost(
        attack=attack.pop("name"),
        logits_fn=classifier,
        images=images,
        labels=labels,
        epsilon=parameters["epsilon"],
        batch_size=parameters["batch_size"],
        num_images=count,
        limit_seconds=limit_seconds,
        **attack,
    )
    compile_seconds = _MASKING_COMPILE_FACTOR * pgd.compile_seconds
    seconds = _MASKING_FACTOR * (pgd.seconds - pgd.compile_seconds) + compile_seconds
    return pgd._replace(
        seconds=seconds,
        low=seconds / _MASKING_RANGE,
        high=seconds * _MASKING_RANGE,
        compile_seconds=compile_seconds,
        disk_bytes=0,
    )


def _get_masking_attack(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attack, without a budget, of whose cost that of `Diagnoser` is a multiple."""
    norm = parameters.get("norm", "linf")
    attack = {"name": "apgd_ce"} if norm == "l1" else {"name": "pgd", "num_steps": 40}
    return attack | {"norm": norm}


def estimate_dry_run(
    run: RunContext, nodes: Sequence[Node], executions: Mapping[str, Execution]
) -> list[str]:
    """Returns the lines of a dry run: the time of missing trainings, and the cost of the parts.

    Args:
      run: The run.
      nodes: All its nodes.
      executions: Those of the images and of an imported model, by id of the node.
    """
    reusable = create_runner(run, lambda event: None).find_reusable(nodes)
    trainers = [node for node in nodes if node.component.name == "Trainer"]
    lines, num_done = [], 0
    for node in sorted(trainers, key=lambda node: node.parameters["epochs"]):
        epochs = node.parameters["epochs"]
        if node.id not in reusable:
            examples = executions[node.inputs["examples"][0].producer.id].outputs["examples"][0]
            data = example_files.read(examples.path)
            seconds = estimate_training(data, node.parameters, epochs - num_done)
            lines.append(
                f"{node.parameters['model_name']} after {format_count(epochs, 'epoch')}: not "
                f"trained yet; training first takes about {format_duration(seconds)}. Attacks on "
                "it are not estimated before."
            )
        num_done = epochs
    return lines + format_parts(estimate_parts(run, nodes, executions, even_if_short=True))


def estimate_training(data: Dataset, parameters: Mapping[str, Any], epochs: int) -> float:
    """Returns the seconds of a training, from two short epochs of which the first compiles.

    Args:
      data: The images.
      parameters: Those of a node of `Trainer`.
      epochs: Number of epochs.
    """
    recipe = dataclasses.replace(Recipe(), **parameters["recipe"])
    images, labels, _ = data.get_arrays("train")
    count = min(len(labels), _TIMED_STEPS * recipe.batch_size)
    split = build_split(images[:count], labels[:count])
    info = data.info
    splits = {"train": split, "test": split}
    sample = Dataset(info.name, Source(info.image_shape, info.class_names, info.origin, splits))
    classifier = models.build(parameters["model_name"], data.info, **parameters["model_options"])
    ends = [time.perf_counter()]
    training.fit_classifier(
        classifier,
        sample,
        epochs=2,
        recipe=recipe,
        augment=parameters["augment"],
        hook=lambda epoch, metrics: ends.append(time.perf_counter()),
    )
    first, second = np.diff(ends)
    return max(0.0, first - second) + epochs * second * len(labels) / count
