"""What can go wrong that whoever runs a pipeline can mend."""

import contextlib
import difflib
import pathlib
from collections.abc import Iterable, Iterator


class OrchestrationError(ValueError):
    """Something cannot be done; the message says how to mend it."""


class PipelineError(OrchestrationError):
    """A component or a pipeline is written wrong."""


class MetadataError(OrchestrationError):
    """The metadata database cannot be read or written."""


class StorageError(OrchestrationError):
    """The pipeline root cannot be read or written."""


def make_unknown_error(kind: str, name: str, known: Iterable[str]) -> PipelineError:
    """Returns the error for a `name` that is none of `known`.

    Args:
      kind: What the name should have named, in the singular.
      name: The name received.
      known: Every valid name.

    Returns:
      An error that names the nearest valid name and lists all.
    """
    known = sorted(known)
    closest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f" Did you mean {closest[0]!r}?" if closest else ""
    return PipelineError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(known) or 'none'}.")


@contextlib.contextmanager
def wrap_os_errors(path: pathlib.Path) -> Iterator[None]:
    """Turns an `OSError` at `path` into a `StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Cannot use {error.filename or path}: "
            f"{error.strerror or error}. Make room or give access; the next "
            "run goes on from here."
        ) from error
