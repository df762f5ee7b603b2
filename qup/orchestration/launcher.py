"""One node: found in the cache, or run and published.

Outputs are made in a temporary folder, flushed, renamed, hashed, and published
in one transaction. Until then a failure or the next start removes them.
"""

import contextlib
import copy
import dataclasses
import pathlib
import time
from collections.abc import Callable
from typing import Any

from qup.orchestration import errors, manifests, processes, recovery
from qup.orchestration.annotations import Role
from qup.orchestration.artifacts import Artifact, ArtifactState
from qup.orchestration.components import Node
from qup.orchestration.executions import Execution, NodeEvent, Run, State
from qup.orchestration.metadata import Metadata
from qup.orchestration.storage import PipelineRoot

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
        with processes.hold_lock(lock, report_waiting):
            if self._try_reuse(node, execution):
                return execution
            for old in find_running():
                recovery.abandon_execution(self.root, self.metadata, old, self.on_event)
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
            damage, manifest = manifests.compare(
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
            artifact.manifest = manifests.snapshot(target)
        artifact.digest = manifests.digest(artifact.manifest)
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
