"""SIGTERM and Ctrl-C are handled between two steps, not within one.

```python
with SignalGuard() as guard:
    for step in steps:
        run(step)
        if guard.signal_received:
            save()
            break
```

At the end of the block the signal goes to its original handler.
"""

import contextlib
import signal
import threading

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SignalGuard(contextlib.AbstractContextManager):
    """Delays signals until a block ends.

    Attributes:
      signal_received: The number of the first signal; None without a signal.
    """

    def __init__(self):
        """Installs no handler yet."""
        self.signal_received: int | None = None
        self._handlers = {}

    def __enter__(self) -> "SignalGuard":
        """Installs the handlers, in the main thread only."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                # A signal that is ignored, or handled outside Python, stays as it is.
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._handle_signal)
        return self

    def __exit__(self, *error) -> None:
        """Restores the handlers and raises the signal received, unless the block failed."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self.signal_received is not None and error[0] is None:
            signal.raise_signal(self.signal_received)

    def _handle_signal(self, number: int, frame) -> None:
        if self.signal_received is not None:
            # The user does not want to wait: the second signal acts at once.
            self._handlers[number](number, frame)
        self.signal_received = number
