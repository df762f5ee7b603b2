"""One node: found in the cache, or run and published.

Outputs are made in a temporary folder, flushed, renamed, hashed, and published
in one transaction. Until then a failure or the next start removes them.
"""

import contextlib
import copy
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from qup.orchestration import artifacts as orchestration_artifacts
from qup.orchestration import components, errors
from qup.orchestration import executions as orchestration_executions
from qup.orchestration.artifacts import Artifact, ArtifactState
from qup.orchestration.code import Code
from qup.orchestration.components import Node, Role, convert_value
from qup.orchestration.executions import Execution, NodeEvent, Run, State
from qup.orchestration.metadata import Metadata
from qup.orchestration.storage import PipelineRoot

# What killed processes have left: found, marked, removed.


# A process that ends lets go of its locks before it is gone.
_EXIT_TIMEOUT_S = 1.0


def recover_executions(
    root: PipelineRoot, metadata: Metadata, on_event: Callable[[NodeEvent], None]
) -> None:
    """Ends the executions of dead processes, and removes their files.

    Folders of executions that the database does not know, because it was
    lost, stay, and their numbers are not used again.

    Args:
      root: The pipeline root.
      metadata: Its database.
      on_event: Told of each execution that was abandoned.

    Raises:
      MetadataError: The database cannot be read or written.
      StorageError: The root cannot be written.
    """
    # Listed first: what others make from now on is not looked at.
    folders = root.list_execution_dirs()
    for execution in metadata.list_unfinished():
        lock = root.get_lock_path(execution.fingerprint)
        with orchestration_executions.hold_lock(lock) as free:
            if free:
                abandon_execution(root, metadata, execution, on_event)
    node_states = metadata.get_node_states()
    lost_ids = {number for _, number, _ in folders} - node_states.keys()
    if lost_ids:
        metadata.reserve_ids(max(lost_ids))
    for node, number, path in folders:
        ended_states = {State.FAILED}
        if path.parent.name == root.TEMPORARY:
            ended_states.add(State.COMPLETE)
        if node_states.get(number) in {(node, state) for state in ended_states}:
            root.remove(path)


def abandon_execution(
    root: PipelineRoot,
    metadata: Metadata,
    execution: Execution,
    on_event: Callable[[NodeEvent], None],
) -> None:
    """Ends a running execution and removes its files, if its process is dead.

    Args:
      root: The pipeline root.
      metadata: Its database.
      execution: It; the caller holds the lock of its fingerprint, so nobody
        else is running it.
      on_event: Told of it.
    """
    owner = execution.owner
    if (
        owner != orchestration_executions.get_current_process()
        and orchestration_executions.is_alive_after(owner, _EXIT_TIMEOUT_S)
    ):
        return
    if metadata.fail(execution.id, f"abandoned by {owner}"):
        root.discard(execution.node, execution.id)
        message = f"execution {execution.id} was abandoned by {owner}"
        on_event(NodeEvent(execution.node, "abandoned", message, execution.id))


# Earlier codes of a component that are asked for a result.
_CODES = 20


@dataclasses.dataclass(frozen=True)
class Launcher:
    """Launches the nodes of one run.

    Attributes:
      root, metadata, run: Where, and for which run.
      get_code_fingerprint: Returns the fingerprint of a node's code as it lies on the disk.
      on_event: Told of it all.
      enable_cache: Whether results are reused.
      hash_all: Whether files are hashed whose size, mtime and inode are as ever.
    """

    root: PipelineRoot
    metadata: Metadata
    run: Run
    get_code_fingerprint: Callable[[Node], str]
    on_event: Callable[[NodeEvent], None]
    enable_cache: bool = True
    hash_all: bool = False

    def launch(self, node: Node, inputs: dict[str, list[Artifact]], code: str) -> Execution:
        """Returns the execution of a node, reused or run now.

        Args:
          node: The node.
          inputs: Its artifacts.
          code: Fingerprint of its code.

        Raises:
          OrchestrationError: The database or the root cannot be used.
          Exception: Whatever the component raises.
        """
        execution = Execution(
            component=node.component.name,
            node=node.id,
            fingerprint=node.compute_fingerprint(inputs, code),
            code=code,
            parameters=node.parameters,
            inputs=inputs,
        )

        def find_running() -> list[Execution]:
            return self.metadata.find_executions(execution.fingerprint, State.RUNNING)

        def report_waiting() -> None:
            owner = next((e.owner for e in find_running()), "another process")
            self._emit_event(execution, "waiting", f"waiting for {owner}")

        lock = self.root.get_lock_path(execution.fingerprint)
        with orchestration_executions.hold_lock(lock, report_waiting):
            if self._try_reuse(node, execution):
                return execution
            for old in find_running():
                abandon_execution(self.root, self.metadata, old, self.on_event)
            self._explain(node, execution)
            self._execute(node, execution)
            return execution

    def _try_reuse(self, node: Node, execution: Execution) -> bool:
        may_reuse = self.enable_cache and node.component.cached
        completed = self.metadata.find_executions(execution.fingerprint, State.COMPLETE)
        for old in completed if may_reuse else ():
            if not self._is_intact(old):
                continue
            execution.state = State.CACHED
            execution.outputs = {
                key: [a.cast(node.component.arguments[key].type) for a in artifacts]
                for key, artifacts in old.outputs.items()
            }
            self.metadata.register(execution, self.run)
            self.root.remove(self._get_stateful_dir(execution))
            self._emit_event(execution, "reused", f"reused execution {old.id}")
            return True
        return False

    def _explain(self, node: Node, execution: Execution) -> None:
        """Tells where nothing but other code keeps a result from reuse."""
        if not (self.enable_cache and node.component.cached):
            return
        for code in self.metadata.codes(execution.component)[:_CODES]:
            if code == execution.code:
                continue
            other = node.compute_fingerprint(execution.inputs, code)
            for old in self.metadata.find_executions(other, State.COMPLETE)[:1]:
                message = (
                    f"not reused: the code has changed since execution "
                    f"{old.id}, whose results stay where they are"
                )
                self._emit_event(execution, "outdated", message)
                return

    def _is_intact(self, execution: Execution) -> bool:
        """Looks at all outputs; without any there is nothing to reuse."""
        artifacts = [a for key in execution.outputs.values() for a in key]
        for artifact in artifacts:
            if artifact.state is not ArtifactState.LIVE:
                continue
            damage, manifest = orchestration_artifacts.compare(
                artifact.path, artifact.manifest, full=self.hash_all
            )
            if damage:
                artifact.mark_damaged()
                self._emit_event(execution, "damaged", f"not reused: {damage}")
            if damage or manifest != artifact.manifest:
                artifact.manifest = manifest
                self.metadata.update_artifact(artifact, damage)
        return bool(artifacts) and all(a.state is ArtifactState.LIVE for a in artifacts)

    def _execute(self, node: Node, execution: Execution) -> None:
        self.metadata.register(execution, self.run)
        temporary = self.root.get_temporary_dir(node.id, execution.id)
        start = time.monotonic()
        try:
            self._emit_event(execution, "running", f"execution {execution.id}")
            outputs = self._create_outputs(node, temporary)
            node.component.fn(**self._build_arguments(node, execution, outputs))
            for key, artifact in outputs.items():
                self._publish_output(execution, key, artifact)
            reusable = self._is_code_unchanged(node, execution)
            self.metadata.publish(execution, self.run, reusable=reusable)
        except BaseException as error:
            self._fail(execution, error)
            raise
        self.root.remove(temporary)
        self.root.remove(self._get_stateful_dir(execution))
        message = f"complete in {time.monotonic() - start:.1f} s"
        self._emit_event(execution, "complete", message)

    def _get_stateful_dir(self, execution: Execution) -> pathlib.Path:
        return self.root.get_stateful_dir(execution.node, execution.fingerprint)

    def _create_outputs(self, node: Node, folder: pathlib.Path) -> dict[str, Artifact]:
        return {
            key: argument.type(uri=str(self.root.make_dir(folder / key)))
            for key, argument in node.component.get_arguments(Role.OUTPUT).items()
        }

    def _build_arguments(
        self, node: Node, execution: Execution, outputs: dict[str, Artifact]
    ) -> dict[str, Any]:
        """Returns copies: a component may change what it is given."""
        arguments = {**copy.deepcopy(node.parameters), **outputs}
        for key, argument in node.component.arguments.items():
            if argument.role is Role.STATEFUL:
                arguments[key] = self.root.make_dir(self._get_stateful_dir(execution))
            elif argument.role is Role.INPUT:
                inputs = copy.deepcopy(execution.inputs.get(key))
                arguments[key] = inputs[0] if inputs and not argument.many else inputs
        return arguments

    def _publish_output(self, execution: Execution, key: str, artifact: Artifact) -> None:
        """Moves an output to its place and fixes what it holds."""
        artifact.check_properties(f"{execution.node}.outputs[{key!r}]")
        target = self.root.get_output_dir(execution.node, key, execution.id)
        self.root.publish(artifact.path, target)
        artifact.uri = str(target)
        with errors.wrap_os_errors(target):
            artifact.manifest = orchestration_artifacts.snapshot(target)
        artifact.digest = orchestration_artifacts.digest(artifact.manifest)
        execution.outputs[key] = [artifact]

    def _is_code_unchanged(self, node: Node, execution: Execution) -> bool:
        """Returns whether the code is still what the run began with."""
        with contextlib.suppress(errors.PipelineError):
            if self.get_code_fingerprint(node) == execution.code:
                return True
        message = "code edited while it ran; the next run runs it again"
        self._emit_event(execution, "changed", message)
        return False

    def _fail(self, execution: Execution, error: BaseException) -> None:
        message = f"{type(error).__name__}: {error}"
        if isinstance(error, KeyboardInterrupt | SystemExit):
            message = "interrupted"
        error.add_note(f"in execution {execution.id} of {execution.node}")
        self.root.remove(self.root.get_temporary_dir(execution.node, execution.id))
        try:
            # It is not running if the publication was committed after all.
            if self.metadata.fail(execution.id, message):
                execution.state = State.FAILED
                self.root.discard(execution.node, execution.id)
        except errors.MetadataError as metadata_error:
            # The next start will know, and remove or keep the outputs.
            message = f"{message}; not recorded: {metadata_error}"
        self._emit_event(execution, "failed", f"failed: {message}")

    def _emit_event(self, execution: Execution, kind: str, message: str) -> None:
        self.on_event(NodeEvent(execution.node, kind, message, execution.id))


# Runs pipelines on this machine, reusing what is known and intact.


class LocalRunner:
    """Runs pipelines in one pipeline root.

    Any number of processes may share a root: who needs what another is just
    making waits for it.
    """

    def __init__(
        self,
        pipeline_root: str | os.PathLike,
        metadata: Metadata,
        *,
        enable_cache: bool = True,
        verify: str = "stat",
        on_event: Callable[[NodeEvent], None] | None = None,
        code: Code | None = None,
    ):
        """Sets up a runner.

        Args:
          pipeline_root: The folder of the artifacts.
          metadata: The database.
          enable_cache: Reuse results; False computes all anew.
          verify: "stat" believes files of unchanged size, mtime and inode
            when a result is reused, "full" hashes them all.
          on_event: Called with each `NodeEvent`; `print` will do.
          code: What code enters the fingerprints.

        Raises:
          PipelineError: Another `verify`.
        """
        if verify not in ("stat", "full"):
            raise errors.make_unknown_error("verify", verify, ("stat", "full"))
        self._root = PipelineRoot(pipeline_root)
        self._metadata = metadata
        self._enable_cache = enable_cache
        self._hash_all = verify == "full"
        self._on_event = on_event or (lambda notice: None)
        self._code = code or Code()

    def run(
        self,
        nodes: Iterable[Node],
        *,
        pipeline: str = "pipeline",
        parameters: Mapping[str, Any] | None = None,
        on_failure: Callable[[Node, Exception], None] | None = None,
        on_success: Callable[[Node, Execution], None] | None = None,
    ) -> dict[str, Execution]:
        """Runs nodes, each after those that it needs.

        A component that raises ends the run; it is recorded FAILED, and the
        next run tries it again.

        Args:
          nodes: The pipeline.
          pipeline: Its name in the metadata.
          parameters: JSON values recorded with the run, such as the flags.
          on_failure: If given, a component that raises does not end the run:
            this is called, the nodes that need its outputs are left out, and
            the others go on. The run is recorded FAILED all the same.
          on_success: Called with each node that has its execution, made now
            or before, as soon as it has.

        Returns:
          The execution of each node that has one, by its id.

        Raises:
          PipelineError: The nodes are no pipeline.
          MetadataError: The database cannot be read or written.
          StorageError: The pipeline root cannot be read or written.
          Exception: Whatever a component raises.
        """
        components.check_name("Pipeline", pipeline)
        run_parameters = convert_value(dict, parameters or {})
        nodes = _sort_nodes(list(dict.fromkeys(nodes)))
        # Now, while the files are still those that were imported.
        code_fingerprints = {node.id: self._compute_code_fingerprint(node) for node in nodes}
        recover_executions(self._root, self._metadata, self._on_event)
        run = self._metadata.begin(pipeline, run_parameters)
        launch = Launcher(
            root=self._root,
            metadata=self._metadata,
            run=run,
            get_code_fingerprint=self._compute_code_fingerprint,
            on_event=self._on_event,
            enable_cache=self._enable_cache,
            hash_all=self._hash_all,
        ).launch
        try:
            executions = _launch_nodes(nodes, code_fingerprints, launch, on_failure, on_success)
        except BaseException:
            with contextlib.suppress(errors.MetadataError):
                self._metadata.end(run, State.FAILED)
            raise
        all_completed = len(executions) == len(nodes)
        self._metadata.end(run, State.COMPLETE if all_completed else State.FAILED)
        return executions

    def _compute_code_fingerprint(self, node: Node) -> str:
        return self._code.compute_fingerprint(node.component.fn, node.counted())


def _launch_nodes(
    nodes: list[Node],
    code_fingerprints: Mapping[str, str],
    launch: Callable[..., Execution],
    on_failure: Callable[[Node, Exception], None] | None,
    on_success: Callable[[Node, Execution], None] | None,
) -> dict[str, Execution]:
    """Launches ordered nodes, but those that need what failed."""
    executions: dict[str, Execution] = {}
    for node in nodes:
        if not _are_inputs_available(node, executions):
            continue
        inputs = {
            key: [executions[c.producer.id].outputs[c.key][0] for c in channels]
            for key, channels in node.inputs.items()
        }
        try:
            executions[node.id] = launch(node, inputs, code_fingerprints[node.id])
        except errors.OrchestrationError:
            raise
        except Exception as error:
            if on_failure is None:
                raise
            on_failure(node, error)
            continue
        if on_success is not None:
            on_success(node, executions[node.id])
    return executions


def _are_inputs_available(node: Node, executions: Mapping[str, Execution]) -> bool:
    """Returns whether all that a node needs was made."""
    channels = [c for input_channels in node.inputs.values() for c in input_channels]
    return all(channel.producer.id in executions for channel in channels)


def _sort_nodes(nodes: list[Node]) -> list[Node]:
    """Returns the nodes, each behind those whose outputs it takes."""
    nodes_by_id = {node.id: node for node in nodes}
    if len(nodes_by_id) < len(nodes):
        repeated = sorted({n.id for n in nodes if nodes_by_id[n.id] is not n})
        raise errors.PipelineError(
            f"Several nodes are called {', '.join(repeated)}. Name them apart: "
            f"node.with_id('{repeated[0]}.2')."
        )
    sorted_nodes: dict[str, Node] = {}

    def visit(node: Node) -> None:
        if node.id in sorted_nodes and sorted_nodes[node.id] is node:
            return
        if nodes_by_id.get(node.id) is not node:
            raise errors.PipelineError(
                f"The pipeline needs the node {node.id}, but it is not in the list. Add it."
            )
        for channels in node.inputs.values():
            for channel in channels:
                visit(channel.producer)
        sorted_nodes[node.id] = node

    for node in nodes:
        visit(node)
    return list(sorted_nodes.values())
