"""What killed processes have left: found, marked, removed."""

from collections.abc import Callable

from qup.orchestration import processes
from qup.orchestration.executions import Execution, Notice, State
from qup.orchestration.metadata import Metadata
from qup.orchestration.storage import PipelineRoot

# A process that ends lets go of its locks before it is gone.
_DYING_S = 1.0


def recover(
    root: PipelineRoot, metadata: Metadata, on_event: Callable[[Notice], None]
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
    folders = root.executions()
    for execution in metadata.unfinished():
        lock = root.lock(execution.fingerprint)
        with processes.locked(lock) as free:
            if free:
                abandon(root, metadata, execution, on_event)
    known = metadata.nodes()
    lost = {number for _, number, _ in folders} - known.keys()
    if lost:
        metadata.reserve(max(lost))
    for node, number, path in folders:
        dead = {State.FAILED}
        if path.parent.name == root.TEMPORARY:
            dead.add(State.COMPLETE)
        if known.get(number) in {(node, state) for state in dead}:
            root.remove(path)


def abandon(
    root: PipelineRoot,
    metadata: Metadata,
    execution: Execution,
    on_event: Callable[[Notice], None],
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
    if owner != processes.current() and processes.outlives(owner, _DYING_S):
        return
    if metadata.fail(execution.id, f"abandoned by {owner}"):
        root.discard(execution.node, execution.id)
        message = f"execution {execution.id} was abandoned by {owner}"
        on_event(Notice(execution.node, "abandoned", message, execution.id))
