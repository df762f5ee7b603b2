"""What killed processes have left: found, marked, removed."""

from collections.abc import Callable

from qup.orchestration import processes
from qup.orchestration.executions import Execution, NodeEvent, State
from qup.orchestration.metadata import Metadata
from qup.orchestration.storage import PipelineRoot

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
        with processes.hold_lock(lock) as free:
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
    if owner != processes.get_current_process() and processes.is_alive_after(
        owner, _EXIT_TIMEOUT_S
    ):
        return
    if metadata.fail(execution.id, f"abandoned by {owner}"):
        root.discard(execution.node, execution.id)
        message = f"execution {execution.id} was abandoned by {owner}"
        on_event(NodeEvent(execution.node, "abandoned", message, execution.id))
