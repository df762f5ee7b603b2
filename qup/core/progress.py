"""Progress bars with an estimate of the time left; shown on a terminal, if tqdm is installed."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator

try:
    from tqdm import tqdm
except ImportError:  # Training and attacks need no progress bar.
    tqdm = None


def track(items: Iterable, *, title: str, total: int, done: int = 0, unit: str = "it") -> Iterator:
    """Yields `items` and advances a progress bar.

    Args:
      items: The remaining items.
      title: Label of the bar.
      total: Number of items, including those already done.
      done: Number of items that an earlier run completed.
      unit: Name of one item.
    """
    if tqdm is None or not sys.stderr.isatty():
        yield from items
        return
    yield from tqdm(
        items, desc=title, total=total, initial=done, unit=unit, dynamic_ncols=True, leave=False
    )


@contextlib.contextmanager
def open_counter(title: str, total: int | None, unit: str) -> Iterator[Callable]:
    """Yields a function that advances a progress bar by a number of items.

    Args:
      title: Label of the bar.
      total: Expected number of items; it grows if more are counted. None if unknown.
      unit: Name of one item.
    """
    if tqdm is None or not sys.stderr.isatty():
        yield lambda count: None
        return
    with tqdm(desc=title, total=total, unit=unit, dynamic_ncols=True, leave=False) as bar:

        def on_progress(count: int) -> None:
            if bar.total is not None and bar.n + count > bar.total:
                bar.total = bar.n + count
            bar.update(count)

        yield on_progress
