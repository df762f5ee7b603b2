"""Runs pipelines on this machine: each node is reused from the cache, or run and published.

Several processes may share the work of one pipeline. Each runs one `Part`: of a component that can
be divided (it has an argument `DoPart`) the shards of this part, of the others those that no other
process is running. A run without a part completes what the parts have left.

Outputs are written to a temporary folder, flushed, renamed, hashed, and published in one
transaction. If the process fails before that, it or the next run removes them.
"""

import contextlib
import copy
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from qup.core.parts import WHOLE, Part
from qup.orchestration import errors
from qup.orchestration.artifacts import (
    Artifact,
    ArtifactState,
    create_manifest,
    find_damage,
    hash_manifest,
)
from qup.orchestration.code import Code
from qup.orchestration.components import Component, Node, Role, check_name, convert_value
from qup.orchestration.executions import Execution, NodeEvent, Run, State, get_current_process
from qup.orchestration.metadata import Metadata
from qup.orchestration.storage import PipelineRoot

# A process releases its locks shortly before it has ended.
_EXIT_TIMEOUT_S = 1.0
# Between a fingerprint and a part, in the name of a lock.
_PART_LOCK = ".part-"
# Number of earlier code fingerprints that are searched to explain why a result is not reused.
_NUM_EXPLAINED_CODES = 20


class LocalRunner:
    """Runs pipelines in one pipeline root.

    Any number of processes may share a root. A process that needs a result that another process is
    computing waits for it.
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
        part: Part = WHOLE,
        engine: "PartEngine | None" = None,
    ):
        """Creates a runner.

        Args:
          pipeline_root: The folder of the artifacts.
          metadata: The database.
          enable_cache: Whether results are reused.
          verify: How the files of a reused result are checked: "stat" trusts files of unchanged
            size, modification time and inode; "full" hashes all.
          on_event: Called with each `NodeEvent`, such as `print`.
          code: Which code is part of the fingerprints.
          part: The part to run; nodes that need the other parts are left out.
          engine: Computes the parts of divided components on other processes or machines.

        Raises:
          PipelineError: Another `verify`.
        """
        if verify not in ("stat", "full"):
            raise errors.make_unknown_error("verify", verify, ("stat", "full"))
        self._root = PipelineRoot(pipeline_root)
        self._metadata = metadata
        self._enable_cache = enable_cache
        self._hash_all = verify == "full"
        self._on_event = on_event or (lambda event: None)
        self._code = code or Code()
        self._part, self._engine = part, engine

    def run(
        self,
        nodes: Iterable[Node],
        *,
        pipeline: str = "pipeline",
        parameters: Mapping[str, Any] | None = None,
        on_failure: Callable[[Node, Exception], None] | None = None,
        on_success: Callable[[Node, Execution], None] | None = None,
    ) -> dict[str, Execution]:
        """Runs nodes, each after the nodes whose outputs it needs.

        A component that raises ends the run. It is recorded as FAILED, and the next run tries it
        again.

        Args:
          nodes: The pipeline.
          pipeline: Its name in the metadata.
          parameters: JSON values that are recorded with the run, such as its flags.
          on_failure: If given, a component that raises does not end the run: this is called, the
            nodes that need its outputs are skipped, and all others run. The run is still recorded
            as FAILED.
          on_success: Called with each node as soon as it has an execution, new or reused.

        Returns:
          The execution of each node that has one, by id of the node.

        Raises:
          PipelineError: The nodes are not a valid pipeline.
          MetadataError: The database cannot be read or written.
          StorageError: The pipeline root cannot be read or written.
          Exception: The exception of a component.
        """
        check_name("Pipeline", pipeline)
        run_parameters = convert_value(dict, parameters or {})
        nodes = _sort_nodes(list(dict.fromkeys(nodes)))
        # Computed now, while the files are those that were imported.
        code_fingerprints = {node.id: self._compute_code_fingerprint(node) for node in nodes}
        recover_executions(self._root, self._metadata, self._on_event)
        run = self._metadata.begin(pipeline, run_parameters)
        launcher = _Launcher(
            root=self._root,
            metadata=self._metadata,
            run=run,
            compute_code_fingerprint=self._compute_code_fingerprint,
            on_event=self._on_event,
            enable_cache=self._enable_cache,
            hash_all=self._hash_all,
            part=self._part,
            engine=self._engine,
        )
        executions: dict[str, Execution] = {}
        num_failed = 0
        try:
            for node, inputs, wait in _schedule(nodes, executions, launcher):
                try:
                    execution = launcher.launch(node, inputs, code_fingerprints[node.id], wait)
                except errors.OrchestrationError:
                    raise
                except Exception as error:
                    if on_failure is None:
                        raise
                    num_failed += 1
                    on_failure(node, error)
                    continue
                if execution is None:
                    continue
                executions[node.id] = execution
                if on_success is not None:
                    on_success(node, execution)
        except BaseException:
            with contextlib.suppress(errors.MetadataError):
                self._metadata.end(run, State.FAILED)
            raise
        # A part need not have an execution of each node.
        is_complete = len(executions) == len(nodes) or not (self._part.is_whole or num_failed)
        self._metadata.end(run, State.COMPLETE if is_complete else State.FAILED)
        return executions

    def find_reusable(self, nodes: Iterable[Node]) -> dict[str, Execution]:
        """Returns the executions that a run of these nodes would reuse, by id of the node.

        Nothing is written. Of a node whose inputs do not exist yet nothing is found.

        Raises:
          PipelineError: The nodes are not a valid pipeline.
          MetadataError: The database cannot be read.
        """
        reusable: dict[str, Execution] = {}
        for node in _sort_nodes(list(dict.fromkeys(nodes))):
            inputs = _collect_inputs(node, reusable)
            if inputs is None or not (self._enable_cache and node.component.cached):
                continue
            fingerprint = node.compute_fingerprint(inputs, self._compute_code_fingerprint(node))
            for execution in self._metadata.find_executions(fingerprint, State.COMPLETE):
                outputs = [a for artifacts in execution.outputs.values() for a in artifacts]
                is_live = [a.state is ArtifactState.LIVE and a.path.exists() for a in outputs]
                if outputs and all(is_live):
                    execution.outputs = _cast_outputs(node, execution)
                    reusable[node.id] = execution
                    break
        return reusable

    def _compute_code_fingerprint(self, node: Node) -> str:
        return self._code.compute_fingerprint(node.component.fn, node.get_counted_parameters())


class PartEngine(Protocol):
    """Computes the parts of a component elsewhere."""

    def compute(self, work: "DividedWork") -> None:
        """Computes every part; raises an error that names those that failed."""


@dataclasses.dataclass(frozen=True)
class DividedWork:
    """The work of a divided component, which processes with the same pipeline root can do.

    Attributes:
      node: Its node's id.
      component: The component.
      arguments: Its arguments, without the part. Its outputs do not exist: only the whole writes
        them.
      state: The folder of the shards.
      code: Fingerprint of the component's code where the pipeline was started.
      counted_parameters: The parameters that choose code, see `Code.compute_fingerprint`.
    """

    node: str
    component: Component
    arguments: dict[str, Any]
    state: pathlib.Path
    code: str
    counted_parameters: dict[str, Any]

    def compute(self, part: Part) -> None:
        """Computes one part."""
        (name,) = self.component.get_arguments(Role.PART)
        self.component.fn(**copy.deepcopy(self.arguments), **{name: part})


def _schedule(
    nodes: list[Node], executions: Mapping[str, Execution], launcher: "_Launcher"
) -> Iterator[tuple[Node, dict[str, list[Artifact]], bool]]:
    """Yields each node that can run, its inputs, and whether to wait for another process.

    A process that runs a part passes by what others are running, as long as there is other work.

    Args:
      nodes: Each after the nodes whose outputs it needs.
      executions: Grows while the nodes run.
      launcher: Knows which nodes it has left to others.
    """
    if launcher.part.is_whole:
        for node in nodes:
            inputs = _collect_inputs(node, executions)
            if inputs is not None:
                yield node, inputs, True
        return
    waiting = list(nodes)
    while True:
        ready = [
            (node, inputs)
            for node in waiting
            if (inputs := _collect_inputs(node, executions)) is not None
        ]
        if not ready:
            return
        # If other processes run all of them, it waits for the first.
        for node, inputs, wait in [*((*pair, False) for pair in ready), (*ready[0], True)]:
            yield node, inputs, wait
            if node.id not in launcher.passed_by:
                waiting.remove(node)
                break


def _collect_inputs(
    node: Node, executions: Mapping[str, Execution]
) -> dict[str, list[Artifact]] | None:
    """Returns the artifacts that a node reads; None if one of them was not produced."""
    channels = [channel for channels in node.inputs.values() for channel in channels]
    if not all(channel.producer.id in executions for channel in channels):
        return None
    return {
        key: [executions[c.producer.id].outputs[c.key][0] for c in channels]
        for key, channels in node.inputs.items()
    }


def _cast_outputs(node: Node, execution: Execution) -> dict[str, list[Artifact]]:
    """Returns the outputs of an execution as the artifact types of the node's component."""
    return {
        key: [artifact.cast(node.component.arguments[key].type) for artifact in artifacts]
        for key, artifacts in execution.outputs.items()
    }


def _sort_nodes(nodes: list[Node]) -> list[Node]:
    """Returns the nodes, each after the nodes whose outputs it reads."""
    nodes_by_id = {node.id: node for node in nodes}
    if len(nodes_by_id) < len(nodes):
        repeated = sorted({n.id for n in nodes if nodes_by_id[n.id] is not n})
        raise errors.PipelineError(
            f"Several nodes have the id {', '.join(repeated)}. Give each its own id: "
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


def _format_part_lock(fingerprint: str, part: Part) -> str:
    """Returns the name of the lock of a part, "FINGERPRINT.part-3-of-40"."""
    return f"{fingerprint}{_PART_LOCK}{part.number}-of-{part.count}"


def _parse_part_lock(name: str) -> Part:
    """Returns the part of a name of `_format_part_lock`."""
    return Part.parse(name.rpartition(_PART_LOCK)[2].replace("-of-", "/"))


def recover_executions(
    root: PipelineRoot, metadata: Metadata, on_event: Callable[[NodeEvent], None]
) -> None:
    """Ends the executions of processes that no longer run, and removes their files.

    Folders of executions that the database does not have, because it was lost, remain; their
    numbers are not used again.

    Args:
      root: The pipeline root.
      metadata: Its database.
      on_event: Called for each execution that was abandoned.

    Raises:
      MetadataError: The database cannot be read or written.
      StorageError: The root cannot be written.
    """
    # Listed first: what other processes create from now on is not touched.
    folders = root.list_execution_dirs()
    for execution in metadata.list_unfinished():
        with root.hold_lock(execution.fingerprint) as is_locked:
            if is_locked:
                _abandon_execution(root, metadata, execution, on_event)
    node_states = metadata.get_node_states()
    lost_ids = {number for _, number, _ in folders} - node_states.keys()
    if lost_ids:
        metadata.reserve_ids(max(lost_ids))
    for node, number, path in folders:
        final_states = {State.FAILED}
        if path.parent.name == root.TEMPORARY:
            final_states.add(State.COMPLETE)
        if node_states.get(number) in {(node, state) for state in final_states}:
            root.remove(path)


def _abandon_execution(
    root: PipelineRoot,
    metadata: Metadata,
    execution: Execution,
    on_event: Callable[[NodeEvent], None],
) -> None:
    """Ends a running execution and removes its files, if its process no longer runs.

    The caller holds the lock of its fingerprint, so no other process is running it.
    """
    owner = execution.owner
    if owner != get_current_process() and owner.is_alive_after(_EXIT_TIMEOUT_S):
        return
    if metadata.fail(execution.id, f"abandoned by {owner}"):
        root.discard(execution.node, execution.id)
        message = f"execution {execution.id} was abandoned by {owner}"
        on_event(NodeEvent(execution.node, "abandoned", message, execution.id))


@dataclasses.dataclass(frozen=True)
class _Launcher:
    """Launches the nodes of one run.

    Attributes:
      root, metadata, run: The folder, the database, and the run.
      compute_code_fingerprint: Returns the fingerprint of a node's code that is on the disk now.
      on_event: Called with each event.
      enable_cache: Whether results are reused.
      hash_all: Whether files of unchanged size, modification time and inode are hashed as well.
      part: The part to run.
      engine: Computes parts elsewhere.
      passed_by: Ids of the nodes that were not launched because another process runs them.
    """

    root: PipelineRoot
    metadata: Metadata
    run: Run
    compute_code_fingerprint: Callable[[Node], str]
    on_event: Callable[[NodeEvent], None]
    enable_cache: bool
    hash_all: bool
    part: Part = WHOLE
    engine: PartEngine | None = None
    passed_by: set[str] = dataclasses.field(default_factory=set)

    def launch(
        self, node: Node, inputs: dict[str, list[Artifact]], code: str, wait: bool = True
    ) -> Execution | None:
        """Returns the execution of a node, reused or new.

        Args:
          node: The node.
          inputs: Its artifacts.
          code: Fingerprint of its code.
          wait: Whether to wait while another process runs the node.

        Returns:
          The execution; None if another process runs the node (it is then in `passed_by`), or if a
          part of the node was computed.

        Raises:
          OrchestrationError: The database or the root cannot be used.
          Exception: The exception of the component.
        """
        execution = Execution(
            component=node.component.name,
            node=node.id,
            fingerprint=node.compute_fingerprint(inputs, code),
            code=code,
            parameters=node.parameters,
            inputs=inputs,
        )

        def list_running() -> list[Execution]:
            return self.metadata.find_executions(execution.fingerprint, State.RUNNING)

        def report_waiting() -> None:
            owner = next((e.owner for e in list_running()), "another process")
            self._emit_event(execution, "waiting", f"waiting for {owner}")

        self.passed_by.discard(node.id)
        is_divided = bool(node.component.get_arguments(Role.PART))
        while True:
            with contextlib.ExitStack() as own_part:
                on_wait = report_waiting if wait else None
                with self.root.hold_lock(execution.fingerprint, on_wait) as is_locked:
                    if not is_locked:
                        self.passed_by.add(node.id)
                        return None
                    if self._try_reuse(node, execution):
                        return execution
                    running = self._find_running_part(execution) if is_divided else None
                    if running is None:
                        for unfinished in list_running():
                            _abandon_execution(self.root, self.metadata, unfinished, self.on_event)
                        self._explain_cache_miss(node, execution)
                        if self.part.is_whole or not is_divided:
                            self._execute(node, execution)
                            return execution
                        name = _format_part_lock(execution.fingerprint, self.part)
                        own_part.enter_context(self.root.hold_lock(name))
                # Without the lock of the fingerprint, so that other parts go on and start.
                if running is None:
                    self._compute_part(node, execution)
                    return None
            if not wait:
                self.passed_by.add(node.id)
                return None
            self._wait_for_part(execution, running)

    def _find_running_part(self, execution: Execution) -> Part | None:
        """Returns a part that computes the same shards as this process, if one runs.

        The whole computes those of every part; a part those of itself and of any part of another
        cut. No part starts meanwhile, because the lock of the fingerprint is held.
        """
        for name in self.root.list_locks(f"{execution.fingerprint}{_PART_LOCK}"):
            part = _parse_part_lock(name)
            if part.count == self.part.count and part != self.part:
                continue
            with self.root.hold_lock(name) as is_free:
                if not is_free:
                    return part
        return None

    def _wait_for_part(self, execution: Execution, part: Part) -> None:
        def report_waiting() -> None:
            self._emit_event(execution, "waiting", f"waiting for part {part}")

        with self.root.hold_lock(_format_part_lock(execution.fingerprint, part), report_waiting):
            pass

    def _compute_part(self, node: Node, execution: Execution) -> None:
        """Computes the shards of this part; nothing is published."""
        start = time.monotonic()
        self._emit_event(execution, "running", f"part {self.part}")
        self._divide(node, execution).compute(self.part)
        seconds = time.monotonic() - start
        self._emit_event(execution, "part", f"part {self.part} complete in {seconds:.1f} s")

    def _divide(self, node: Node, execution: Execution) -> DividedWork:
        state = self._get_stateful_dir(execution)
        outputs = {
            key: argument.type(uri=str(state / ".outputs" / key))
            for key, argument in node.component.get_arguments(Role.OUTPUT).items()
        }
        return DividedWork(
            node.id,
            node.component,
            self._build_arguments(node, execution, outputs),
            state,
            execution.code,
            node.get_counted_parameters(),
        )

    def _try_reuse(self, node: Node, execution: Execution) -> bool:
        if not (self.enable_cache and node.component.cached):
            return False
        for old in self.metadata.find_executions(execution.fingerprint, State.COMPLETE):
            if not self._is_intact(old):
                continue
            execution.state = State.CACHED
            execution.outputs = _cast_outputs(node, old)
            self.metadata.register(execution, self.run)
            if not self.root.list_locks(f"{execution.fingerprint}{_PART_LOCK}"):
                self.root.remove(self._get_stateful_dir(execution))
            self._emit_event(execution, "reused", f"reused execution {old.id}")
            return True
        return False

    def _explain_cache_miss(self, node: Node, execution: Execution) -> None:
        """Reports if a result would be reused but for a change of the code."""
        if not (self.enable_cache and node.component.cached):
            return
        for code in self.metadata.list_codes(execution.component)[:_NUM_EXPLAINED_CODES]:
            if code == execution.code:
                continue
            other = node.compute_fingerprint(execution.inputs, code)
            for old in self.metadata.find_executions(other, State.COMPLETE)[:1]:
                message = (
                    f"not reused: the code has changed since execution {old.id}, or what it runs "
                    "on: versions, device, number format"
                )
                self._emit_event(execution, "outdated", message)
                return

    def _is_intact(self, execution: Execution) -> bool:
        """Returns whether there are outputs, and all are as they were published."""
        artifacts = [a for key in execution.outputs.values() for a in key]
        for artifact in artifacts:
            if artifact.state is not ArtifactState.LIVE:
                continue
            damage, manifest = find_damage(artifact.path, artifact.manifest, hash_all=self.hash_all)
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
            if self.engine is not None and node.component.get_arguments(Role.PART):
                self.engine.compute(self._divide(node, execution))
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
        """Returns the arguments of the component, copied because it may change them."""
        arguments = {**copy.deepcopy(node.parameters), **outputs}
        for key, argument in node.component.arguments.items():
            if argument.role is Role.STATEFUL:
                arguments[key] = self.root.make_dir(self._get_stateful_dir(execution))
            elif argument.role is Role.INPUT:
                inputs = copy.deepcopy(execution.inputs.get(key))
                arguments[key] = inputs[0] if inputs and not argument.many else inputs
        return arguments

    def _publish_output(self, execution: Execution, key: str, artifact: Artifact) -> None:
        """Moves an output to its place and records its content."""
        artifact.check_properties(f"{execution.node}.outputs[{key!r}]")
        target = self.root.get_output_dir(execution.node, key, execution.id)
        self.root.publish(artifact.path, target)
        artifact.uri = str(target)
        with errors.wrap_os_errors(target):
            artifact.manifest = create_manifest(target)
        artifact.digest = hash_manifest(artifact.manifest)
        execution.outputs[key] = [artifact]

    def _is_code_unchanged(self, node: Node, execution: Execution) -> bool:
        """Returns whether the code on the disk is that with which the run started."""
        with contextlib.suppress(errors.PipelineError):
            if self.compute_code_fingerprint(node) == execution.code:
                return True
        message = "the code was edited during the execution; the next run executes it again"
        self._emit_event(execution, "changed", message)
        return False

    def _fail(self, execution: Execution, error: BaseException) -> None:
        message = f"{type(error).__name__}: {error}"
        if isinstance(error, KeyboardInterrupt | SystemExit):
            message = "interrupted"
        error.add_note(f"in execution {execution.id} of {execution.node}")
        self.root.remove(self.root.get_temporary_dir(execution.node, execution.id))
        try:
            # Not running if the publication was committed despite the error.
            if self.metadata.fail(execution.id, message):
                execution.state = State.FAILED
                self.root.discard(execution.node, execution.id)
        except errors.MetadataError as metadata_error:
            # The next run reads the state from the database, and removes or keeps the outputs.
            message = f"{message}; not recorded: {metadata_error}"
        self._emit_event(execution, "failed", f"failed: {message}")

    def _emit_event(self, execution: Execution, kind: str, message: str) -> None:
        self.on_event(NodeEvent(execution.node, kind, message, execution.id))
