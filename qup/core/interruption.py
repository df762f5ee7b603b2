"""SIGTERM and Ctrl-C between two steps, never within one.

```python
with Interruption() as interruption:
    for step in steps:
        take(step)
        if interruption.came:
            save()
            break
```

Where the block ends, what came is delivered to whom it was meant for.
"""

import contextlib
import signal
import threading

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SignalGuard(contextlib.AbstractContextManager):
    """Keeps signals back while a block runs, and remembers them.

    Attributes:
      signal_received: The first signal that came; None if none did.
    """

    def __init__(self):
        """Keeps nothing back yet."""
        self.signal_received: int | None = None
        self._handlers = {}

    def __enter__(self) -> "SignalGuard":
        """Begins to keep signals back; in the main thread alone."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                # What is ignored, or handled outside of Python, stays so.
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._handle_signal)
        return self

    def __exit__(self, *error) -> None:
        """Delivers what came."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self.signal_received is not None and error[0] is None:
            signal.raise_signal(self.signal_received)

    def _handle_signal(self, number: int, frame) -> None:
        if self.signal_received is not None:
            # A second one: whoever waits has lost patience.
            self._handlers[number](number, frame)
        self.signal_received = number
