"""TFX as the engine: qup's nodes as real TFX components.

| engine | runs the components by |
| --- | --- |
| tfx-local | TFX's LocalDagRunner, one after the other in this process |
| tfx-beam | TFX's BeamDagRunner, on Beam's DirectRunner in this process |
| kubeflow | nothing here: TFX's KubeflowV2DagRunner writes the specification of a pipeline |

```python
pipeline = tfx.orchestration.pipeline.Pipeline("ifa", root, components=build_tfx_components(nodes))
```

The root of TFX is the folder tfx/ of the pipeline root, with the database metadata.sqlite.
docs/engines-tfx.md compares the engines with the built-in runner.
"""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tfx
from absl import logging as absl_logging
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler, constants
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.orchestration import metadata as tfx_metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.types import artifact as tfx_artifact
from tfx.types import channel as tfx_channel
from tfx.types import component_spec, standard_artifacts

from qup.core import errors, files
from qup.core.hashing import dump_canonical_json
from qup.orchestration import Artifact, Execution, MetadataReader, Node, NodeEvent, State, records
from qup.orchestration.artifacts import find_damage
from qup.orchestration.components import Component, Role
from qup.pipelines.engines import Engine, kubeflow_step, steps
from qup.pipelines.run import CODE, RunContext

_log = logging.getLogger("qup")
# Files in the root of TFX.
_DATABASE, _LOCK, _LOCATIONS = "metadata.sqlite", ".qup.lock", ".qup-locations.json"
_TFX_PACKAGE = os.path.dirname(tfx.__file__) + os.sep


@dataclasses.dataclass
class _Session:
    """What the steps of this process report to.

    Attributes:
      on_event: Called with the events of steps.
      failure: Node and error of the step that failed; Beam passes on only a text.
    """

    on_event: Callable[[NodeEvent], None] = lambda event: None
    failure: tuple[str, BaseException] | None = None


_session = _Session()


def get_artifact_type(kind: type[Artifact]) -> type[tfx_artifact.Artifact]:
    """Returns TFX's artifact type of the same name, or an own one, such as "qup.Deltas".

    Without the package tfx, ml-pipelines-sdk refuses its standard types; then all are own ones.
    Kubeflow takes no name of an own type without a full stop.
    """
    standard = getattr(standard_artifacts, kind.TYPE_NAME, None)
    if standard is not None:
        with contextlib.suppress(RuntimeError):
            standard()
            return standard
    attributes = {"TYPE_NAME": f"qup.{kind.TYPE_NAME}"}
    return _get_or_create(f"{kind.TYPE_NAME}Artifact", tfx_artifact.Artifact, attributes)


def _get_or_create(name: str, base: type, attributes: Mapping[str, Any]) -> type:
    """Returns a class of this module, where TFX finds it by its name."""
    module = sys.modules[__name__]
    if not hasattr(module, name):
        setattr(module, name, type(name, (base,), {"__module__": __name__, **attributes}))
    return getattr(module, name)


class StepExecutor(base_executor.BaseExecutor):
    """Runs the component that the execution parameter qup_component names."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802
        """Runs the component, and sets the properties of its outputs; the arguments are TFX's."""
        stateful_dir = pathlib.Path(self._context.stateful_working_dir).parent
        node_dir = stateful_dir.parents[1]
        with _report_step(node_dir.name, int(self._context._unique_id)):
            texts = {key: text for key, text in exec_properties.items() if text is not None}
            component = steps.import_component(texts[records.COMPONENT_KEY])
            locations = json.loads((node_dir.parent / _LOCATIONS).read_text(encoding="utf-8"))
            inputs = {
                name: _read_input(component, name, artifacts[0])
                for name, artifacts in input_dict.items()
                if artifacts
            }
            state = steps.compute_state_name(texts[records.COMPONENT_KEY], texts, inputs)
            outputs = steps.run_step(
                component,
                steps.decode_parameters(component, {**texts, **locations[node_dir.name]}),
                steps.group_inputs(component, inputs),
                {key: artifacts[0].uri for key, artifacts in output_dict.items()},
                str(stateful_dir / state),
            )
            for key, artifact in outputs.items():
                _write_properties(output_dict[key][0], records.encode_artifact(artifact))


def _read_input(component: Component, name: str, artifact: tfx_artifact.Artifact) -> Artifact:
    key, _ = steps.parse_input_name(component, name)
    names = artifact.mlmd_artifact.custom_properties
    properties = {name: artifact.get_custom_property(name) for name in names}
    kind = component.arguments[key].type
    return records.decode_artifact(kind, artifact.uri, properties, id=artifact.id)


def _write_properties(artifact: tfx_artifact.Artifact, properties: Mapping[str, Any]) -> None:
    setters = {
        int: artifact.set_int_custom_property,
        float: artifact.set_float_custom_property,
        str: artifact.set_string_custom_property,
    }
    for key, value in properties.items():
        setters[type(value)](key, value)


@contextlib.contextmanager
def _report_step(node: str, execution: int) -> Iterator[None]:
    """Reports the start and the end of a step to the session."""
    _session.on_event(NodeEvent(node, "running", f"execution {execution}", execution))
    start = time.monotonic()
    try:
        yield
    except BaseException as error:
        _session.failure = node, error
        message = f"failed: {type(error).__name__}: {error}"
        if not isinstance(error, Exception):
            message = "failed: interrupted"
        _session.on_event(NodeEvent(node, "failed", message, execution))
        raise
    message = f"complete in {time.monotonic() - start:.1f} s"
    _session.on_event(NodeEvent(node, "complete", message, execution))


class _StepComponent(base_component.BaseComponent):
    """A node of qup as a component of TFX; its specification depends on the node."""

    SPEC_CLASS = component_spec.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(StepExecutor)


def build_tfx_components(
    nodes: Iterable[Node], *, workdir: pathlib.Path | None = None
) -> list[base_component.BaseComponent]:
    """Returns real TFX components of nodes, each after those whose outputs it reads.

    Every parameter is an execution parameter with JSON as its value; qup_component has the name of
    the component and qup_code the fingerprint of its code, so that TFX's cache sees both. An input
    that takes a list is a numbered set of inputs.

    Args:
      nodes: The nodes, in any order. Nodes that they need are added.
      workdir: None for a run on this machine: locations are not parameters, so that they do not
        count for TFX's cache. The working directory for a run on a cluster: locations are
        parameters, paths in this folder are relative to it, and ids are valid in Kubernetes.
    """
    components: dict[Node, base_component.BaseComponent] = {}

    def build(node: Node) -> base_component.BaseComponent:
        if node not in components:
            channels = {
                name: build(channel.producer).outputs[channel.key]
                for name, channel in steps.name_inputs(node).items()
            }
            components[node] = _build_tfx_component(node, channels, workdir)
        return components[node]

    for node in nodes:
        build(node)
    return list(components.values())


def _compute_codes(nodes: Sequence[Node]) -> list[str]:
    """Returns the fingerprint of each node's code as it is on the disk now."""
    return [
        CODE.compute_fingerprint(node.component.fn, node.get_counted_parameters()) for node in nodes
    ]


def _build_tfx_component(
    node: Node, channels: Mapping[str, tfx_channel.BaseChannel], workdir: pathlib.Path | None
) -> base_component.BaseComponent:
    component = node.component
    parameters = node.get_counted_parameters()
    code = CODE.compute_fingerprint(component.fn, parameters)
    if workdir is not None:
        parameters = steps.replace_prefix(node.parameters, str(workdir), steps.WORKDIR)
    texts = {
        **records.encode_parameters(parameters),
        records.COMPONENT_KEY: steps.get_component_path(component),
        records.CODE_KEY: code,
    }
    outputs = {
        key: tfx_channel.Channel(type=get_artifact_type(argument.type))
        for key, argument in component.get_arguments(Role.OUTPUT).items()
    }
    spec_class = type(
        f"{component.name}Spec",
        (component_spec.ComponentSpec,),
        {
            "PARAMETERS": {k: component_spec.ExecutionParameter(type=str) for k in texts},
            "INPUTS": _declare_channels(channels),
            "OUTPUTS": _declare_channels(outputs),
        },
    )
    tfx_class = _get_or_create(f"{component.name}Step", _StepComponent, {})
    tfx_component = tfx_class(spec_class(**texts, **channels, **outputs))
    return tfx_component.with_id(node.id if workdir is None else get_task_name(node))


def _declare_channels(
    channels: Mapping[str, tfx_channel.BaseChannel],
) -> dict[str, component_spec.ChannelParameter]:
    """Returns the declarations of inputs or outputs for a specification."""
    return {
        key: component_spec.ChannelParameter(type=channel.type) for key, channel in channels.items()
    }


def get_task_name(node: Node) -> str:
    """Returns a node's id in the characters of names in Kubernetes: "evaluator-cl-epoch-2"."""
    return re.sub("[^a-z0-9]+", "-", node.id.lower()).strip("-")


def run_nodes(
    engine: Engine,
    run: RunContext,
    nodes: list[Node],
    pipeline: str,
    run_parameters: Mapping[str, Any],
    *,
    on_event: Callable[[NodeEvent], None],
    on_failure: Callable[[Node, Exception], None] | None = None,
    on_success: Callable[[Node, Execution], None] | None = None,
) -> dict[str, Execution]:
    """Runs nodes by TFX; see `qup.pipelines.run.run_nodes`.

    A step that fails ends the run, also with `on_failure`: TFX runs nothing after it.
    """
    global _session
    root = engine.get_root(run.pipeline_root).absolute()
    root.mkdir(parents=True, exist_ok=True)
    # Of the files that were imported: they may be edited while this process waits.
    codes = _compute_codes(nodes)

    def report_waiting() -> None:
        _log.info("Waiting for another process that runs TFX in %s.", root)

    with files.lock_file(root / _LOCK, report_waiting):
        if _compute_codes(nodes) != codes:
            raise errors.InputError(
                "The code of qup was edited while this process waited for another one. Start it "
                "again, so that results belong to the code that computed them."
            )
        connection = _open_database(root, on_event, hash_all=run.config.verify == "full")
        _write_locations(root, nodes)
        intermediate = _compile(nodes, pipeline, root, connection, run.config.enable_cache)
        run_id = f"{pipeline}.{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
        runtime_parameter_utils.substitute_runtime_parameter(
            intermediate, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
        )
        _session = session = _Session(on_event)
        try:
            with _hide_log_lines():
                _create_runner(engine).run_with_ir(intermediate)
        except Exception as error:
            if session.failure is None:
                raise
            node_id, cause = session.failure
            if on_failure is None or not isinstance(cause, Exception):
                raise cause from (None if cause is error else error)
            on_failure(next(node for node in nodes if node.id == node_id), cause)
        finally:
            _session = _Session()
            _record_parameters(connection, run_id, run_parameters)
        executions = _read_executions(root, run_id, nodes)
    for node in nodes:
        if (execution := executions.get(node.id)) is None:
            continue
        if execution.state is State.CACHED:
            on_event(NodeEvent(node.id, "reused", "reused by TFX", execution.id))
        if on_success is not None:
            on_success(node, execution)
    return executions


def _create_runner(engine: Engine) -> Any:
    if engine.name == "tfx-local":
        return LocalDagRunner()
    # Only the package tfx has it.
    from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner

    return BeamDagRunner()


@contextlib.contextmanager
def _hide_log_lines() -> Iterator[None]:
    """Hides log lines of TFX and Beam; events and errors are reported by this module."""
    tfx_logger, beam_logger = absl_logging.get_absl_logger(), logging.getLogger("apache_beam")
    level = beam_logger.level

    def is_of_another_package(record: logging.LogRecord) -> bool:
        return not record.pathname.startswith(_TFX_PACKAGE)

    tfx_logger.addFilter(is_of_another_package)
    beam_logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        tfx_logger.removeFilter(is_of_another_package)
        beam_logger.setLevel(level)


def _open_database(
    root: pathlib.Path, on_event: Callable[[NodeEvent], None], *, hash_all: bool
) -> metadata_store_pb2.ConnectionConfig:
    """Opens the database; ends the executions of killed processes, and finds damaged artifacts.

    The caller holds the lock of the root, so no process runs an execution.
    """
    connection = tfx_metadata.sqlite_metadata_connection_config(str(root / _DATABASE))
    with tfx_metadata.Metadata(connection) as handle:
        _end_abandoned_executions(handle.store, root, on_event)
        _mark_damaged_artifacts(handle.store, on_event, hash_all)
    return connection


def _end_abandoned_executions(store, root: pathlib.Path, on_event) -> None:
    running = metadata_store_pb2.Execution.RUNNING
    abandoned = [e for e in store.get_executions() if e.last_known_state == running]
    for execution in abandoned:
        execution.last_known_state = metadata_store_pb2.Execution.FAILED
        patterns = (f"*/*/{execution.id}", f"*/.system/executor_execution/{execution.id}")
        for pattern in patterns:
            for path in root.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)
        node = _find_node(store, execution.id)
        message = f"execution {execution.id} was abandoned"
        on_event(NodeEvent(node, "abandoned", message, execution.id))
    if abandoned:
        store.put_executions(abandoned)
    # TFX's own folders have a new name in every execution, so that nothing resumes from them.
    for path in root.glob("*/.system/stateful_working_dir/*"):
        if not path.name.startswith(steps.STATE_PREFIX):
            shutil.rmtree(path, ignore_errors=True)


def _mark_damaged_artifacts(store, on_event, hash_all: bool) -> None:
    """Marks artifacts whose files have changed, so that TFX does not reuse them."""
    damaged = []
    for record in store.get_artifacts():
        is_live = record.state == metadata_store_pb2.Artifact.LIVE
        if not is_live or records.ARTIFACT_KEY not in record.custom_properties:
            continue
        text = record.custom_properties[records.ARTIFACT_KEY].string_value
        artifact = records.decode_artifact(Artifact, record.uri, {records.ARTIFACT_KEY: text})
        damage, _ = find_damage(artifact.path, artifact.manifest, hash_all=hash_all)
        if not damage:
            continue
        artifact.mark_damaged()
        record.state = int(artifact.state)
        damaged.append(record)
        producer = store.get_events_by_artifact_ids([record.id])[0].execution_id
        event = NodeEvent(_find_node(store, producer), "damaged", f"not reused: {damage}", producer)
        on_event(event)
    if damaged:
        store.put_artifacts(damaged)


def _find_node(store, execution: int) -> str:
    """Returns the node of an execution, from the contexts "ifa" and "ifa.Trainer"."""
    names = {c.type: c.name for c in store.get_contexts_by_execution(execution)}
    return names.get("node", "").removeprefix(f"{names.get('pipeline')}.")


def _write_locations(root: pathlib.Path, nodes: list[Node]) -> None:
    """Writes the locations of each node for the executors; they are not parameters of TFX."""
    locations = {
        node.id: records.encode_parameters(
            {key: node.parameters[key] for key in node.component.get_arguments(Role.LOCATION)}
        )
        for node in nodes
    }
    files.write_text(root / _LOCATIONS, dump_canonical_json(locations))


def _compile(nodes: list[Node], pipeline: str, root: pathlib.Path, connection, enable_cache: bool):
    """Returns TFX's intermediate representation; components that must not be cached are not."""
    intermediate = compiler.Compiler().compile(
        tfx_pipeline.Pipeline(
            pipeline_name=pipeline,
            pipeline_root=str(root),
            components=build_tfx_components(nodes),
            enable_cache=enable_cache,
            metadata_connection_config=connection,
        )
    )
    uncached = {node.id for node in nodes if not node.component.cached}
    for node in intermediate.nodes:
        if node.pipeline_node.node_info.id in uncached:
            node.pipeline_node.execution_options.caching_options.enable_cache = False
    return intermediate


def _record_parameters(connection, run_id: str, run_parameters: Mapping[str, Any]) -> None:
    """Records the parameters of a run, if the run has begun."""
    with tfx_metadata.Metadata(connection) as handle:
        context = handle.store.get_context_by_type_and_name("pipeline_run", run_id)
        if context is not None:
            text = dump_canonical_json(run_parameters)
            context.custom_properties[records.RUN_KEY].string_value = text
            handle.store.put_contexts([context])


def _read_executions(root: pathlib.Path, run_id: str, nodes: list[Node]) -> dict[str, Execution]:
    """Returns the successful executions of a run as the built-in runner returns its own."""
    recorded = {e.node: e for e in MetadataReader(root / _DATABASE).list_executions(run_id)}
    executions = {}
    for node in nodes:
        execution = recorded.get(node.id)
        if execution is None or execution.state not in (State.COMPLETE, State.CACHED):
            continue
        outputs = {
            key: [artifact.cast(node.component.arguments[key].type) for artifact in artifacts]
            for key, artifacts in execution.outputs.items()
        }
        executions[node.id] = dataclasses.replace(
            execution, parameters=node.parameters, outputs=outputs
        )
    return executions


def write_specification(engine: Engine, run: RunContext, nodes: list[Node], pipeline: str) -> str:
    """Writes the specification of a pipeline for Kubeflow Pipelines, version 2.

    Args:
      engine: Its options are "output", the file to write; "image", the container image of every
        step; and "cluster_root", the address of the folder that the steps share.
      run: The run; its data was read on this machine.
      nodes: The nodes.
      pipeline: Name of the pipeline.

    Returns:
      What was written, as text.

    Raises:
      InputError: The file cannot be written.
    """
    # Only the package tfx has it.
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

    root = engine.options["cluster_root"].rstrip("/")
    workdir = run.workdir.path.absolute()
    job = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            default_image=engine.options["image"],
            default_commands=["python", "-m", kubeflow_step.__name__, f"--root={root}"],
            use_pipeline_spec_2_1=True,
        )
    ).run(
        tfx_pipeline.Pipeline(
            pipeline_name=pipeline,
            pipeline_root=root,
            components=build_tfx_components(nodes, workdir=workdir),
            enable_cache=run.config.enable_cache,
        ),
        write_out=False,
    )
    # Kubeflow's client and Vertex AI read the specification without the job around it.
    specification = {**job["pipelineSpec"], "defaultPipelineRoot": root}
    tasks = specification["root"]["dag"]["tasks"]
    for node in nodes:
        if not node.component.cached:
            tasks[get_task_name(node)].pop("cachingOptions", None)
    path = pathlib.Path(engine.options["output"])
    files.write_text(path, json.dumps(specification, indent=1, sort_keys=True))
    return (
        f"Wrote {path}: {len(tasks)} steps in the image {engine.options['image']}, which share "
        f"{root}. Submit it to Kubeflow Pipelines or Vertex AI: docs/engines-tfx.md."
    )
