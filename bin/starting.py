"""From a started process to a quiet TensorFlow, and to an exit status."""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_dict

from bin import command_line
from qup import errors


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keeps what C++ writes to standard error, and shows it on failure."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(saved, hidden.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _log_plainly() -> None:
    """Shows qup's own lines as they are, of other libraries only errors."""
    absl_logging.set_verbosity(absl_logging.ERROR)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("qup")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def start_tensorflow() -> None:
    """Imports TensorFlow, and runs one operation, without its chatter."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # The process that checks the exported models needs some of a GPU too.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with silenced():
        tensorflow = importlib.import_module("tensorflow")
        tensorflow.constant(0.0) + 1.0


def run(main: Callable[[config_dict.ConfigDict], None]) -> None:
    """Parses argv, calls `main` with the settings, and exits.

    Exit status: 0 when main returned, 1 for anything the user can mend
    (told without a traceback), 130 after Ctrl-C.
    """

    def started(argv: list[str]) -> None:
        with _told(flags.Error):
            if len(argv) > 1:
                raise flags.Error(f"Not a flag: {argv[1]!r}.")
            config = command_line.resolve()
        _log_plainly()
        start_tensorflow()
        with _told(errors.InputError):
            main(config)

    def parsed(argv: list[str]) -> list[str]:
        with _told(flags.Error):
            return command_line.parse(argv)

    app.run(started, flags_parser=parsed)


@contextlib.contextmanager
def _told(kind: type[Exception]) -> Iterator[None]:
    """Ends the program with a line on standard error for that exception."""
    try:
        yield
    except kind as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("Stopped; the same command goes on.", file=sys.stderr)
        sys.exit(130)
