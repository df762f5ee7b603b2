"""Runs a command: flags, logging, signals, errors and the exit status.

Exit status: 0 for success, 1 for an error that the user can fix (one line,
no traceback), 130 after Ctrl-C, 143 after SIGTERM.
"""

import contextlib
import importlib
import logging
import os
import pathlib
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import app, flags
from absl import logging as absl_logging

import qup
from qup import orchestration
from qup.core import environment, errors, files, progress
from qup.core.interruption import SignalGuard, describe_finished

_PACKAGE = os.path.dirname(qup.__file__) + os.sep
_INTERRUPTED = "Interrupted. {finished}Run the same command to resume."
_NO_MEMORY = (
    "Error: Not enough memory. Lower the batch sizes, the widths or the image "
    "size, in a new workdir."
)
_LONG_NUMBER = re.compile(r"\d{60,}")
# Flags that may name a place on other machines.
_REMOTE_FLAGS = ("cluster_root",)
# Seconds after which a lost signal is sent again.
_RESEND_DELAY_S = 0.05


def run_pipeline(
    main: Callable[[Any], str],
    *,
    parse: Callable[[list[str]], list[str]],
    resolve: Callable[[], Any],
    joins_workers: bool = False,
) -> None:
    """Runs a command that computes with TensorFlow and can be resumed.

    Args:
      main: Called with the result of `resolve`; returns the text to print.
      parse: Parses argv; returns the program's name and the positional arguments.
      resolve: Returns the settings.
      joins_workers: Whether `main` connects workers, which must be the first operation.
    """

    def run_main(argv: list[str]) -> str:
        if len(argv) > 1:
            raise flags.Error(f"Not a flag: {argv[1]!r}.")
        _check_addresses()
        config = resolve()
        install_signal_handlers()
        configure_logging()
        progress.enable_lines()
        start_tensorflow(runs_operation=not joins_workers)
        return main(config)

    if sys.stderr is None:
        # The caller closed it, but messages need a destination.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stderr = os.fdopen(2, "w")
    _run_app(run_main, parse, _INTERRUPTED, " All results are in the workdir.")


def format_command(arguments: Sequence[str] | None = None) -> str:
    """Returns the command line that started the program, to be repeated in a shell.

    Args:
      arguments: Other arguments than those that it was started with.
    """
    name = sys.argv[0]
    if not name.startswith("qup "):
        name = f"python -m bin.{pathlib.Path(name).stem}"
    return " ".join([name, *map(shlex.quote, sys.argv[1:] if arguments is None else arguments)])


def run_query(main: Callable[[str], str], default: Callable[[], str | None] = lambda: None) -> None:
    """Runs a command that takes one path.

    Args:
      main: Called with the path; returns the text to print.
      default: Returns the path to use if none is on the command line, or
        None if there must be one. It is called after the flags are parsed.
    """

    def run_main(argv: list[str]) -> str:
        default_path = default()
        paths = argv[1:] or ([] if default_path is None else [default_path])
        if len(paths) != 1:
            received = f"{len(paths)}{': ' if paths else ''}{' '.join(paths)}"
            raise flags.Error(f"Expected one path, received {received}. See --help.")
        _check_addresses()
        files.check_local("PATH", paths[0])
        return main(paths[0])

    _run_app(run_main, flags.FLAGS, "Interrupted.")


def _run_app(
    main: Callable[[list[str]], str],
    parse: Callable[[list[str]], list[str]],
    interrupted: str,
    print_hint: str = "",
) -> None:
    def run_guarded(argv: list[str]) -> None:
        with exit_on_error(interrupted):
            print_text(main(argv), print_hint)

    def parse_guarded(argv: list[str]) -> list[str]:
        with exit_on_error(interrupted):
            return parse(argv)

    app.run(run_guarded, flags_parser=parse_guarded)


def _check_addresses() -> None:
    """Raises an InputError if a flag on the command line names a file of another machine."""
    for name in flags.FLAGS:
        if name in _REMOTE_FLAGS:
            continue
        flag = flags.FLAGS[name]
        values = flag.value if isinstance(flag.value, list) else [flag.value]
        for value in values if flag.present else ():
            # With two slashes: "file:/a.npy" is a direction of `qup uncertainty`.
            if isinstance(value, str) and "://" in value:
                files.check_local(f"--{name}", value)


def print_text(text: str, hint: str = "") -> None:
    """Prints a text, even to a closed pipe or in an encoding that lacks characters.

    Raises:
      InputError: The text cannot be written, for instance to a full disk; `hint` ends its message.
    """
    if sys.stdout is None:
        return
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(text, flush=True)
    except OSError as error:
        # Otherwise Python writes the rest of its buffer at exit, and fails again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise errors.InputError(
                f"Cannot write to standard output: {error.strerror}.{hint}"
            ) from error


@contextlib.contextmanager
def exit_on_error(interrupted: str = "Interrupted.") -> Iterator[None]:
    """Ends the process with one line on standard error.

    Args:
      interrupted: That of an interruption; "{finished}" is replaced by how many images are kept.
    """
    expected = (flags.Error, errors.InputError, orchestration.OrchestrationError)
    try:
        yield
    except (*expected, UnicodeDecodeError) as error:
        _exit_with_message(f"Error: {' '.join(str(error).split())}", 1)
    except OSError as error:
        name = error.filename or "a file"
        _exit_with_message(f"Error: Cannot use {name}: {error.strerror or error}.", 1)
    except MemoryError:
        _exit_with_message(_NO_MEMORY, 1)
    except KeyboardInterrupt:
        _exit_with_message(interrupted.format(finished=describe_finished()), 130)
    except Terminated:
        _exit_with_message(interrupted.format(finished=describe_finished()), 143)
    except Exception as error:
        # tf.errors.ResourceExhaustedError, without importing TensorFlow.
        if type(error).__name__ != "ResourceExhaustedError":
            raise
        _exit_with_message(_NO_MEMORY, 1)


def _exit_with_message(line: str, status: int) -> None:
    # A number of thousands of digits would fill the terminal.
    line = _LONG_NUMBER.sub(lambda m: f"{m[0][:20]}... ({len(m[0])} digits)", line)
    print(line.encode("utf-8", "backslashreplace").decode("utf-8"), file=sys.stderr)
    sys.exit(status)


class Terminated(SystemExit):
    """SIGTERM was received."""


def install_signal_handlers() -> None:
    """Raises `Terminated` at SIGTERM, and sends lost signals again.

    Python prints and drops an exception that is raised in a destructor or in
    the callback of a weak reference: a signal that arrives there would be lost.
    """
    signal.signal(signal.SIGTERM, _terminate)
    previous_hook = sys.unraisablehook

    def resend_signal(unraisable) -> None:
        error = unraisable.exc_value
        if isinstance(error, Terminated):
            number = signal.SIGTERM
        elif isinstance(error, KeyboardInterrupt):
            number = signal.SIGINT
        else:
            previous_hook(unraisable)
            return
        timer = threading.Timer(_RESEND_DELAY_S, os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()

    sys.unraisablehook = resend_signal


def _terminate(number: int, frame) -> None:
    raise Terminated(143)


class _LogFilter(logging.Filter):
    """Passes errors of other libraries; sends each line of qup to its own logger once."""

    def __init__(self):
        super().__init__()
        self._logged_messages: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether absl shows a record."""
        if not record.pathname.startswith(_PACKAGE):
            return record.levelno >= logging.ERROR
        if record.getMessage() not in self._logged_messages:
            self._logged_messages.add(record.getMessage())
            logging.getLogger("qup").handle(record)
        return False


def _clear_progress(record: logging.LogRecord) -> bool:
    """Removes the line of progress before a log line is written; passes every record."""
    del record
    progress.clear()
    return True


def configure_logging() -> None:
    """Shows the log lines of qup without a prefix, and of other libraries only errors."""
    absl_logging.set_verbosity(absl_logging.WARNING)
    log_filter = _LogFilter()
    absl_logging.get_absl_logger().addFilter(log_filter)
    # TensorFlow's warnings reach the handler through the root logger.
    absl_logging.get_absl_handler().addFilter(log_filter)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(_clear_progress)
    logger = logging.getLogger("qup")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def start_tensorflow(*, runs_operation: bool = True) -> None:
    """Imports TensorFlow and Keras and runs one operation, without their log lines.

    Signals are deferred: C++ would turn them into an ImportError.

    Raises:
      InputError: Keras cannot run on TensorFlow; see `environment.configure_keras`.
    """
    # The process that checks the exported models shares the GPU.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with SignalGuard(), environment.hide_start_lines():
        tensorflow = importlib.import_module("tensorflow")
        if runs_operation:
            tensorflow.constant(0.0) + 1.0
        environment.configure_keras()
