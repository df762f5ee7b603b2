"""SIGTERM and Ctrl-C as exceptions that nothing swallows.

What is raised in a destructor or a weak reference's callback Python prints,
and goes on: a signal that comes while one runs would be lost.
"""

import os
import signal
import sys
import threading

# Seconds after which a signal that was lost is sent again.
_SOON = 0.05


class Terminated(SystemExit):
    """SIGTERM came."""


def listen() -> None:
    """Raises `Terminated` at SIGTERM, and sends again what was lost."""
    signal.signal(signal.SIGTERM, _terminate)
    before = sys.unraisablehook

    def hook(lost) -> None:
        number = _number(lost.exc_value)
        if number is None:
            before(lost)
            return
        again = threading.Timer(_SOON, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    sys.unraisablehook = hook


def _terminate(number: int, frame) -> None:
    raise Terminated(143)


def _number(error: BaseException | None) -> int | None:
    """Returns the signal that an exception stands for."""
    if isinstance(error, Terminated):
        return signal.SIGTERM
    return signal.SIGINT if isinstance(error, KeyboardInterrupt) else None
