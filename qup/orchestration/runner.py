"""Runs pipelines on this machine, reusing what is known and intact."""

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from qup.orchestration import annotations, errors
from qup.orchestration.code import Code
from qup.orchestration.components import Node
from qup.orchestration.executions import Execution, NodeEvent, State
from qup.orchestration.launcher import Launcher
from qup.orchestration.metadata import Metadata
from qup.orchestration.parameters import convert_value
from qup.orchestration.recovery import recover_executions
from qup.orchestration.storage import PipelineRoot


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
        annotations.check_name("Pipeline", pipeline)
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
        return self._code.fingerprint(node.component.fn, node.counted())


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
