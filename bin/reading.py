"""From a started process to a printed answer, for programs that only read.

They know nothing of TensorFlow, so they answer at once.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

from absl import app, flags

from qup.orchestration import OrchestrationError


def run(main: Callable[[str], str], default: Callable[[], str | None] = lambda: None) -> None:
    """Parses argv, calls `main` with the path in it, prints what it returns.

    Exit status: 0 when main returned, 1 for anything the user can mend
    (told in a line, without a traceback), 130 after Ctrl-C.

    Args:
      main: Returns the answer.
      default: Returns the path if none is given, from the flags; None where
        there must be one.
    """

    def run_main(argv: list[str]) -> None:
        with _exit_on_error():
            default_path = default()
            paths = argv[1:] or ([] if default_path is None else [default_path])
            if len(paths) != 1:
                raise flags.Error(
                    f"Expected one path, received {len(paths)}"
                    f"{': ' if paths else ''}{' '.join(paths)}. --help tells "
                    "what it can be."
                )
            show(main(paths[0]))

    def parse_flags(argv: list[str]) -> list[str]:
        with _exit_on_error():
            return flags.FLAGS(argv)

    app.run(run_main, flags_parser=parse_flags)


def show(text: str) -> None:
    """Prints, even where nobody reads on or letters are few."""
    if sys.stdout is None:
        return
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(text, flush=True)
    except OSError as error:
        # What could not be written is tried again at the end, in vain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise flags.Error(f"Cannot write to standard output: {error.strerror}.") from error


@contextlib.contextmanager
def _exit_on_error() -> Iterator[None]:
    """Ends the program with a line on standard error."""
    try:
        yield
    except (flags.Error, OrchestrationError, UnicodeDecodeError) as error:
        _exit_with_message(f"Error: {' '.join(str(error).split())}", 1)
    except OSError as error:
        _exit_with_message(f"Error: Cannot use {error.filename}: {error.strerror}.", 1)
    except KeyboardInterrupt:
        _exit_with_message("Stopped.", 130)


def _exit_with_message(line: str, status: int) -> None:
    text = line.encode("utf-8", "backslashreplace").decode("utf-8")
    print(text, file=sys.stderr)
    sys.exit(status)
