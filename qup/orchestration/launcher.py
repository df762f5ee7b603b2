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
from qup.orchestration.executions import Execution, Notice, Run, State
from qup.orchestration.metadata import Metadata
from qup.orchestration.storage import PipelineRoot

# Earlier codes of a component that are asked for a result.
_CODES = 20


@dataclasses.dataclass(frozen=True)
class Launcher:
    """Launches the nodes of one run.

    Attributes:
      root, metadata, run: Where, and for which run.
      code: Returns the fingerprint of a node's code as it lies on the disk.
      on_event: Told of it all.
      enable_cache: Whether results are reused.
      full: Whether files are hashed whose size, mtime and inode are as ever.
    """

    root: PipelineRoot
    metadata: Metadata
    run: Run
    code: Callable[[Node], str]
    on_event: Callable[[Notice], None]
    enable_cache: bool = True
    full: bool = False

    def launch(
        self, node: Node, inputs: dict[str, list[Artifact]], code: str
    ) -> Execution:
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
            fingerprint=node.fingerprint(inputs, code),
            code=code,
            parameters=node.parameters,
            inputs=inputs,
        )

        def running() -> list[Execution]:
            return self.metadata.known(execution.fingerprint, State.RUNNING)

        def wait() -> None:
            owner = next((e.owner for e in running()), "another process")
            self._tell(execution, "waiting", f"waiting for {owner}")

        lock = self.root.lock(execution.fingerprint)
        with processes.locked(lock, wait):
            if self._reuse(node, execution):
                return execution
            for old in running():
                recovery.abandon(self.root, self.metadata, old, self.on_event)
            self._explain(node, execution)
            self._execute(node, execution)
            return execution

    def _reuse(self, node: Node, execution: Execution) -> bool:
        cached = self.enable_cache and node.component.cached
        known = self.metadata.known(execution.fingerprint, State.COMPLETE)
        for old in known if cached else ():
            if not self._intact(old):
                continue
            execution.state = State.CACHED
            execution.outputs = {
                key: [a.cast(node.component.arguments[key].type) for a in held]
                for key, held in old.outputs.items()
            }
            self.metadata.register(execution, self.run)
            self.root.remove(self._stateful(execution))
            self._tell(execution, "reused", f"reused execution {old.id}")
            return True
        return False

    def _explain(self, node: Node, execution: Execution) -> None:
        """Tells where nothing but other code keeps a result from reuse."""
        if not (self.enable_cache and node.component.cached):
            return
        for code in self.metadata.codes(execution.component)[:_CODES]:
            if code == execution.code:
                continue
            other = node.fingerprint(execution.inputs, code)
            for old in self.metadata.known(other, State.COMPLETE)[:1]:
                message = (
                    f"not reused: the code has changed since execution "
                    f"{old.id}, whose results stay where they are"
                )
                self._tell(execution, "outdated", message)
                return

    def _intact(self, execution: Execution) -> bool:
        """Looks at all outputs; without any there is nothing to reuse."""
        held = [a for key in execution.outputs.values() for a in key]
        for artifact in held:
            if artifact.state is not ArtifactState.LIVE:
                continue
            damage, manifest = manifests.compare(
                artifact.path, artifact.manifest, full=self.full
            )
            if damage:
                artifact.mark_damaged()
                self._tell(execution, "damaged", f"not reused: {damage}")
            if damage or manifest != artifact.manifest:
                artifact.manifest = manifest
                self.metadata.update(artifact, damage)
        return bool(held) and all(a.state is ArtifactState.LIVE for a in held)

    def _execute(self, node: Node, execution: Execution) -> None:
        self.metadata.register(execution, self.run)
        temporary = self.root.temporary(node.id, execution.id)
        start = time.monotonic()
        try:
            self._tell(execution, "running", f"execution {execution.id}")
            made = self._make_outputs(node, temporary)
            node.component.fn(**self._arguments(node, execution, made))
            for key, artifact in made.items():
                self._store(execution, key, artifact)
            reusable = self._unchanged(node, execution)
            self.metadata.publish(execution, self.run, reusable=reusable)
        except BaseException as error:
            self._fail(execution, error)
            raise
        self.root.remove(temporary)
        self.root.remove(self._stateful(execution))
        taken = f"complete in {time.monotonic() - start:.1f} s"
        self._tell(execution, "complete", taken)

    def _stateful(self, run: Execution) -> pathlib.Path:
        return self.root.stateful(run.node, run.fingerprint)

    def _make_outputs(
        self, node: Node, folder: pathlib.Path
    ) -> dict[str, Artifact]:
        return {
            key: argument.type(uri=str(self.root.make(folder / key)))
            for key, argument in node.component.of_role(Role.OUTPUT).items()
        }

    def _arguments(
        self, node: Node, execution: Execution, made: dict[str, Artifact]
    ) -> dict[str, Any]:
        """Returns copies: a component may change what it is given."""
        given = {**copy.deepcopy(node.parameters), **made}
        for key, argument in node.component.arguments.items():
            if argument.role is Role.STATEFUL:
                given[key] = self.root.make(self._stateful(execution))
            elif argument.role is Role.INPUT:
                held = copy.deepcopy(execution.inputs.get(key))
                given[key] = held[0] if held and not argument.many else held
        return given

    def _store(
        self, execution: Execution, key: str, artifact: Artifact
    ) -> None:
        """Moves an output to its place and fixes what it holds."""
        artifact.check_properties(f"{execution.node}.outputs[{key!r}]")
        target = self.root.output(execution.node, key, execution.id)
        self.root.publish(artifact.path, target)
        artifact.uri = str(target)
        with errors.explained(target):
            artifact.manifest = manifests.snapshot(target)
        artifact.digest = manifests.digest(artifact.manifest)
        execution.outputs[key] = [artifact]

    def _unchanged(self, node: Node, execution: Execution) -> bool:
        """Returns whether the code is still what the run began with."""
        with contextlib.suppress(errors.PipelineError):
            if self.code(node) == execution.code:
                return True
        message = "code edited while it ran; the next run runs it again"
        self._tell(execution, "changed", message)
        return False

    def _fail(self, execution: Execution, error: BaseException) -> None:
        message = f"{type(error).__name__}: {error}"
        if isinstance(error, KeyboardInterrupt | SystemExit):
            message = "interrupted"
        error.add_note(f"in execution {execution.id} of {execution.node}")
        self.root.remove(self.root.temporary(execution.node, execution.id))
        try:
            # It is not running if the publication was committed after all.
            if self.metadata.fail(execution.id, message):
                execution.state = State.FAILED
                self.root.discard(execution.node, execution.id)
        except errors.MetadataError as trouble:
            # The next start will know, and remove or keep the outputs.
            message = f"{message}; not recorded: {trouble}"
        self._tell(execution, "failed", f"failed: {message}")

    def _tell(self, execution: Execution, kind: str, message: str) -> None:
        self.on_event(Notice(execution.node, kind, message, execution.id))
