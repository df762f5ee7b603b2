"""SIGTERM and Ctrl-C are handled between two steps, not within one.

```python
with SignalGuard() as guard:
    for step in steps:
        run(step)
        if guard.signal_received:
            save()
            break
```

At the end of the block the signal goes to its original handler. The message about an interruption
says how many images are finished, see `count_finished`.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

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


# (finished, all) images of the attack that runs or was interrupted.
_finished_images: tuple[int, int] | None = None


@contextlib.contextmanager
def count_finished(total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes the number of finished images, for `describe_finished`.

    Args:
      total: Number of images.
    """
    global _finished_images

    def set_count(count: int) -> None:
        global _finished_images
        _finished_images = count, total

    set_count(0)
    try:
        yield set_count
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        _finished_images = None
        raise
    _finished_images = None


def describe_finished() -> str:
    """Returns "412 of 1,000 images are finished and kept. ", or "" if no attack was interrupted."""
    if _finished_images is None:
        return ""
    finished, total = _finished_images
    return f"{finished:,} of {total:,} images are finished and kept. "
