"""From a started process to a quiet TensorFlow, and to an exit status."""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from absl import app, flags
from absl import logging as absl_logging

import qup
from bin import command_line, stopping
from qup import orchestration
from qup.core import errors
from qup.core.interruption import SignalGuard

_PACKAGE = os.path.dirname(qup.__file__) + os.sep


@contextlib.contextmanager
def capture_stderr() -> Iterator[None]:
    """Keeps what C++ writes to standard error, and shows it on failure."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except Exception:
            captured.seek(0)
            os.write(saved, captured.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


class _LogFilter(logging.Filter):
    """Lets errors pass; what qup itself warns of goes to qup, once."""

    def __init__(self):
        """Has told nothing yet."""
        super().__init__()
        self._logged_messages: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Says whether absl shows a record."""
        if not record.pathname.startswith(_PACKAGE):
            return record.levelno >= logging.ERROR
        if record.getMessage() not in self._logged_messages:
            self._logged_messages.add(record.getMessage())
            logging.getLogger("qup").handle(record)
        return False


def _configure_logging() -> None:
    """Shows qup's own lines as they are, of other libraries only errors."""
    absl_logging.set_verbosity(absl_logging.WARNING)
    log_filter = _LogFilter()
    absl_logging.get_absl_logger().addFilter(log_filter)
    # TensorFlow's warnings reach the handler by the root logger.
    absl_logging.get_absl_handler().addFilter(log_filter)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("qup")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def start_tensorflow() -> None:
    """Imports TensorFlow, and runs one operation, without its chatter.

    A signal waits meanwhile: C++ would turn it into an ImportError.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # The process that checks the exported models needs some of a GPU too.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # TensorFlow takes oneDNN by itself only where there is AVX-512; with AVX2
    # it gives twice the gradients a second.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with SignalGuard(), capture_stderr():
        tensorflow = importlib.import_module("tensorflow")
        tensorflow.constant(0.0) + 1.0


def run(
    main: Callable[[Any], str],
    *,
    parse: Callable[[list[str]], list[str]] = command_line.parse,
    resolve: Callable[[], Any] = command_line.resolve,
) -> None:
    """Parses argv, calls `main` with the settings, prints what it returns.

    Exit status: 0 when main returned, 1 for anything the user can mend
    (told in a line, without a traceback), 130 after Ctrl-C and 143 after
    SIGTERM.

    Args:
      main: Called with what `resolve` returns.
      parse: Parses argv; returns the program's name and what is no flag.
      resolve: Returns the settings.
    """

    def start_and_run(argv: list[str]) -> None:
        if len(argv) > 1:
            raise flags.Error(f"Not a flag: {argv[1]!r}.")
        config = resolve()
        stopping.install_handlers()
        _configure_logging()
        start_tensorflow()
        _print_text(main(config))

    def run_guarded(argv: list[str]) -> None:
        with _exit_on_error():
            start_and_run(argv)

    def parse_guarded(argv: list[str]) -> list[str]:
        with _exit_on_error():
            return parse(argv)

    if sys.stderr is None:
        # Closed by the caller: messages need somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stderr = os.fdopen(2, "w")
    app.run(run_guarded, flags_parser=parse_guarded)


def _print_text(text: str) -> None:
    """Prints, even where nobody reads on."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise errors.InputError(
            f"Cannot write to standard output: {error.strerror}. All results are in the workdir."
        ) from error


@contextlib.contextmanager
def _exit_on_error() -> Iterator[None]:
    """Ends the program with a line on standard error."""
    try:
        yield
    except (flags.Error, errors.InputError, orchestration.OrchestrationError) as error:
        _exit_with_message(f"Error: {' '.join(str(error).split())}", 1)
    except OSError as error:
        name = error.filename or "a file"
        _exit_with_message(f"Error: Cannot use {name}: {error.strerror or error}.", 1)
    except MemoryError:
        _exit_with_message(_NO_MEMORY, 1)
    except KeyboardInterrupt:
        _exit_with_message(_INTERRUPTED, 130)
    except stopping.Terminated:
        _exit_with_message(_INTERRUPTED, 143)
    except Exception as error:
        # tf.errors.ResourceExhaustedError, without importing TensorFlow.
        if type(error).__name__ != "ResourceExhaustedError":
            raise
        _exit_with_message(_NO_MEMORY, 1)


_INTERRUPTED = "Stopped; the same command goes on."
_NO_MEMORY = (
    "Error: Not enough memory. Lower the batch sizes, the widths or the image "
    "size, in a new workdir."
)


def _exit_with_message(line: str, status: int) -> None:
    print(line, file=sys.stderr)
    sys.exit(status)
