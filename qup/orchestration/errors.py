"""Errors that the user of a pipeline can fix."""

import contextlib
import pathlib
from collections.abc import Iterable, Iterator

from qup.core import errors


class OrchestrationError(ValueError):
    """A pipeline cannot do something; the message says how to fix it."""


class PipelineError(OrchestrationError):
    """The definition of a component or of a pipeline is invalid."""


class MetadataError(OrchestrationError):
    """The metadata database cannot be read or written."""


class StorageError(OrchestrationError):
    """The pipeline root cannot be read or written."""


def make_unknown_error(kind: str, name: str, known: Iterable[str]) -> PipelineError:
    """Returns the error for an unknown name; see `qup.core.errors.make_unknown_error`."""
    return PipelineError(str(errors.make_unknown_error(kind, name, known)))


@contextlib.contextmanager
def wrap_os_errors(path: pathlib.Path) -> Iterator[None]:
    """Turns an `OSError` at `path` into a `StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Cannot use {error.filename or path}: {error.strerror or error}. Free some space or "
            "give access, then run the same command to resume."
        ) from error
