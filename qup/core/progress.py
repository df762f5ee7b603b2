"""Progress of long work: one line on a terminal, a line every ten seconds elsewhere.

```python
with progress.open_parts({"pgd": 40.0, "autoattack": 720.0}) as parts:
    parts.begin("pgd")
    with progress.open_counter("pgd", total=1000, unit="image") as add:
        add(128)
# part 1 of 2, pgd: 13 %, 128 of 1,000 images, about 35 s left; all parts: about 13 min left
```

A line is written by a thread, so it appears also while one call takes minutes. Without a terminal
lines are written only after `enable_lines`, as the programs do, or where a caller asks for them.
"""

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TextIO

from qup.core.formatting import format_duration

# Seconds between two lines in a file or pipe, and between two states of a line on a terminal.
LINE_INTERVAL_S, _REDRAW_INTERVAL_S = 10.0, 0.5
# Shorter gaps between two counters, such as two epochs, belong to one piece of work.
_SAME_WORK_S = 2.0
# Below this share or time, the speed so far says nothing about the time that is left.
_MIN_SHARE, _MIN_SECONDS = 0.005, 1.0
# The share from which on the speed so far counts alone, and not the expected time.
_TRUSTED_SHARE = 0.4
_SPEED_RANGE = (1 / 3, 3.0)


class Counter:
    """The progress of one piece of work."""

    def __init__(
        self,
        title: str,
        *,
        total: float | None,
        unit: str = "",
        done: float = 0,
        expected_seconds: float | None = None,
        is_whole_part: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Starts now.

        Args:
          title: Names the work.
          total: Number of items; it grows if more are counted. None if it is unknown.
          unit: Name of one item; "" for shares, of which only the percentage is shown.
          done: Number of items that an earlier run completed.
          expected_seconds: An estimate of the time of all items.
          is_whole_part: Whether the current part, see `Parts`, is over when all items are done.
          clock: Returns seconds.
        """
        self.is_whole_part = is_whole_part
        self.title, self.total, self._unit = title, total, unit
        self._done = self._done_at_start = done
        self.expected_seconds, self._clock = expected_seconds, clock
        self._start = clock()

    def add(self, count: float) -> None:
        """Counts finished items."""
        self._done += count
        if self.total is not None:
            self.total = max(self.total, self._done)

    def set_share(self, share: float) -> None:
        """Sets the share of the work that is done, 0 to 1. It never falls."""
        self._done = max(self._done, min(1.0, share) * (self.total or 1))

    @property
    def share(self) -> float:
        """The share of the work that is done, 0 to 1; 0 without a total."""
        return self._done / self.total if self.total else 0.0

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return self._clock() - self._start

    def estimate_seconds_left(self) -> float | None:
        """Returns the time that is left; None if nothing is known about it.

        It follows the expected time first, and later more and more the speed so far.
        """
        share, seconds, expected = self.share, self.seconds, self.expected_seconds
        gained = share - (self._done_at_start / self.total if self.total else 0.0)
        observed = None
        if gained >= _MIN_SHARE and seconds >= _MIN_SECONDS:
            observed = seconds * (1 - share) / gained
        if expected is None or observed is None:
            return observed if expected is None else expected * (1 - share)
        weight = min(1.0, share / _TRUSTED_SHARE)
        return weight * observed + (1 - weight) * expected * (1 - share)

    def format_state(self) -> str:
        """Returns the state, such as "pgd: 13 %, 128 of 1,000 images, about 35 s left"."""
        states = []
        if self.total:
            states.append(f"{int(100 * self.share)} %")
        if self._unit:
            of_total = f" of {self.total:,.0f}" if self.total else ""
            number = round(self.total or self._done)
            plural = "" if number == 1 else "es" if self._unit.endswith("ch") else "s"
            states.append(f"{self._done:,.0f}{of_total} {self._unit}{plural}")
        left = self.estimate_seconds_left()
        if left is not None and self.share < 1:
            states.append(f"about {format_duration(left)} left")
        elif not self.share:
            states.append(f"{format_duration(self.seconds)} so far")
        return f"{self.title}: {', '.join(states)}"


class Parts:
    """The parts of a program, one after the other, with the time that each is expected to take."""

    def __init__(
        self,
        expected_seconds: Mapping[str, float | None],
        clock: Callable[[], float] = time.monotonic,
    ):
        """Prepares the parts.

        Args:
          expected_seconds: Name of each part, in order, to its estimated time; None for none.
          clock: Returns seconds.
        """
        self._expected, self._clock = dict(expected_seconds), clock
        self._finished: dict[str, float] = {}
        self.current: str | None = None
        self._start = 0.0

    def begin(self, name: str) -> None:
        """Begins a part, and ends the one before. A name that is no part is ignored."""
        if name in self._expected and name != self.current:
            self.end()
            self.current, self._start = name, self._clock()

    def end(self) -> None:
        """Ends the current part, if there is one."""
        if self.current is not None:
            self._finished[self.current] = self._clock() - self._start
        self.current = None

    def get_expected(self) -> float | None:
        """Returns the expected time of the current part, if it is known."""
        return self._expected.get(self.current)

    def estimate_later_seconds(self) -> float | None:
        """Returns the time of the parts after this one; None if that of one is unknown.

        If the finished parts took longer or less long than expected, so do the others.
        """
        names = list(self._expected)
        number = names.index(self.current)
        later = [self._expected[name] for name in names[number + 1 :]]
        if None in later:
            return None
        known = {name: s for name, s in self._finished.items() if self._expected[name]}
        expected = sum(self._expected[name] for name in known)
        speed = sum(known.values()) / expected if expected else 1.0
        return min(max(speed, _SPEED_RANGE[0]), _SPEED_RANGE[1]) * sum(later)

    def format_state(self, counter: Counter | None) -> str:
        """Returns the line of a counter inside a part."""
        if self.current is None:
            return "" if counter is None else counter.format_state()
        number, count = list(self._expected).index(self.current) + 1, len(self._expected)
        expected, seconds = self.get_expected(), self._clock() - self._start
        left = None if expected is None else max(0.0, expected - seconds)
        if counter is None:
            text = f"{self.current}: {format_duration(seconds)} so far"
            if left:
                text = f"{self.current}: about {format_duration(left)} left"
        else:
            text = counter.format_state()
            if counter.is_whole_part:
                left = counter.estimate_seconds_left()
        if count == 1:
            return text
        text, later = f"part {number} of {count}, {text}", self.estimate_later_seconds()
        if number < count and later is not None and left is not None:
            text += f"; all parts: about {format_duration(left + later)} left"
        return text


class Display:
    """Writes the state of the innermost counter to standard error."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, stream: TextIO | None = None):
        """Shows nothing yet.

        Args:
          clock: Returns seconds.
          stream: Where to write; None for standard error at the time of writing.
        """
        self.clock, self._stream = clock, stream
        self.shows_lines = False
        self._counters: list[tuple[Counter, bool | None]] = []
        self._parts: list[tuple[Parts, bool | None]] = []
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._last_line = self._last_end = -float("inf")
        # Number of characters of the line on the terminal.
        self._line_length = 0

    @contextlib.contextmanager
    def show(self, counter: Counter, lines: bool | None = None) -> Iterator[Counter]:
        """Shows a counter.

        Args:
          counter: The counter.
          lines: Whether to write lines, also without a terminal; None writes to a terminal, and
            elsewhere as `shows_lines` says.
        """
        if self._parts and counter.is_whole_part and counter.expected_seconds is None:
            counter.expected_seconds = self._parts[-1][0].get_expected()
        self._open(self._counters, (counter, lines))
        try:
            yield counter
        finally:
            self._close(self._counters)

    @contextlib.contextmanager
    def show_parts(self, parts: Parts, lines: bool | None = None) -> Iterator[Parts]:
        """Shows in which part the counters are; for `lines` see `show`."""
        self._open(self._parts, (parts, lines))
        try:
            yield parts
        finally:
            self._close(self._parts)

    def _open(self, stack: list, entry) -> None:
        with self._lock:
            now = self.clock()
            if not self._is_busy() and now - self._last_end > _SAME_WORK_S:
                self._last_line = now
            stack.append(entry)
            if self._stream is None and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._redraw, name="progress", daemon=True)
                self._thread.start()

    def _close(self, stack: list) -> None:
        with self._lock:
            stack.pop()
            self._last_end = self.clock()
            if not self._is_busy():
                self.clear()

    def _is_busy(self) -> bool:
        return bool(self._counters or self._parts)

    def _redraw(self) -> None:
        while self._is_busy() or self.clock() - self._last_end < _SAME_WORK_S:
            self.render()
            time.sleep(_REDRAW_INTERVAL_S)

    def render(self) -> None:
        """Writes the current state, if it is time to."""
        stream = self._stream or sys.stderr
        with self._lock, contextlib.suppress(OSError, ValueError):
            if not self._is_busy() or stream is None:
                return
            parts, lines = self._parts[-1] if self._parts else (None, None)
            counter = None
            if self._counters:
                counter, lines = self._counters[-1]
            text = counter.format_state() if parts is None else parts.format_state(counter)
            if not text or lines is False:
                return
            if _is_interactive(stream):
                text = text[: _get_width() - 1]
                # Spaces, because notebooks do not know the codes of terminals.
                stream.write(f"\r{text.ljust(self._line_length)}")
                self._line_length = len(text)
            elif (lines or self.shows_lines) and (
                self.clock() - self._last_line >= LINE_INTERVAL_S
            ):
                stream.write(f"{text}\n")
                self._last_line = self.clock()
            stream.flush()

    def clear(self) -> None:
        """Removes the line from a terminal, for instance before a log line."""
        stream = self._stream or sys.stderr
        with self._lock, contextlib.suppress(OSError, ValueError):
            if self._line_length and stream is not None:
                stream.write(f"\r{' ' * self._line_length}\r")
                stream.flush()
            self._line_length = 0


def _is_interactive(stream: TextIO) -> bool:
    """Returns whether a line can be rewritten: on a terminal and in a notebook."""
    return stream.isatty() or type(stream).__module__.startswith("ipykernel.")


def _get_width() -> int:
    return shutil.get_terminal_size().columns


_display = Display()


def enable_lines() -> None:
    """Writes lines also without a terminal, from now on and in this process."""
    _display.shows_lines = True


def clear() -> None:
    """Removes the line from the terminal, before something else is written to it."""
    _display.clear()


def track(items: Iterable, *, title: str, total: int, done: int = 0, unit: str = "it") -> Iterator:
    """Yields `items` and shows how many there were.

    Args:
      items: The remaining items.
      title: Names the work.
      total: Number of items, including those already done.
      done: Number of items that an earlier run completed.
      unit: Name of one item.
    """
    counter = Counter(title, total=total, unit=unit, done=done)
    with _display.show(counter):
        for item in items:
            yield item
            counter.add(1)


@contextlib.contextmanager
def open_counter(
    title: str, total: int | None, unit: str, *, is_whole_part: bool = False
) -> Iterator[Callable[[int], None]]:
    """Yields a function that counts finished items.

    Args:
      title: Names the work.
      total: Expected number of items; it grows if more are counted. None if unknown.
      unit: Name of one item.
      is_whole_part: Whether these items are the whole current part, see `open_parts`.
    """
    counter = Counter(title, total=total, unit=unit, is_whole_part=is_whole_part)
    with _display.show(counter):
        yield counter.add


@contextlib.contextmanager
def open_share(
    title: str,
    *,
    expected_seconds: float | None = None,
    lines: bool | None = None,
    on_share: Callable[[float], None] | None = None,
) -> Iterator[Callable[[float], None]]:
    """Yields a function that takes the share of the work of the current part, 0 to 1.

    Args:
      title: Names the work.
      expected_seconds: An estimate of its time; None for that of the current part.
      lines: Whether to write lines, also without a terminal; None writes to a terminal, and
        elsewhere after `enable_lines`.
      on_share: Called with the share as well.
    """
    counter = Counter(title, total=1.0, expected_seconds=expected_seconds, is_whole_part=True)

    def set_share(share: float) -> None:
        counter.set_share(share)
        if on_share is not None:
            on_share(share)

    with _display.show(counter, lines):
        yield set_share


def open_parts(
    expected_seconds: Mapping[str, float | None], *, lines: bool | None = None
) -> contextlib.AbstractContextManager[Parts]:
    """Returns a context in which counters show in which part of the work they are.

    Args:
      expected_seconds: Name of each part, in order, to its estimated time; None for none.
      lines: See `open_share`, of a part without a counter.
    """
    return _display.show_parts(Parts(expected_seconds), lines)
