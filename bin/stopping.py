"""SIGTERM and Ctrl-C as exceptions that nothing swallows.

What is raised in a destructor or a weak reference's callback Python prints,
and goes on: a signal that comes while one runs would be lost.
"""

import os
import signal
import sys
import threading

# Seconds after which a signal that was lost is sent again.
_RESEND_DELAY_S = 0.05


class Terminated(SystemExit):
    """SIGTERM came."""


def install_handlers() -> None:
    """Raises `Terminated` at SIGTERM, and sends again what was lost."""
    signal.signal(signal.SIGTERM, _terminate)
    previous_hook = sys.unraisablehook

    def resend_signal(unraisable) -> None:
        signal_number = _get_signal(unraisable.exc_value)
        if signal_number is None:
            previous_hook(unraisable)
            return
        timer = threading.Timer(_RESEND_DELAY_S, os.kill, (os.getpid(), signal_number))
        timer.daemon = True
        timer.start()

    sys.unraisablehook = resend_signal


def _terminate(number: int, frame) -> None:
    raise Terminated(143)


def _get_signal(error: BaseException | None) -> int | None:
    """Returns the signal that an exception stands for."""
    if isinstance(error, Terminated):
        return signal.SIGTERM
    return signal.SIGINT if isinstance(error, KeyboardInterrupt) else None
